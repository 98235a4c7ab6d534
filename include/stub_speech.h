/* A text on its way out of the model stub, piece by piece as its step of the scenario asks. */
#ifndef STUB_SPEECH_H
#define STUB_SPEECH_H

#include "buf.h"
#include "json.h"
#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

#define STUB_SPEECH_RANDOM_CUT_MAX 16 /* code points of the largest piece that random_cuts makes */

enum stub_speech_cut { STUB_CUT_NONE, STUB_CUT_WORDS, STUB_CUT_SIZES, STUB_CUT_RANDOM };

struct stub_speech {
    const char *text; /* borrowed */
    size_t len;       /* bytes of text */
    size_t at;        /* bytes of this repetition that are said */
    json_int_t again; /* repetitions after this one */
    enum stub_speech_cut cut;
    const json_t *sizes; /* borrowed; STUB_CUT_SIZES: code points of each piece, cycling */
    size_t next_size;    /* index in sizes */
    uint64_t random;     /* STUB_CUT_RANDOM: state of the generator */
};

/* Begins to say `text` (valid UTF-8) with the members cuts, random_cuts and repeat of a checked step.
 * Text and step are borrowed until the last piece. */
void stub_speech_begin(struct stub_speech *s, const char *text, size_t len, const json_t *step);

/* Replaces the content of `piece` by the next piece, never cutting a code point. False: all is said. */
CHECK_RESULT bool stub_speech_next(struct stub_speech *s, struct buf *piece);

/* Nothing is left to say. */
bool stub_speech_over(const struct stub_speech *s);

#endif

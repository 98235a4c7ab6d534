/* What the model puts out in a turn: text, reasoning, function calls and token counts, put together from the worker's
 * notifications. */
#ifndef OUTPUT_H
#define OUTPUT_H

#include "json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTPUT_ID_MAX 128          /* longest thread, turn or call id that we keep */
#define OUTPUT_OPEN_ITEMS_MAX 1024 /* messages of one turn that are open at once */
#define OUTPUT_CALLS_MAX 128 /* function calls of one response, as the openai package has it */

/* Token counts as the upstream reported them; cached and cache_write are part of input, reasoning is part of output. */
struct turn_usage {
    int64_t input;
    int64_t cached;
    int64_t cache_write;
    int64_t output;
    int64_t reasoning;
    int64_t total;
};

/* A function call of the model, in its own words. */
struct output_call {
    char *id;        /* owned */
    char *name;      /* owned: as the worker knows it */
    char *arguments; /* owned: JSON text */
};

/* An output message that is being streamed. */
struct output_item {
    char *id;          /* owned */
    bool commentary;   /* its phase */
    size_t sent_bytes; /* of its text, as deltas */
};

/* A stream of bytes to the owner; messages in it are kept apart by a blank line. */
struct output_channel {
    bool used;      /* something was sent */
    bool separator; /* a message ended: a blank line goes before the next byte */
};

/* Who hears of the bytes: valid UTF-8, borrowed for the call. `take` may make itself NULL. */
struct output_sink {
    void (*take)(void *ctx, bool reasoning, const char *bytes, size_t len);
    void *ctx; /* borrowed */
};

/* Where text of the phase "commentary" goes, in which the model speaks about its work. */
enum output_commentary { COMMENTARY_REASONING, COMMENTARY_CONTENT, COMMENTARY_DROP };

struct output {
    struct output_sink sink;
    enum output_commentary commentary;
    json_t *offered;           /* owned: dynamicTools of the thread, or NULL */
    struct output_item *items; /* owned: those that are open */
    size_t item_count;
    struct output_channel text;
    struct output_channel reasoning;
    struct turn_usage usage;
    struct output_call *calls; /* owned: of the response under way, in the model's order */
    size_t call_count;
    bool response_completed; /* so the calls are all */
    json_t *error;           /* owned: of the last final error notification */
};

/* Takes a notification that belongs to the turn; false when it is none of those that make output. */
bool output_note(struct output *o, const char *method, const json_t *params);

/* Forgets what an answer held, so that the next one of the same thread starts clean; the sink stays. */
void output_reset(struct output *o);

#endif

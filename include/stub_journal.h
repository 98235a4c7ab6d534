/* The requests that a model stub has seen, kept as the JSON that its tests read. */
#ifndef STUB_JOURNAL_H
#define STUB_JOURNAL_H

#include "json.h"
#include "stub_http.h"

#include <stdbool.h>
#include <stdint.h>

#define STUB_JOURNAL_BODY_MAX (1024 * 1024) /* bytes of a body above which only its size is kept */

struct stub_journal {
    json_t *records; /* owned; an array, oldest first; NULL when nothing is kept */
    size_t max;      /* records kept */
};

/* max = 0: nothing is kept and every record is NULL. */
void stub_journal_init(struct stub_journal *j, size_t max);
void stub_journal_free(struct stub_journal *j);
void stub_journal_clear(struct stub_journal *j);

/* Notes a request, in the state "open". `body` is its parsed body, NULL if it is no JSON. Returns a
 * reference that the caller gives back with json_decref: the record outlives its place in the journal. */
CHECK_RESULT json_t *stub_journal_open(struct stub_journal *j, unsigned n,
                                       const struct stub_request *request, json_t *body);

/* Both are safe on NULL. */
void stub_journal_deltas(json_t *record, size_t deltas);
void stub_journal_close(json_t *record, const char *state);

#endif

/* What an event of a trace says beside its name: facts with names, small while they are gathered, and written as JSON only when the
 * trace is kept. Texts are names, ids and words that may be shown. */
#ifndef TRACE_FACT_H
#define TRACE_FACT_H

#include "buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of one event. No message has as many: each member that trace_allow.c knows is there once, those of an error twice. */
#define TRACE_FACTS_MAX 96

enum trace_fact_kind {
    TRACE_FACT_NUMBER,
    TRACE_FACT_BOOL,
    TRACE_FACT_TEXT,
    TRACE_FACT_MARK,  /* a number in the place of the id of a call */
    TRACE_FACT_BEGIN, /* of an object: the facts up to its end are its members */
    TRACE_FACT_END
};

struct trace_fact {
    const char *name; /* static */
    enum trace_fact_kind kind;
    uint32_t len; /* of the text */
    union {
        const char *text; /* borrowed; no NUL at its end */
        int64_t number;
    };
};

/* Facts that are being gathered. */
struct trace_facts {
    size_t count;
    uint64_t withheld;              /* bytes of strings that have no name of their own */
    const struct trace_fact *known; /* borrowed: those of an event before */
    size_t known_count;
    struct trace_fact list[TRACE_FACTS_MAX]; /* not set behind `count`: it is large */
};

/* There are no facts yet. `known` may be NULL. */
void trace_facts_begin(struct trace_facts *facts, const struct trace_fact *known, size_t count);

void trace_fact_number(struct trace_facts *facts, enum trace_fact_kind kind, const char *name,
                       int64_t number);
void trace_fact_text(struct trace_facts *facts, const char *name, const char *text, size_t len);

/* Whether the event before had this text at the same place: then it need not be looked at again. */
bool trace_fact_is_known(const struct trace_facts *facts, const char *name, const char *text,
                         size_t len);

/* Whether both tell of the same: the same facts in the same order, with the same texts and marks. Numbers may differ. */
bool trace_facts_same(const struct trace_fact *a, const struct trace_fact *b, size_t count);

/* Appends it as a member of a JSON object, with a comma unless it is the first. */
void trace_fact_write(struct buf *out, const struct trace_fact *fact);

#endif

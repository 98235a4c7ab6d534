/* What a run has shown: one JSON object, printed as it is or as a table for people. */
#ifndef REPORT_H
#define REPORT_H

#include "load.h"
#include "probe.h"
#include "procwatch.h"
#include "slow_head.h"

#include <jansson.h>

/* All borrowed; what was not asked for is NULL. */
struct report_input {
    const struct options *options;
    const struct load *load;
    const struct probe *probe;
    const struct slow_heads *slow_heads;
    const struct procwatch *procs;
    double own_cpu_s; /* of this process: it must not be what limits a run */
};

/* A new reference. */
json_t *report_make(const struct report_input *in);

/* As the options want it. */
void report_print(const json_t *report, const struct options *o, FILE *out);

/* The first item of the list that occurred, for a message; NULL: none did. The result is borrowed from the list and
 * ends at a comma. */
const char *report_struck(const struct report_input *in, const char *list);

#endif

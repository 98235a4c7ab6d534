/* What the model stub answers: the scenario that a request asks for, or the demo answer. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include "buf.h"
#include "json.h"
#include "mem.h"

#include <stdio.h>

/* The scenario of a Responses API request, checked, its preset filled in: {steps[], usage?, headers?,
 * delay_ms?} for a stream, where steps are those of the round that is due, or {status?, body?, headers?,
 * delay_ms?}. A new reference, or NULL with the reason appended to `why`. */
CHECK_RESULT json_t *scenario_for(const json_t *request, struct buf *why);

/* Prints the language, for --help. */
void scenario_print_help(FILE *to);

#endif

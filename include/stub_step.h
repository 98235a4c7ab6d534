/* The steps of a scenario: what there is, and whether a step is well-formed.
 *
 * To add one: a kind here, a row in the table of stub_step.c, a play function in stub_answer.c. */
#ifndef STUB_STEP_H
#define STUB_STEP_H

#include "buf.h"
#include "json.h"
#include "mem.h"

#include <stdbool.h>
#include <stdio.h>

#define STUB_PAUSE_MAX_MS (60 * 60 * 1000)     /* of pause_ms, every_ms and delay_ms */
#define STUB_TEXT_MAX_BYTES (64 * 1024 * 1024) /* of one text step with all its repetitions */

enum stub_step_kind {
    STUB_STEP_TEXT,
    STUB_STEP_ECHO,
    STUB_STEP_MESSAGE_START,
    STUB_STEP_REASONING,
    STUB_STEP_TOOL_CALL,
    STUB_STEP_PAUSE,
    STUB_STEP_USAGE,
    STUB_STEP_EVENT,
    STUB_STEP_FAIL,
    STUB_STEP_INCOMPLETE,
    STUB_STEP_DROP,
    STUB_STEP_HANG,
    STUB_STEP_END,
};

/* True when `step` is a well-formed step; else appends the reason to `why`. */
CHECK_RESULT bool stub_step_check(const json_t *step, struct buf *why);

/* The kind of a step that passed the check. */
enum stub_step_kind stub_step_kind(const json_t *step);

/* Validators that the scenario's own members share. */
bool stub_is_ms(const json_t *value);    /* 0 to STUB_PAUSE_MAX_MS */
bool stub_is_usage(const json_t *value); /* an object or null */

/* Prints the steps and their options, for --help. */
void stub_step_print_help(FILE *to);

#endif

/* `codex-api traces [ID [--json]]`: shows the trace files of CODEX_HOME, also when nothing serves. */
#ifndef TRACE_COMMAND_H
#define TRACE_COMMAND_H

#include "mem.h"

#include <stdio.h>

struct config;

/* Runs the command of `argv`, which begins with "traces", and returns the exit code: 0, 1 when there is no such trace or it cannot be
 * read, 64 when the command is not to be understood, 78 when PROXY_TRACE_KEY_FILE is wrong. Changes nothing. */
CHECK_RESULT int trace_command(const struct config *config, int argc, char **argv, FILE *out,
                               FILE *err);

#endif

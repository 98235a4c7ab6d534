/* `codex-api key add|list|remove`: changes the file of named keys. */
#ifndef KEY_COMMAND_H
#define KEY_COMMAND_H

#include "mem.h"

#include <stdio.h>

struct config;

/* Runs the command of `argv`, which begins with "key", and returns the exit code: 0, 1 when it cannot be done, 64 when it is not to be
 * understood. A new key goes to `out`, once and alone; what is for people to `err`. */
CHECK_RESULT int key_command(const struct config *config, int argc, char **argv, FILE *out,
                             FILE *err);

/* The path of the file of keys, which the caller frees; `home` is CODEX_HOME. */
char *key_command_path(const struct config *config, const char *home);

#endif

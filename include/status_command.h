/* `codex-api status [--json] [--url URL]`: asks a running codex-api how it is, and shows it to people. */
#ifndef STATUS_COMMAND_H
#define STATUS_COMMAND_H

#include <stdio.h>

/* `argv[0]` is "status". Without --url the server of the settings is asked. Returns the exit code: 0 ready, 1 not ready, 64 usage,
 * 69 nobody there who could tell, 78 wrong settings. */
int status_command(int argc, char **argv, FILE *out, FILE *err);

#endif

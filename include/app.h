/* The whole program: wiring, start and stop order. */
#ifndef APP_H
#define APP_H

#include "mem.h"

struct config;

/* Runs until SIGTERM or SIGINT, drains and returns the exit code of the process: 0 after a clean stop, 69 when it cannot
 * listen, 70 when the loop was left with open handles, 78 when the settings cannot work. */
CHECK_RESULT int app_run(struct config *config);

#endif

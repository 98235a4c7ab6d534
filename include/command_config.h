/* The settings of a command that looks at some of them only, such as status: it must work when others are wrong, which is when it is
 * wanted most. */
#ifndef COMMAND_CONFIG_H
#define COMMAND_CONFIG_H

#include "config.h"

#include <stdbool.h>
#include <stdio.h>

/* As config_load, but only the settings of `needs` (names, NULL at the end) have to be right, and SETTINGS_FILE readable; complaints
 * of others are warnings. False: the command cannot go on. Of `ret`, which must be freed with config_free in any case, only the
 * fields of `needs` mean anything. */
CHECK_RESULT bool command_config_load(struct config *ret, const char *const *needs, FILE *err);

#endif

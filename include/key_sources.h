/* The two keys of the settings, of clients and of administrators: given as text, or in a file of their own. */
#ifndef KEY_SOURCES_H
#define KEY_SOURCES_H

#include "buf.h"
#include "mem.h"

#include <stdbool.h>
#include <stdio.h>

struct config;

/* Hears of a key file that others may use; it works all the same. `setting` is static, `path` borrowed for the call, and `mode` as in
 * "644". */
typedef void key_sources_exposed(void *ctx, const char *setting, const char *path,
                                 const char *mode);

/* Appends both keys; a file that is missing is made. `home` is CODEX_HOME. False with a message for people in `ret_why` (owned by the
 * caller), who wipes both with key_sources_wipe in any case. */
CHECK_RESULT bool key_sources_read(const struct config *config, const char *home,
                                   struct buf *ret_client, struct buf *ret_admin,
                                   key_sources_exposed *on_exposed, char **ret_why);

/* Whether a start would take these keys and the named ones. Only reads: a file that is missing is none of the wrong things, and stays
 * missing. Returns how many are wrong, each with a line on `complaints`; a file that others may use is warned about there. */
CHECK_RESULT int key_sources_check(const struct config *config, FILE *complaints);

/* Safe to repeat. */
void key_sources_wipe(struct buf *key);

#endif

/* The names of the files of the request log, and which there are. Not for others than its modules: interaction_files.h. */
#ifndef INTERACTION_NAMES_H
#define INTERACTION_NAMES_H

#include "clock.h"
#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct interaction_name {
    char date[CLOCK_DATE_SIZE];
    int64_t day;     /* the date, since 1970-01-01 */
    unsigned number; /* of one that was put aside; 0: the one that is written */
    int64_t bytes;   /* of a file that is there */
};

struct interaction_names {
    struct interaction_name *list; /* owned; the oldest first */
    size_t count;
    int64_t bytes; /* of all */
};

/* The folder in CODEX_HOME; the caller frees it. */
char *interaction_folder(const char *home);

/* The path of a file; the caller frees it. */
char *interaction_path(const char *folder, const struct interaction_name *name);

/* The files in the folder that are named exactly YYYY-MM-DD.jsonl or YYYY-MM-DD.N.jsonl, N without a leading zero; links and folders do not count. False with errno when it cannot be read; otherwise given back
 * with interaction_names_free. */
CHECK_RESULT bool interaction_names_list(struct interaction_names *ret, const char *folder);
void interaction_names_free(struct interaction_names *names);

#endif

/* A file of settings: lines NAME=value, as unit files and compose files have them. */
#ifndef SETTINGS_FILE_H
#define SETTINGS_FILE_H

#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define SETTINGS_FILE_MAX (1024 * 1024) /* bytes */

struct settings_line {
    char *name;  /* owned */
    char *value; /* owned: without the quotes around it */
    unsigned line;
};

struct settings_file {
    struct settings_line *lines; /* owned */
    size_t count;
};

/* Reads the file. Blank lines and those that begin with # mean nothing; a value may stand in double quotes, in which \n, \" and \\ are
 * what they are in C. Returns how many lines are wrong, each named on `complaints`; a file that cannot be read is one. `ret`
 * must be freed in any case. */
CHECK_RESULT int settings_file_read(struct settings_file *ret, const char *path, FILE *complaints);

/* The last value of that name, borrowed, or NULL. */
const char *settings_file_get(const struct settings_file *file, const char *name);

/* Wipes and frees the values. */
void settings_file_free(struct settings_file *file);

#endif

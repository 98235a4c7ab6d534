/* The entries of a setting that is a list: who checks its form and who uses it cut it in one way. Pure. */
#ifndef ENTRIES_H
#define ENTRIES_H

#include <stddef.h>

/* The next entry of the list between any of the `separators`, without the `blanks` around it; empty ones are skipped. Moves `list`
 * behind it. NULL at the end, and for a list that is NULL. The result is part of the list, `ret_len` bytes of it. */
const char *entries_next(const char **list, const char *separators, const char *blanks,
                         size_t *ret_len);

#endif

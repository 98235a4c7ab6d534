/* The entries of a setting that is a list. */
#include "entries.h"

#include <string.h>

const char *entries_next(const char **list, const char *separators, const char *blanks,
                         size_t *ret_len)
{
    while (*list != NULL && **list != '\0') {
        const char *at = *list + strspn(*list, separators);
        at += strspn(at, blanks);
        size_t len = strcspn(at, separators);
        *list = at + len;
        while (len != 0 && strchr(blanks, at[len - 1]) != NULL)
            len--;
        *ret_len = len;
        if (len != 0)
            return at;
    }
    return NULL;
}

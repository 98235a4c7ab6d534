/* Allocation that cannot fail: running out of memory ends the process with a message, as h2o does. */
#ifndef MEM_H
#define MEM_H

#include <stddef.h>

#define CHECK_RESULT __attribute__((warn_unused_result))

/* Like malloc, calloc, realloc, strdup and strndup; never return NULL. The caller frees with free(). */
void *xmalloc(size_t size_bytes);
void *xcalloc(size_t count, size_t size_bytes);
void *xrealloc(void *ptr, size_t size_bytes);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t len);

/* Zeroed memory for a type whose alignment is more than malloc's; size_bytes is a multiple of it, as sizeof is. */
void *xcalloc_aligned(size_t alignment, size_t size_bytes);

/* Formats into a new string that the caller frees. */
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

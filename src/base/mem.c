/* Allocation that cannot fail. */
#include "mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *checked(void *ptr)
{
    if (ptr == NULL) {
        fputs("codex-api: out of memory\n", stderr);
        abort();
    }
    return ptr;
}

void *xmalloc(size_t size_bytes)
{
    return checked(malloc(size_bytes != 0 ? size_bytes : 1));
}

void *xcalloc(size_t count, size_t size_bytes)
{
    return checked(calloc(count != 0 ? count : 1, size_bytes != 0 ? size_bytes : 1));
}

void *xrealloc(void *ptr, size_t size_bytes)
{
    return checked(realloc(ptr, size_bytes != 0 ? size_bytes : 1));
}

void *xcalloc_aligned(size_t alignment, size_t size_bytes)
{
    return memset(checked(aligned_alloc(alignment, size_bytes)), 0, size_bytes);
}

char *xstrndup(const char *text, size_t len)
{
    char *copy = xmalloc(len + 1);
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *xstrdup(const char *text)
{
    return xstrndup(text, strlen(text));
}

char *xasprintf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = NULL;
    int len = vasprintf(&text, format, args);
    va_end(args);
    return checked(len < 0 ? NULL : text);
}

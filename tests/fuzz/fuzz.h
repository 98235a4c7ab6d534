/* What every fuzz target has: the function that libFuzzer and replay.c call, and a check that ends the process. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* A property that any input must keep. */
#define FUZZ_CHECK(condition) ((condition) ? (void)0 : fuzz_broken(#condition, __FILE__, __LINE__))

static inline _Noreturn void fuzz_broken(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: broken: %s\n", file, line, what);
    abort();
}

/* Numbers that are the same in every run of an input: xorshift, seeded with a hash of the input. */
static inline uint64_t fuzz_hash(const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    uint64_t hash = 14695981039346656037U; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ at[i]) * 1099511628211U;
    return hash != 0 ? hash : 1;
}

static inline uint64_t fuzz_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Below `limit`, which is not 0. */
static inline size_t fuzz_below(uint64_t *state, size_t limit)
{
    return (size_t)(fuzz_next(state) % limit);
}

/* The next line of a text, without its newline; false at the end. */
static inline bool fuzz_line(const char **at, const char *end, const char **ret_line,
                             size_t *ret_len)
{
    if (*at == end)
        return false;
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    *ret_line = *at;
    *ret_len = (size_t)((newline != NULL ? newline : end) - *at);
    *at = newline != NULL ? newline + 1 : end;
    return true;
}

#endif

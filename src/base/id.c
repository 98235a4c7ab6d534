/* Random ids for requests, completions and keys. */
#include "id.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define ID_RANDOM_LEN 24

static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Many bytes at once: each time that libsodium is asked costs a system call. */
void id_random_text(char *ret_text, size_t len)
{
    enum { LETTERS = sizeof(letters) - 1, FAIR = 256 / LETTERS * LETTERS };
    unsigned char bytes[32];
    size_t made = 0;
    while (made < len) {
        randombytes_buf(bytes, sizeof(bytes));
        for (size_t i = 0; i < sizeof(bytes) && made < len; i++)
            if (bytes[i] < FAIR) /* else some letters would come more often than others */
                ret_text[made++] = letters[bytes[i] % LETTERS];
    }
    sodium_memzero(bytes, sizeof(bytes));
    ret_text[len] = '\0';
}

void id_make(char ret_id[ID_SIZE], const char *prefix)
{
    size_t len = strlen(prefix);
    assert(len + ID_RANDOM_LEN < ID_SIZE);
    memcpy(ret_id, prefix, len + 1);
    id_random_text(ret_id + len, ID_RANDOM_LEN);
}

bool id_ok(const char *text, size_t len, const char *prefix)
{
    size_t start = strlen(prefix);
    if (len != start + ID_RANDOM_LEN || memcmp(text, prefix, start) != 0)
        return false;
    for (size_t i = start; i < len; i++)
        if (memchr(letters, text[i], sizeof(letters) - 1) == NULL)
            return false;
    return true;
}

/* Random ids for requests, completions and keys. */
#include "id.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define ID_RANDOM_LEN 24

static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

void id_random_text(char *ret_text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ret_text[i] = letters[randombytes_uniform((uint32_t)sizeof(letters) - 1)];
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

/* The key that clients must present. */
#include "access_key.h"

#include "file.h"
#include "id.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define RANDOM_LEN 40 /* letters and digits: 238 bits */

struct access_key {
    unsigned char salt[crypto_generichash_KEYBYTES];
    unsigned char hash[crypto_generichash_BYTES];
};

static void hash_key(const struct access_key *key, const char *text, size_t len,
                     unsigned char ret[crypto_generichash_BYTES])
{
    crypto_generichash(ret, crypto_generichash_BYTES, (const unsigned char *)text, len, key->salt,
                       sizeof(key->salt));
}

struct access_key *access_key_new(const char *text)
{
    struct access_key *key = xmalloc(sizeof(*key));
    randombytes_buf(key->salt, sizeof(key->salt));
    hash_key(key, text, strlen(text), key->hash);
    return key;
}

void access_key_free(struct access_key *key)
{
    if (key == NULL)
        return;
    sodium_memzero(key, sizeof(*key));
    free(key);
}

bool access_key_matches(const struct access_key *key, const char *presented, size_t len)
{
    unsigned char hash[crypto_generichash_BYTES];
    if (len > ACCESS_KEY_MAX)
        return false;
    hash_key(key, presented, len, hash);
    return sodium_memcmp(hash, key->hash, sizeof(hash)) == 0;
}

static bool usable(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return len >= ACCESS_KEY_MIN && len <= ACCESS_KEY_MAX;
}

static bool make_file(const char *path, struct buf *ret)
{
    char random[RANDOM_LEN + 1];
    id_random_text(random, RANDOM_LEN);
    buf_puts(ret, "sk-codex-api-");
    buf_puts(ret, random);
    sodium_memzero(random, sizeof(random));
    size_t len = ret->len;
    buf_putc(ret, '\n');
    bool ok = file_replace(path, ret->data, ret->len);
    ret->len = len;
    return ok;
}

bool access_key_from_file(const char *path, struct buf *ret, char **ret_why)
{
    size_t start = ret->len;
    if (!file_read(path, ret, 4096)) {
        if (errno == ENOENT && make_file(path, ret))
            return true;
        *ret_why = xasprintf("cannot read or make the key file %s: %s", path, strerror(errno));
        return false;
    }
    ret->len = start + strcspn(buf_str(ret) + start, "\r\n");
    if (usable(ret->data + start, ret->len - start))
        return true;
    *ret_why = xasprintf("the key file %s holds no usable key: its first line must be %d to %d "
                         "printable characters without spaces",
                         path, ACCESS_KEY_MIN, ACCESS_KEY_MAX);
    return false;
}

/* The key that clients must present. Only a keyed hash of it is kept. */
#ifndef ACCESS_KEY_H
#define ACCESS_KEY_H

#include "buf.h"
#include "mem.h"

#include <stdbool.h>

struct access_key;

#define ACCESS_KEY_MIN 8 /* characters */
#define ACCESS_KEY_MAX 512

/* Reads the key from a file (its first line), or makes a random one there, mode 0600, if the file is missing. Appends
 * the key to `ret`, which the caller clears with sodium_memzero. False with a message for people in `ret_why`
 * (owned by the caller) when the file cannot be read, written or holds no usable key. */
CHECK_RESULT bool access_key_from_file(const char *path, struct buf *ret, char **ret_why);

/* The caller owns the result. `text`, the key, is borrowed for the call. */
struct access_key *access_key_new(const char *text);

/* Wipes the hash. Safe on NULL. */
void access_key_free(struct access_key *key);

/* Whether `presented` is the key; takes the same time wherever they differ. */
bool access_key_matches(const struct access_key *key, const char *presented, size_t len);

#endif

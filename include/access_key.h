/* The text of keys that clients present: random ones, and the one in a file. Who may come in is keyring.h's. */
#ifndef ACCESS_KEY_H
#define ACCESS_KEY_H

#include "buf.h"
#include "mem.h"

#include <stdbool.h>

#define ACCESS_KEY_MIN 8 /* characters */
#define ACCESS_KEY_MAX 512

/* Reads the key from a file (its first line), or makes a random one there, mode 0600, if the file is missing. Appends
 * the key to `ret`, which the caller clears with sodium_memzero. False with a message for people in `ret_why`
 * (owned by the caller) when the file cannot be read, written or holds no usable key. */
CHECK_RESULT bool access_key_from_file(const char *path, struct buf *ret, char **ret_why);

/* The same, but only reads: for a file that is missing it is true, and nothing is appended. */
CHECK_RESULT bool access_key_if_there(const char *path, struct buf *ret, char **ret_why);

/* The mode of a key file that others than its owner and, to read it, its group may use; 0 when it is well kept, or no regular file. */
unsigned access_key_exposed(const char *path);

/* Appends a random key to `ret`, which the caller clears with sodium_memzero. */
void access_key_make(struct buf *ret);

#endif

/* The file of named keys. It holds no key, only a keyed hash of each:
 *
 *     # comment
 *     salt 64-hex-digits
 *     key NAME 64-hex-digits [rpm=N] [burst=N]
 */
#ifndef KEY_FILE_H
#define KEY_FILE_H

#include "mem.h"

#include <sodium.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_NAME_MAX 32
#define KEY_FILE_KEYS_MAX 1024
#define KEY_DEFAULT_NAME "default" /* of the key of the settings: no other has it */

struct key_entry {
    char name[KEY_NAME_MAX + 1];
    unsigned char hash[crypto_generichash_BYTES];
    int64_t rpm;   /* -1: as the settings say */
    int64_t burst; /* -1: as the settings say, or, with an rpm of its own, as much as that */
};

struct key_file {
    unsigned char salt[crypto_generichash_KEYBYTES];
    struct key_entry *entries; /* owned */
    size_t count;
};

/* The hash of a key under a salt. */
void key_hash(const unsigned char salt[crypto_generichash_KEYBYTES], const char *text, size_t len,
              unsigned char ret[crypto_generichash_BYTES]);

/* 1 to KEY_NAME_MAX of a-z, 0-9, _ and -, and not the name that is taken. */
bool key_name_ok(const char *name);

/* Reads the file; one that is missing has no keys, and a random salt. False with a message for people in `ret_why` (owned by the
 * caller) when it cannot be read, others than its owner may write to it, or a line of it is wrong; `ret` is then untouched. The
 * caller wipes the result with key_file_free. */
CHECK_RESULT bool key_file_load(const char *path, struct key_file *ret, char **ret_why);

/* Writes the file anew, mode 0600. False with a message in `ret_why`. */
CHECK_RESULT bool key_file_save(const char *path, const struct key_file *file, char **ret_why);

/* Adds a key; the name is a good one and not in the file yet, and there is room. */
void key_file_add(struct key_file *file, const struct key_entry *entry);

/* The place of a name, or -1. */
int key_file_find(const struct key_file *file, const char *name);
void key_file_remove(struct key_file *file, size_t at);

/* Wipes it. Safe to repeat. */
void key_file_free(struct key_file *file);

/* Waits for the right to change the file, so that two who do lose nothing; it goes with key_file_unlock or the process. Returns
 * a descriptor, or -1 with a message in `ret_why`. */
CHECK_RESULT int key_file_lock(const char *path, char **ret_why);
void key_file_unlock(int lock);

#endif

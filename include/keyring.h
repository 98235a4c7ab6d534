/* The keys that clients may present, each with a name and a rate of requests. Only keyed hashes of them are kept.
 *
 * One is the key of the settings, named "default"; the others are those of the file of keys (key_file.h). */
#ifndef KEYRING_H
#define KEYRING_H

#include "key_file.h"
#include "rate_limit.h"

#include <stdbool.h>
#include <stddef.h>

struct keyring;

/* The keys of the settings; borrowed for a call. NULL: there is none. */
struct keyring_texts {
    const char *client; /* the one named "default" */
    const char *admin;  /* of administrators */
};

/* `path` (copied) is the file of named keys, which need not be there. `rpm` and `burst` are for keys without limits of their own; 0:
 * none, and as much as rpm. The caller owns the result; NULL with a message for people in `ret_why` (owned by the caller) when
 * the file is wrong, or the key of administrators is one of a client too: then each client would be an administrator. */
CHECK_RESULT struct keyring *keyring_load(const char *path, int64_t rpm, int64_t burst,
                                          const struct keyring_texts *texts, char **ret_why);

/* Other limits for keys without limits of their own, from now on. */
void keyring_set_limits(struct keyring *ring, int64_t rpm, int64_t burst);

/* Takes these texts and reads the file again, all or nothing: false with a message in `ret_why` (owned by the caller) for what
 * keyring_load refuses, and the keys are as they were. A name that stays has used what it has used. */
CHECK_RESULT bool keyring_reload(struct keyring *ring, const struct keyring_texts *texts,
                                 char **ret_why);

/* How many keys open, the default one included. */
size_t keyring_count(const struct keyring *ring);

/* The name of the key that was presented, or NULL: borrowed until the next reload, so copy it. It takes the same time whichever key it is,
 * and wherever it differs from them. */
const char *keyring_find(const struct keyring *ring, const char *presented, size_t len);

/* Whether it is the key of administrators; the same time in any case. */
bool keyring_is_admin(const struct keyring *ring, const char *presented, size_t len);

/* One request of the key of that name; one that is gone meanwhile has no limit any more. */
void keyring_take(struct keyring *ring, const char *name, uint64_t now_ms, struct rate_state *ret);

/* Wipes the hashes. Safe on NULL. */
void keyring_free(struct keyring *ring);

#endif

/* The keys that clients may present. */
#include "keyring.h"

#include "access_key.h"
#include "clock.h"

#include <stdlib.h>
#include <string.h>

struct key {
    char name[KEY_NAME_MAX + 1];
    unsigned char hash[crypto_generichash_BYTES];
    int64_t own_rpm;   /* -1: as the settings say */
    int64_t own_burst; /* -1: the same */
    struct rate_bucket bucket;
};

/* Keys under one salt. */
struct key_set {
    unsigned char salt[crypto_generichash_KEYBYTES];
    struct key *keys; /* owned */
    size_t count;
};

/* Those before SET_CLIENTS are keys of clients. */
enum { SET_DEFAULT, SET_FILE, SET_CLIENTS, SET_ADMIN = SET_CLIENTS, SET_COUNT };

struct keyring {
    char *path; /* owned */
    int64_t rpm;
    int64_t burst;
    struct key_set sets[SET_COUNT];
};

static void set_free(struct key_set *set)
{
    if (set->keys != NULL)
        sodium_memzero(set->keys, set->count * sizeof(*set->keys));
    free(set->keys);
    sodium_memzero(set, sizeof(*set));
}

static struct key *find_name(const struct keyring *ring, const char *name)
{
    for (size_t s = 0; s < SET_CLIENTS; s++)
        for (size_t i = 0; i < ring->sets[s].count; i++)
            if (strcmp(ring->sets[s].keys[i].name, name) == 0)
                return &ring->sets[s].keys[i];
    return NULL;
}

/* The burst of the settings belongs to their rate: with a rate of its own a key has its own burst, or none but the rate. */
static void set_bucket(const struct keyring *ring, struct key *key, uint64_t now_ms)
{
    int64_t rpm = key->own_rpm >= 0 ? key->own_rpm : ring->rpm;
    int64_t burst = key->own_rpm >= 0 ? 0 : ring->burst;
    if (key->own_burst >= 0)
        burst = key->own_burst;
    rate_limit_set(&key->bucket, rpm, burst, now_ms);
}

static struct key_set make_set(const struct keyring *ring, const struct key_file *file)
{
    struct key_set set = { .count = file->count };
    uint64_t now_ms = clock_mono_ms();
    memcpy(set.salt, file->salt, sizeof(set.salt));
    set.keys = xcalloc(file->count + 1, sizeof(*set.keys)); /* never of no size */
    for (size_t i = 0; i < file->count; i++) {
        const struct key_entry *entry = &file->entries[i];
        struct key *key = &set.keys[i];
        const struct key *old = find_name(ring, entry->name);
        *key = (struct key){ .own_rpm = entry->rpm, .own_burst = entry->burst };
        memcpy(key->name, entry->name, sizeof(key->name));
        memcpy(key->hash, entry->hash, sizeof(key->hash));
        if (old != NULL)
            key->bucket = old->bucket;
        set_bucket(ring, key, now_ms);
    }
    return set;
}

/* A set of the one key that is given as text, or of none. */
static struct key_set make_set_of_one(const struct keyring *ring, const char *text)
{
    struct key_file file = { .count = 0 };
    struct key_entry entry = { .name = KEY_DEFAULT_NAME, .rpm = -1, .burst = -1 };
    randombytes_buf(file.salt, sizeof(file.salt));
    if (text != NULL) {
        key_hash(file.salt, text, strlen(text), entry.hash);
        key_file_add(&file, &entry);
    }
    struct key_set set = make_set(ring, &file);
    key_file_free(&file);
    sodium_memzero(&entry, sizeof(entry));
    return set;
}

void keyring_set_limits(struct keyring *ring, int64_t rpm, int64_t burst)
{
    uint64_t now_ms = clock_mono_ms();
    ring->rpm = rpm;
    ring->burst = burst;
    for (size_t s = 0; s < SET_CLIENTS; s++)
        for (size_t i = 0; i < ring->sets[s].count; i++)
            set_bucket(ring, &ring->sets[s].keys[i], now_ms);
}

/* All keys are compared, whichever it is. */
static const struct key *find_in(const struct key_set *set, const char *presented, size_t len)
{
    unsigned char hash[crypto_generichash_BYTES];
    const struct key *found = NULL;
    key_hash(set->salt, presented, len, hash);
    for (size_t i = 0; i < set->count; i++)
        if (sodium_memcmp(hash, set->keys[i].hash, sizeof(hash)) == 0)
            found = &set->keys[i];
    sodium_memzero(hash, sizeof(hash));
    return found;
}

/* The same over all sets of clients. */
static const struct key *find_client(const struct key_set sets[SET_COUNT], const char *presented,
                                     size_t len)
{
    const struct key *found = NULL;
    for (size_t s = 0; s < SET_CLIENTS; s++) {
        const struct key *key = find_in(&sets[s], presented, len);
        found = found != NULL ? found : key;
    }
    return found;
}

static bool make_sets(const struct keyring *ring, const struct keyring_texts *texts,
                      struct key_set ret[SET_COUNT], char **ret_why)
{
    struct key_file file;
    char *why = NULL;
    if (!key_file_load(ring->path, &file, &why)) {
        *ret_why = xasprintf("PROXY_KEYS_FILE: %s", why);
        free(why);
        return false;
    }
    ret[SET_DEFAULT] = make_set_of_one(ring, texts->client);
    ret[SET_FILE] = make_set(ring, &file);
    ret[SET_ADMIN] = make_set_of_one(ring, texts->admin);
    key_file_free(&file);
    return true;
}

bool keyring_reload(struct keyring *ring, const struct keyring_texts *texts, char **ret_why)
{
    struct key_set coming[SET_COUNT];
    if (!make_sets(ring, texts, coming, ret_why))
        return false;
    const struct key *both =
        texts->admin != NULL ? find_client(coming, texts->admin, strlen(texts->admin)) : NULL;
    if (both != NULL)
        *ret_why = xasprintf("the admin key (PROXY_ADMIN_KEY, PROXY_ADMIN_KEY_FILE) must not be a "
                             "key of clients: it is the one named %s",
                             both->name);
    bool ok = both == NULL;
    for (size_t s = 0; s < SET_COUNT; s++) {
        set_free(ok ? &ring->sets[s] : &coming[s]);
        if (ok)
            ring->sets[s] = coming[s];
    }
    return ok;
}

struct keyring *keyring_load(const char *path, int64_t rpm, int64_t burst,
                             const struct keyring_texts *texts, char **ret_why)
{
    struct keyring *ring = xcalloc(1, sizeof(*ring));
    ring->path = xstrdup(path);
    ring->rpm = rpm;
    ring->burst = burst;
    if (keyring_reload(ring, texts, ret_why))
        return ring;
    keyring_free(ring);
    return NULL;
}

size_t keyring_count(const struct keyring *ring)
{
    return ring->sets[SET_DEFAULT].count + ring->sets[SET_FILE].count;
}

const char *keyring_find(const struct keyring *ring, const char *presented, size_t len)
{
    if (len > ACCESS_KEY_MAX)
        return NULL;
    const struct key *found = find_client(ring->sets, presented, len);
    return found != NULL ? found->name : NULL;
}

bool keyring_is_admin(const struct keyring *ring, const char *presented, size_t len)
{
    return len <= ACCESS_KEY_MAX && find_in(&ring->sets[SET_ADMIN], presented, len) != NULL;
}

void keyring_take(struct keyring *ring, const char *name, uint64_t now_ms, struct rate_state *ret)
{
    struct key *key = find_name(ring, name);
    struct rate_bucket none = { .rpm = 0 };
    rate_limit_take(key != NULL ? &key->bucket : &none, now_ms, ret);
}

void keyring_free(struct keyring *ring)
{
    if (ring == NULL)
        return;
    for (size_t s = 0; s < SET_COUNT; s++)
        set_free(&ring->sets[s]);
    free(ring->path);
    free(ring);
}

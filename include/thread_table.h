/* The threads of turns: found by the id that the worker gave them, and kept ones by a digest of all that they have seen. */
#ifndef THREAD_TABLE_H
#define THREAD_TABLE_H

#include "mem.h"
#include "output.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

#define THREAD_TABLE_SIZE 256  /* buckets; turns at once are a few dozen */
#define THREAD_DIGEST_BYTES 32 /* of libsodium's BLAKE2b */

/* Embedded in a turn; all zero at first. */
struct thread {
    char id[OUTPUT_ID_MAX]; /* empty while it is not known */
    struct thread *next;    /* linked: same bucket */
    TAILQ_ENTRY(thread) kept_link;
    bool kept;
    unsigned char digest[THREAD_DIGEST_BYTES]; /* of a kept one */
};

TAILQ_HEAD(thread_list, thread);

struct thread_table {
    struct thread_list kept;                 /* linked: the one kept longest first */
    struct thread *by_id[THREAD_TABLE_SIZE]; /* linked: those whose id is known */
};

/* The struct that embeds the thread `t` as `member`. */
#define thread_owner(t, type, member) ((type *)(void *)((char *)(t)-offsetof(type, member)))

void thread_table_init(struct thread_table *table);

/* Copies an id of the worker's. False when it is empty (or NULL), or longer than we keep. */
bool thread_copy_id(char ret[OUTPUT_ID_MAX], const char *id);

/* Its id has become known. False when it is no id. */
CHECK_RESULT bool thread_add(struct thread_table *table, struct thread *thread, const char *id);

/* Takes it out of the table, and out of those that are kept. Safe to repeat. */
void thread_remove(struct thread_table *table, struct thread *thread);

/* The thread of that id, linked; or NULL, also for an id of NULL. */
struct thread *thread_find(const struct thread_table *table, const char *id);

/* Keeps it for the one who finds it by this digest, unless it is kept already. */
void thread_keep(struct thread_table *table, struct thread *thread,
                 const unsigned char digest[THREAD_DIGEST_BYTES]);
void thread_unkeep(struct thread_table *table, struct thread *thread);

/* The thread kept last under that digest, linked; or NULL. */
struct thread *thread_find_kept(const struct thread_table *table,
                                const unsigned char digest[THREAD_DIGEST_BYTES]);

#endif

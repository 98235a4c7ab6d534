/* The threads of turns, by id and by digest. */
#include "thread_table.h"

#include <stdint.h>
#include <string.h>

static size_t bucket_of(const char *id)
{
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (; *id != '\0'; id++)
        hash = (hash ^ (unsigned char)*id) * 16777619U;
    return hash % THREAD_TABLE_SIZE;
}

void thread_table_init(struct thread_table *table)
{
    *table = (struct thread_table){ .by_id = { NULL } };
    TAILQ_INIT(&table->kept);
}

bool thread_copy_id(char ret[OUTPUT_ID_MAX], const char *id)
{
    size_t len = id != NULL ? strlen(id) : OUTPUT_ID_MAX;
    if (len == 0 || len >= OUTPUT_ID_MAX)
        return false;
    memcpy(ret, id, len + 1);
    return true;
}

bool thread_add(struct thread_table *table, struct thread *thread, const char *id)
{
    if (!thread_copy_id(thread->id, id))
        return false;
    struct thread **bucket = &table->by_id[bucket_of(thread->id)];
    thread->next = *bucket;
    *bucket = thread;
    return true;
}

void thread_remove(struct thread_table *table, struct thread *thread)
{
    struct thread **at = &table->by_id[bucket_of(thread->id)];
    while (*at != NULL && *at != thread)
        at = &(*at)->next;
    if (*at != NULL)
        *at = thread->next;
    thread_unkeep(table, thread);
}

struct thread *thread_find(const struct thread_table *table, const char *id)
{
    struct thread *thread = id != NULL ? table->by_id[bucket_of(id)] : NULL;
    while (thread != NULL && strcmp(thread->id, id) != 0)
        thread = thread->next;
    return thread;
}

void thread_keep(struct thread_table *table, struct thread *thread,
                 const unsigned char digest[THREAD_DIGEST_BYTES])
{
    if (thread->kept)
        return;
    thread->kept = true;
    memcpy(thread->digest, digest, THREAD_DIGEST_BYTES);
    TAILQ_INSERT_TAIL(&table->kept, thread, kept_link);
}

void thread_unkeep(struct thread_table *table, struct thread *thread)
{
    if (!thread->kept)
        return;
    thread->kept = false;
    TAILQ_REMOVE(&table->kept, thread, kept_link);
}

struct thread *thread_find_kept(const struct thread_table *table,
                                const unsigned char digest[THREAD_DIGEST_BYTES])
{
    struct thread *thread = NULL;
    TAILQ_FOREACH_REVERSE(thread, &table->kept, thread_list, kept_link)
    {
        if (memcmp(thread->digest, digest, THREAD_DIGEST_BYTES) == 0)
            break;
    }
    return thread;
}

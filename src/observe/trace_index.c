/* Which trace files are in the folder. */
#include "trace_index.h"

#include "clock.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int64_t trace_index_born_ms(int64_t wall_ms)
{
    int64_t age_ms = clock_wall_ms() - wall_ms;
    return (int64_t)clock_mono_ms() - (age_ms > 0 ? age_ms : 0);
}

void trace_index_free(struct trace_index *x)
{
    free(x->entries);
    *x = (struct trace_index){ .entries = NULL };
}

/* ---- the list ---- */

static struct trace_entry *at(const struct trace_index *x, size_t i)
{
    return &x->entries[x->first + i];
}

static void make_room(struct trace_index *x)
{
    if (x->first + x->count < x->room)
        return;
    if (x->first > x->count) { /* most of it is behind us */
        memmove(x->entries, at(x, 0), x->count * sizeof(*x->entries));
        x->first = 0;
        return;
    }
    x->room = x->room != 0 ? 2 * x->room : 64;
    x->entries = xrealloc(x->entries, x->room * sizeof(*x->entries));
}

static int by_birth(const void *a, const void *b)
{
    const struct trace_entry *x = a;
    const struct trace_entry *y = b;
    if (x->born_ms != y->born_ms)
        return x->born_ms < y->born_ms ? -1 : 1;
    return strcmp(x->name.text, y->name.text);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct trace_entry *)a)->name.text,
                  ((const struct trace_entry *)b)->name.text);
}

/* Nearly always at the end: requests end in about the order in which they began. */
void trace_index_add(struct trace_index *x, const struct trace_name *name, int64_t born_ms)
{
    const struct trace_entry entry = { .name = *name, .born_ms = born_ms };
    make_room(x);
    size_t place = x->count++;
    for (; place > 0 && by_birth(at(x, place - 1), &entry) > 0; place--)
        *at(x, place) = *at(x, place - 1);
    *at(x, place) = entry;
}

const struct trace_entry *trace_index_newest(const struct trace_index *x, size_t i)
{
    return i < x->count ? at(x, x->count - 1 - i) : NULL;
}

bool trace_index_oldest(const struct trace_index *x, int64_t *ret_born_ms)
{
    if (x->count == 0)
        return false;
    *ret_born_ms = at(x, 0)->born_ms;
    return true;
}

const struct trace_entry *trace_index_find(const struct trace_index *x, const char *req_id)
{
    const struct trace_entry *entry = NULL;
    for (size_t i = 0; (entry = trace_index_newest(x, i)) != NULL; i++)
        if (strcmp(entry->name.req_id, req_id) == 0)
            return entry;
    return NULL;
}

/* ---- the folder ---- */

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void trace_index_note(struct trace_index *x, const char *folder)
{
    if (stat(folder, &x->seen) != 0)
        x->known = false;
}

/* Those that were known keep their birth. `old` is in the order of names. */
static void take(struct trace_index *x, const struct trace_index *old, const char *text)
{
    struct trace_entry entry = { .born_ms = 0 };
    if (!trace_name_parse(text, &entry.name))
        return;
    const struct trace_entry *known =
        old->count > 0 ? bsearch(&entry, at(old, 0), old->count, sizeof(entry), by_name) : NULL;
    entry.born_ms = known != NULL ? known->born_ms : trace_index_born_ms(entry.name.wall_ms);
    make_room(x);
    *at(x, x->count++) = entry;
}

static bool read_entries(struct trace_index *x, const struct trace_index *old, DIR *dir)
{
    const struct dirent *entry = NULL;
    while (errno = 0, (entry = readdir(dir)) != NULL) {
        if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN)
            take(x, old, entry->d_name); /* a folder or a link is not ours, whatever its name */
    }
    return errno == 0;
}

static void sort(struct trace_index *x, int (*order)(const void *a, const void *b))
{
    if (x->count > 0)
        qsort(at(x, 0), x->count, sizeof(*x->entries), order);
}

static bool look(struct trace_index *x, const char *folder)
{
    struct trace_index fresh = { .known = true };
    trace_index_note(&fresh, folder); /* before, so that no change is missed */
    DIR *dir = opendir(folder);
    bool ok = dir == NULL && errno == ENOENT;
    sort(x, by_name);
    if (dir != NULL)
        ok = read_entries(&fresh, x, dir);
    int error = errno;
    if (dir != NULL)
        closedir(dir);
    if (ok) {
        trace_index_free(x);
        *x = fresh;
    } else {
        trace_index_free(&fresh);
    }
    sort(x, by_birth);
    errno = error;
    return ok;
}

bool trace_index_refresh(struct trace_index *x, const char *folder, bool anew)
{
    struct stat now;
    if (!anew && x->known && stat(folder, &now) == 0 && same(&now, &x->seen))
        return true;
    return look(x, folder);
}

/* ---- removing ---- */

void trace_index_remove_leftovers(const char *folder)
{
    const struct dirent *entry = NULL;
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL)
        if (trace_name_is_leftover(entry->d_name))
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

static bool remove_oldest(struct trace_index *x, const char *folder, size_t *count)
{
    char *path = xasprintf("%s/%s", folder, at(x, 0)->name.text);
    int rc = unlink(path);
    int error = errno;
    free(path);
    errno = error;
    if (rc != 0 && error != ENOENT)
        return false;
    *count += rc == 0 ? 1 : 0; /* else somebody else was faster */
    x->first++;
    x->count--;
    return true;
}

bool trace_index_prune(struct trace_index *x, const char *folder, int64_t born_by_ms, size_t keep,
                       size_t *ret_aged, size_t *ret_surplus)
{
    size_t before = *ret_aged + *ret_surplus;
    bool ok = true;
    while (ok && x->count > 0 && at(x, 0)->born_ms <= born_by_ms)
        ok = remove_oldest(x, folder, ret_aged);
    while (ok && x->count > keep)
        ok = remove_oldest(x, folder, ret_surplus);
    int error = errno;
    if (*ret_aged + *ret_surplus != before)
        trace_index_note(x, folder);
    errno = error;
    return ok;
}

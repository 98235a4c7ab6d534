/* How much of the memory that we may use is in use. */
#include "memory_use.h"

#include "file.h"

#include <stdlib.h>
#include <string.h>

#define KERNEL_FILE_MAX 65536

static bool read_text(struct buf *text, const char *folder, const char *name)
{
    char *path = xasprintf("%s/%s", folder, name);
    buf_clear(text);
    bool ok = file_read(path, text, KERNEL_FILE_MAX);
    free(path);
    return ok;
}

static bool parse_number(const char *at, int64_t *ret)
{
    at += strspn(at, " \t");
    if (*at < '0' || *at > '9') /* "max": no limit */
        return false;
    *ret = strtoll(at, NULL, 10);
    return true;
}

/* The number behind `key` at the begin of a line. */
static bool number_of(struct buf *text, const char *key, int64_t *ret)
{
    size_t len = strlen(key);
    for (const char *line = buf_str(text); line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, len) == 0)
            return parse_number(line + len, ret);
    }
    return false;
}

/* A group without a limit tells nothing. */
static bool read_limit(const char *folder, struct buf *text, struct memory_use *ret)
{
    *ret = (struct memory_use){ .of_cgroup = true };
    return read_text(text, folder, "memory.max") &&
           parse_number(buf_str(text), &ret->limit_bytes) && ret->limit_bytes > 0;
}

static bool read_limit_and_use(const char *folder, struct buf *text, struct memory_use *ret)
{
    int64_t cache = 0;
    if (!read_limit(folder, text, ret) || !read_text(text, folder, "memory.current") ||
        !parse_number(buf_str(text), &ret->used_bytes))
        return false;
    if (read_text(text, folder, "memory.stat") && number_of(text, "inactive_file ", &cache) &&
        cache < ret->used_bytes)
        ret->used_bytes -= cache;
    return true;
}

typedef bool (*group_reader)(const char *folder, struct buf *text, struct memory_use *ret);

/* Nearer to its limit, or else with less of one. */
static bool is_tighter(const struct memory_use *a, const struct memory_use *b)
{
    double of_a = (double)a->used_bytes / (double)a->limit_bytes;
    double of_b = (double)b->used_bytes / (double)b->limit_bytes;
    return of_a > of_b || (of_a >= of_b && a->limit_bytes < b->limit_bytes);
}

/* Our own group and all around it: the limit may be one of those. */
static bool read_groups(const char *root, char *name, group_reader read, struct buf *text,
                        struct memory_use *ret)
{
    bool found = false;
    for (;;) {
        struct memory_use use;
        char *folder = xasprintf("%s/sys/fs/cgroup%s", root, name);
        if (read(folder, text, &use) && (!found || is_tighter(&use, ret))) {
            *ret = use;
            found = true;
        }
        free(folder);
        char *last = strrchr(name, '/');
        if (last == NULL)
            return found;
        *last = '\0';
    }
}

static bool read_cgroup(const char *root, group_reader read, struct buf *text,
                        struct memory_use *ret)
{
    if (!read_text(text, root, "proc/self/cgroup"))
        return false;
    const char *line = buf_str(text);
    while (line != NULL && strncmp(line, "0::", 3) != 0) {
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    if (line == NULL)
        return false;
    char *name = xstrndup(line + 3, strcspn(line + 3, "\n"));
    bool found = read_groups(root, name, read, text, ret);
    free(name);
    return found;
}

static bool read_machine(const char *root, struct buf *text, struct memory_use *ret)
{
    int64_t total_kib = 0;
    int64_t available_kib = 0;
    if (!read_text(text, root, "proc/meminfo") || !number_of(text, "MemTotal:", &total_kib) ||
        !number_of(text, "MemAvailable:", &available_kib) || total_kib <= 0)
        return false;
    *ret = (struct memory_use){ .used_bytes = (total_kib - available_kib) * 1024,
                                .limit_bytes = total_kib * 1024 };
    return true;
}

bool memory_use_read(const char *root, struct memory_use *ret)
{
    struct buf text = BUF_INIT;
    bool ok = read_cgroup(root, read_limit_and_use, &text, ret) || read_machine(root, &text, ret);
    buf_free(&text);
    return ok;
}

bool memory_limit_read(const char *root, int64_t *ret_bytes)
{
    struct buf text = BUF_INIT;
    struct memory_use use;
    bool ok = read_cgroup(root, read_limit, &text, &use);
    buf_free(&text);
    if (ok)
        *ret_bytes = use.limit_bytes;
    return ok;
}

/* The text of keys that clients present: random ones, and the one in a file. */
#include "access_key.h"

#include "file.h"
#include "id.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEY_FILE_MAX 4096 /* bytes */
#define RANDOM_LEN 40     /* letters and digits: 238 bits */

static bool usable(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return len >= ACCESS_KEY_MIN && len <= ACCESS_KEY_MAX;
}

void access_key_make(struct buf *ret)
{
    char random[RANDOM_LEN + 1];
    buf_reserve(ret, RANDOM_LEN + 32); /* it moves no more, and can be wiped */
    id_random_text(random, RANDOM_LEN);
    buf_puts(ret, "sk-codex-api-");
    buf_puts(ret, random);
    sodium_memzero(random, sizeof(random));
}

/* False with errno, and nothing is appended. */
static bool make_file(const char *path, struct buf *ret)
{
    size_t start = ret->len;
    access_key_make(ret);
    size_t len = ret->len;
    buf_putc(ret, '\n');
    bool ok = file_make(path, ret->data + start, ret->len - start);
    ret->len = ok ? len : start;
    if (!ok)
        sodium_memzero(ret->data + start, len - start);
    return ok;
}

/* What was read after `start`, cut to the key. */
static bool take_key(const char *path, struct buf *ret, size_t start, char **ret_why)
{
    ret->len = start + strcspn(buf_str(ret) + start, "\r\n");
    if (usable(ret->data + start, ret->len - start))
        return true;
    *ret_why = xasprintf("the key file %s holds no usable key: its first line must be %d to %d "
                         "printable characters without spaces",
                         path, ACCESS_KEY_MIN, ACCESS_KEY_MAX);
    return false;
}

static bool unreadable(const char *path, char **ret_why)
{
    *ret_why = xasprintf("cannot read or make the key file %s: %s", path, strerror(errno));
    return false;
}

bool access_key_from_file(const char *path, struct buf *ret, char **ret_why)
{
    size_t start = ret->len;
    bool ok = file_read(path, ret, KEY_FILE_MAX);
    if (!ok && errno == ENOENT) {
        if (make_file(path, ret))
            return true;
        ok = errno == EEXIST && file_read(path, ret, KEY_FILE_MAX); /* somebody was faster */
    }
    return ok ? take_key(path, ret, start, ret_why) : unreadable(path, ret_why);
}

bool access_key_if_there(const char *path, struct buf *ret, char **ret_why)
{
    size_t start = ret->len;
    if (file_read(path, ret, KEY_FILE_MAX))
        return take_key(path, ret, start, ret_why);
    return errno == ENOENT || unreadable(path, ret_why);
}

unsigned access_key_exposed(const char *path)
{
    struct stat st;
    bool regular = stat(path, &st) == 0 && S_ISREG(st.st_mode);
    return regular && (st.st_mode & (S_IWGRP | S_IRWXO)) != 0 ? st.st_mode & 0777 : 0;
}

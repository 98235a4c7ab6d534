/* The file of named keys. */
#include "key_file.h"

#include "file.h"
#include "rate_limit.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (256 * 1024)
#define WORDS_MAX 5 /* of a line */

void key_hash(const unsigned char salt[crypto_generichash_KEYBYTES], const char *text, size_t len,
              unsigned char ret[crypto_generichash_BYTES])
{
    crypto_generichash(ret, crypto_generichash_BYTES, (const unsigned char *)text, len, salt,
                       crypto_generichash_KEYBYTES);
}

bool key_name_ok(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= KEY_NAME_MAX && strcmp(name, KEY_DEFAULT_NAME) != 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

/* ---- a line ---- */

static bool parse_hex(const char *text, unsigned char *ret, size_t size)
{
    size_t len = 0;
    return strlen(text) == 2 * size &&
           sodium_hex2bin(ret, size, text, 2 * size, NULL, &len, NULL) == 0 && len == size;
}

static bool parse_count(const char *text, int64_t *ret)
{
    size_t len = strlen(text);
    if (len == 0 || len > 9 || strspn(text, "0123456789") != len)
        return false;
    *ret = strtoll(text, NULL, 10);
    return *ret <= RATE_RPM_MAX;
}

/* "rpm=60" */
static bool parse_limit(const char *word, struct key_entry *ret)
{
    if (strncmp(word, "rpm=", 4) == 0 && ret->rpm == -1)
        return parse_count(word + 4, &ret->rpm);
    if (strncmp(word, "burst=", 6) == 0 && ret->burst == -1)
        return parse_count(word + 6, &ret->burst);
    return false;
}

/* Returns what is wrong with the line, or NULL. */
static const char *take_key(struct key_file *file, char *const *words, size_t count)
{
    struct key_entry entry = { .rpm = -1, .burst = -1 };
    if (count < 3)
        return "a key is a name and 64 hex digits";
    if (!key_name_ok(words[1]))
        return "that is no name for a key";
    if (key_file_find(file, words[1]) >= 0)
        return "the name is there twice";
    if (file->count == KEY_FILE_KEYS_MAX)
        return "too many keys";
    if (!parse_hex(words[2], entry.hash, sizeof(entry.hash)))
        return "a key is a name and 64 hex digits";
    for (size_t i = 3; i < count; i++)
        if (!parse_limit(words[i], &entry))
            return "after the hash only rpm=N and burst=N may stand";
    memcpy(entry.name, words[1], strlen(words[1]) + 1);
    key_file_add(file, &entry);
    sodium_memzero(&entry, sizeof(entry));
    return NULL;
}

static const char *take_line(struct key_file *file, bool *salted, char *line)
{
    char *words[WORDS_MAX + 1];
    size_t count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \t\r", &rest); word != NULL && count <= WORDS_MAX;
         word = strtok_r(NULL, " \t\r", &rest))
        words[count++] = word;
    if (count == 0 || words[0][0] == '#')
        return NULL;
    if (count > WORDS_MAX)
        return "too many words";
    if (strcmp(words[0], "key") == 0)
        return *salted ? take_key(file, words, count) : "the salt comes first";
    if (strcmp(words[0], "salt") != 0 || count != 2 || *salted ||
        !parse_hex(words[1], file->salt, sizeof(file->salt)))
        return "neither a key nor the one salt";
    *salted = true;
    return NULL;
}

static bool parse(const char *path, struct buf *text, struct key_file *ret, char **ret_why)
{
    bool salted = false;
    size_t number = 0;
    if (strlen(buf_str(text)) != text->len) {
        *ret_why = xasprintf("%s: is not text", path);
        return false;
    }
    char *rest = text->data;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        const char *wrong = take_line(ret, &salted, line);
        number++;
        if (wrong != NULL) {
            *ret_why = xasprintf("%s: line %zu: %s", path, number, wrong);
            return false;
        }
    }
    if (salted)
        return true;
    *ret_why = xasprintf("%s: has no salt", path);
    return false;
}

/* ---- the whole ---- */

static void wipe(struct buf *text)
{
    if (text->data != NULL)
        sodium_memzero(text->data, text->cap);
    buf_free(text);
}

/* It says who may come in: whoever writes to it may. */
static bool is_private(const char *path, char **ret_why)
{
    struct stat st;
    if (stat(path, &st) != 0 || (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
        return true;
    *ret_why = xasprintf("%s: others than its owner may write to it; chmod 600 it", path);
    return false;
}

bool key_file_load(const char *path, struct key_file *ret, char **ret_why)
{
    struct buf text = BUF_INIT;
    struct key_file file = { .entries = NULL };
    bool ok = false;
    if (!is_private(path, ret_why))
        return false;
    buf_reserve(&text, FILE_BYTES_MAX + 8192); /* so that it is never moved, and can be wiped */
    if (file_read(path, &text, FILE_BYTES_MAX)) {
        ok = parse(path, &text, &file, ret_why);
    } else if (errno == ENOENT) {
        randombytes_buf(file.salt, sizeof(file.salt));
        ok = true;
    } else {
        *ret_why = xasprintf("%s: %s", path, strerror(errno));
    }
    wipe(&text);
    if (ok)
        *ret = file;
    else
        key_file_free(&file);
    return ok;
}

static void put_hex(struct buf *out, const unsigned char *bytes, size_t len)
{
    char hex[2 * crypto_generichash_BYTES_MAX + 1];
    sodium_bin2hex(hex, sizeof(hex), bytes, len);
    buf_puts(out, hex);
    sodium_memzero(hex, sizeof(hex));
}

static void put_entry(struct buf *out, const struct key_entry *entry)
{
    buf_printf(out, "key %s ", entry->name);
    put_hex(out, entry->hash, sizeof(entry->hash));
    if (entry->rpm >= 0)
        buf_printf(out, " rpm=%lld", (long long)entry->rpm);
    if (entry->burst >= 0)
        buf_printf(out, " burst=%lld", (long long)entry->burst);
    buf_putc(out, '\n');
}

bool key_file_save(const char *path, const struct key_file *file, char **ret_why)
{
    struct buf text = BUF_INIT;
    buf_reserve(&text, FILE_BYTES_MAX);
    buf_puts(&text, "# Keys of codex-api, as hashes. Change them with: codex-api key\nsalt ");
    put_hex(&text, file->salt, sizeof(file->salt));
    buf_putc(&text, '\n');
    for (size_t i = 0; i < file->count; i++)
        put_entry(&text, &file->entries[i]);
    bool ok = file_replace(path, text.data, text.len);
    if (!ok)
        *ret_why = xasprintf("%s: %s", path, strerror(errno));
    wipe(&text);
    return ok;
}

void key_file_add(struct key_file *file, const struct key_entry *entry)
{
    if (file->entries == NULL)
        file->entries = xcalloc(KEY_FILE_KEYS_MAX, sizeof(*file->entries));
    file->entries[file->count++] = *entry;
}

int key_file_find(const struct key_file *file, const char *name)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->entries[i].name, name) == 0)
            return (int)i;
    return -1;
}

void key_file_remove(struct key_file *file, size_t at)
{
    file->count--;
    memmove(&file->entries[at], &file->entries[at + 1],
            (file->count - at) * sizeof(*file->entries));
}

void key_file_free(struct key_file *file)
{
    if (file->entries != NULL)
        sodium_memzero(file->entries, KEY_FILE_KEYS_MAX * sizeof(*file->entries));
    free(file->entries);
    sodium_memzero(file, sizeof(*file));
}

/* The folder is locked, not the file: the file that is locked would be another one after the first change. */
int key_file_lock(const char *path, char **ret_why)
{
    char *copy = xstrdup(path);
    int lock = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(copy);
    if (lock >= 0 && flock(lock, LOCK_EX) == 0)
        return lock;
    *ret_why = xasprintf("%s: its folder cannot be locked: %s", path, strerror(errno));
    key_file_unlock(lock);
    return -1;
}

void key_file_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}

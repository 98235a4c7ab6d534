/* A file of settings: lines NAME=value. */
#include "settings_file.h"

#include "file.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* The value between the quotes, unescaped in place. False when they do not close at the end of the line. */
static bool unquote(char *text)
{
    char *out = text;
    const char *in = text + 1;
    for (; *in != '\0' && *in != '"'; in++) {
        if (*in == '\\' && in[1] != '\0') {
            in++;
            *out++ = *in == 'n' ? '\n' : *in;
        } else {
            *out++ = *in;
        }
    }
    bool closed = in[0] == '"' && in[1] == '\0';
    *out = '\0';
    return closed;
}

static void trim_end(char *text)
{
    size_t len = strlen(text);
    while (len != 0 && strchr(" \t\r", text[len - 1]) != NULL)
        text[--len] = '\0';
}

static void add(struct settings_file *file, const char *name, const char *value, unsigned number)
{
    file->lines = xrealloc(file->lines, (file->count + 1) * sizeof(*file->lines));
    file->lines[file->count++] = (struct settings_line){ xstrdup(name), xstrdup(value), number };
}

static bool take_line(struct settings_file *file, char *line, unsigned number)
{
    line += strspn(line, " \t");
    trim_end(line);
    if (*line == '\0' || *line == '#')
        return true;
    char *equals = strchr(line, '=');
    size_t name_len = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    if (equals == NULL || name_len == 0 || line + name_len != equals)
        return false;
    *equals = '\0';
    char *value = equals + 1;
    if (*value == '"' && !unquote(value))
        return false;
    add(file, line, value, number);
    return true;
}

/* It may hold keys. */
static void wipe(struct buf *text)
{
    if (text->data != NULL)
        sodium_memzero(text->data, text->cap);
    buf_free(text);
}

int settings_file_read(struct settings_file *ret, const char *path, FILE *complaints)
{
    struct buf text = BUF_INIT;
    int wrong = 0;
    unsigned number = 0;
    *ret = (struct settings_file){ NULL, 0 };
    if (!file_read(path, &text, SETTINGS_FILE_MAX)) {
        fprintf(complaints, "SETTINGS_FILE: cannot read %s: %s\n", path, strerror(errno));
        wipe(&text);
        return 1;
    }
    if (memchr(buf_str(&text), '\0', text.len) != NULL) { /* no line after it would be seen */
        fprintf(complaints, "SETTINGS_FILE: %s is not a text\n", path);
        wipe(&text);
        return 1;
    }
    char *next = text.data;
    while (next != NULL) {
        char *line = strsep(&next, "\n");
        number++;
        if (take_line(ret, line, number))
            continue;
        fprintf(complaints, "SETTINGS_FILE: line %u of %s is not NAME=value\n", number, path);
        wrong++;
    }
    wipe(&text);
    return wrong;
}

const char *settings_file_get(const struct settings_file *file, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->lines[i].name, name) == 0)
            value = file->lines[i].value;
    return value;
}

void settings_file_free(struct settings_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        sodium_memzero(file->lines[i].value, strlen(file->lines[i].value));
        free(file->lines[i].name);
        free(file->lines[i].value);
    }
    free(file->lines);
    *file = (struct settings_file){ NULL, 0 };
}

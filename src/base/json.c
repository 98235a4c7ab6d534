/* Helpers on top of jansson. */
#include "json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define JSON_KEY_MAX 64

void json_setup(void)
{
    json_set_alloc_funcs(xmalloc, free);
}

/* Numbers that were read as reals only because one of them is too large for an integer become integers again where that
 * is exact. Returns what takes the place of `value`, whose reference it takes. */
static json_t *restore_integers(json_t *value)
{
    static const double exact = 9007199254740992.0; /* 2^53 */
    size_t i = 0;
    const char *key = NULL;
    json_t *member = NULL;
    if (json_is_real(value)) {
        double real = json_real_value(value);
        if (real < -exact || real > exact || real != (double)(json_int_t)real)
            return value;
        json_decref(value);
        return json_integer((json_int_t)real);
    }
    json_array_foreach(value, i, member)
    {
        json_array_set_new(value, i, restore_integers(json_incref(member)));
    }
    json_object_foreach(value, key, member)
    {
        json_object_set_new_nocheck(value, key, restore_integers(json_incref(member)));
    }
    return value;
}

json_t *json_parse(const char *text, size_t len, const char **why)
{
    static json_error_t error;
    const size_t flags = JSON_ALLOW_NUL | JSON_DECODE_ANY;
    json_t *value = json_loadb(text, len, flags, &error);
    if (value == NULL && json_error_code(&error) == json_error_numeric_overflow)
        value = restore_integers(json_loadb(text, len, flags | JSON_DECODE_INT_AS_REAL, &error));
    if (value == NULL && why != NULL)
        *why = error.text;
    return value;
}

bool json_is_object_text(const char *text, size_t len)
{
    json_error_t error;
    json_t *value = json_loadb(text, len, 0, &error);
    bool ok = json_is_object(value);
    json_decref(value);
    return ok;
}

json_t *json_at(const json_t *value, const char *path)
{
    json_t *at = (json_t *)(uintptr_t)value;
    while (at != NULL && *path != '\0') {
        size_t len = strcspn(path, ".");
        char key[JSON_KEY_MAX];
        if (len >= sizeof(key))
            return NULL;
        memcpy(key, path, len);
        key[len] = '\0';
        at = json_object_get(at, key);
        path += len;
        path += *path == '.';
    }
    return at;
}

const char *json_str_at(const json_t *value, const char *path)
{
    return json_string_value(json_at(value, path));
}

json_int_t json_int_at(const json_t *value, const char *path, json_int_t fallback)
{
    const json_t *at = json_at(value, path);
    return json_is_integer(at) ? json_integer_value(at) : fallback;
}

int json_bool_at(const json_t *value, const char *path, int fallback)
{
    const json_t *at = json_at(value, path);
    return json_is_boolean(at) ? json_is_true(at) : fallback;
}

bool json_deeper_than(const json_t *value, size_t max)
{
    size_t i = 0;
    const char *key = NULL;
    json_t *member = NULL;
    if (!json_is_object(value) && !json_is_array(value))
        return false;
    if (max == 0)
        return true;
    json_array_foreach(value, i, member)
    {
        if (json_deeper_than(member, max - 1))
            return true;
    }
    json_object_foreach((json_t *)(uintptr_t)value, key, member)
    {
        if (json_deeper_than(member, max - 1))
            return true;
    }
    return false;
}

/* How a byte is written: 0 as it is, 'u' as \u00XX, else as a backslash and this letter. */
static char escape_of(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return c < 0x20 ? 'u' : 0;
    }
}

void json_escape(struct buf *out, const char *text, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    if (len == 0)
        return;
    const char *plain = text;
    const char *end = text + len;
    for (const char *at = text; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_append(out, plain, (size_t)(at - plain));
        plain = at + 1;
        char how = escape_of(c);
        if (how == 'u') {
            const char code[6] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };
            buf_append(out, code, sizeof(code));
        } else {
            const char code[2] = { '\\', how };
            buf_append(out, code, sizeof(code));
        }
    }
    buf_append(out, plain, (size_t)(end - plain));
}

void json_quote(struct buf *out, const char *text, size_t len)
{
    buf_putc(out, '"');
    json_escape(out, text, len);
    buf_putc(out, '"');
}

void json_put_name(struct buf *out, const char *name)
{
    bool first = out->len > 0 && out->data[out->len - 1] == '{';
    buf_puts(out, first ? "\"" : ",\"");
    buf_puts(out, name);
    buf_puts(out, "\":");
}

void json_put_int(struct buf *out, const char *name, int64_t value)
{
    json_put_name(out, name);
    buf_put_int(out, value);
}

void json_put_bool(struct buf *out, const char *name, bool value)
{
    json_put_name(out, name);
    buf_puts(out, value ? "true" : "false");
}

void json_put_text(struct buf *out, const char *name, const char *text)
{
    json_put_name(out, name);
    if (text == NULL || *text == '\0')
        buf_puts(out, "null");
    else
        json_quote(out, text, strlen(text));
}

static int write_piece(const char *bytes, size_t len, void *ctx)
{
    buf_append(ctx, bytes, len);
    return 0;
}

void json_write(struct buf *out, const json_t *value)
{
    /* Cannot fail: write_piece does not, and a json_t holds only valid UTF-8. */
    (void)json_dump_callback(value, write_piece, out, JSON_COMPACT | JSON_ENCODE_ANY);
}

/* A stream of server-sent events, read as a client reads it. */
#ifndef FRAMES_H
#define FRAMES_H

#include "json.h"
#include "unit.h"

/* Takes the first event off the bytes: its data parsed, JSON null for [DONE], or a string for a comment. NULL when
 * there is none. The caller owns the result. */
static inline json_t *frames_next(struct buf *bytes)
{
    if (bytes->len == 0)
        return NULL;
    const char *text = buf_str(bytes);
    const char *end = strstr(text, "\n\n");
    assert_non_null(end);
    assert_ptr_equal(memchr(text, '\n', (size_t)(end - text) + 1), end); /* one line an event */
    size_t len = (size_t)(end - text);
    json_t *value = NULL;
    if (text[0] == ':') {
        value = json_stringn(text, len);
    } else {
        assert_memory_equal(text, "data: ", 6);
        bool done = len == 12 && memcmp(text + 6, "[DONE]", 6) == 0;
        value = done ? json_null() : json_parse(text + 6, len - 6, NULL);
    }
    assert_non_null(value);
    buf_consume(bytes, len + 2);
    return value;
}

/* Takes an event and compares it. */
static inline void frames_expect(struct buf *bytes, const char *wanted_text)
{
    json_t *got = frames_next(bytes);
    assert_non_null(got);
    json_t *wanted = json_parse(wanted_text, strlen(wanted_text), NULL);
    assert_non_null(wanted);
    if (!json_equal(got, wanted)) {
        struct buf text = BUF_INIT;
        json_write(&text, got);
        fail_msg("got %s\nwanted %s", buf_str(&text), wanted_text);
    }
    json_decref(wanted);
    json_decref(got);
}

#endif

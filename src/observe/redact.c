/* Takes what may be a secret out of text that somebody else wrote. */
#include "redact.h"

#include "log.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define KEY_LEN_MIN 8

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '-' || c == '+' || c == '.' || c == '~';
}

static bool may_be_key(const char *word, size_t len)
{
    bool letter = false;
    bool digit = false;
    for (size_t i = 0; i < len; i++) {
        letter = letter || isalpha((unsigned char)word[i]);
        digit = digit || isdigit((unsigned char)word[i]);
    }
    return (len >= KEY_LEN_MIN && letter && digit) || (len > 3 && strncmp(word, "sk-", 3) == 0);
}

/* Whether the next word is the value of something secret. */
static bool announces_key(const char *word, size_t len)
{
    static const char *const names[] = { "token",  "key",   "secret",        "password",
                                         "bearer", "basic", "authorization", "cookie" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t name_len = strlen(names[i]);
        if (len >= name_len && strncasecmp(word + len - name_len, names[i], name_len) == 0)
            return true;
    }
    return false;
}

static void put_between(struct buf *out, char c)
{
    buf_putc(out, c >= ' ' && c <= '~' ? c : '?');
}

void redact_text(struct buf *out, const char *text, size_t len)
{
    bool announced = false;
    for (size_t i = 0; i < len;) {
        size_t start = i;
        while (i < len && is_word(text[i]))
            i++;
        if (i == start) {
            put_between(out, text[i++]);
            continue;
        }
        const char *word = text + start;
        size_t word_len = i - start;
        bool names_key = announces_key(word, word_len);
        if (may_be_key(word, word_len) || (announced && !names_key))
            buf_puts(out, "[redacted]");
        else
            buf_append(out, word, word_len);
        announced = names_key;
    }
}

void redact_log_lines(const char *component, const char *event, const char *text, size_t len)
{
    const char *end = text + len;
    while (len != 0 && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t line_len = (size_t)((newline != NULL ? newline : end) - text);
        struct buf line = BUF_INIT;
        redact_text(&line, text, line_len);
        log_error(component, event, LOG_ID("text", buf_str(&line)), LOG_INT("bytes", line_len));
        buf_free(&line);
        text += line_len + 1;
    }
}

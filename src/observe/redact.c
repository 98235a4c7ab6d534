/* Takes secrets out of text that somebody else wrote. */
#include "redact.h"

#include "encoded.h"
#include "secret_name.h"
#include "secret_number.h"
#include "secret_shape.h"
#include "utf8.h"

#include <string.h>

/* ---- what is left must be fit to be shown ---- */

/* Bytes of the character at `at`, or 0 when it is none, or a control character. */
static size_t shown_len(const char *at, const char *end)
{
    unsigned code = 0;
    size_t len = utf8_read(at, end, &code);
    bool control = (code < ' ' && code != '\n' && code != '\t') || (code >= 0x7f && code < 0xa0);
    return control ? 0 : len;
}

/* No longer than what it is made of. */
static void put_shown(struct buf *out, const char *at, const char *end)
{
    if (at >= end)
        return;
    char *put = buf_reserve(out, (size_t)(end - at));
    while (at < end) {
        const char *good = at;
        size_t len = 0;
        while (good < end && (len = *good >= ' ' && *good < 0x7f ? 1 : shown_len(good, end)) != 0)
            good += len;
        memcpy(put, at, (size_t)(good - at));
        put += good - at;
        at = good;
        if (at < end) {
            *put++ = '?';
            at++;
        }
    }
    out->len = (size_t)(put - out->data);
}

/* ---- the pass ---- */

struct pass {
    struct secret_name name;
    struct shape_memo memo;
    struct number_memo numbers;
    unsigned char previous; /* character; 0 at the beginning */
};

static struct secret_span find_in_url(struct pass *p, const char *at, const char *end, size_t width)
{
    const char *host = encoded_word(at + width, end, "//");
    return host != NULL ? secret_in_url(host, end, width, &p->memo)
                        : (struct secret_span){ NULL, NULL };
}

/* The secret that begins at, or is announced by, the character `c` at `at`, which is not within a word. */
static struct secret_span find_secret(struct pass *p, const char *at, const char *end,
                                      unsigned char c, size_t width)
{
    const unsigned class = char_class(c);
    struct secret_span found = { NULL, NULL };
    if (c == ':' || c == '=' || c == '>' || c == ' ')
        found = secret_value(&p->name, at, end, c, width);
    if (found.to == NULL && c == ':')
        return find_in_url(p, at, end, width);
    if (found.to != NULL || (char_class(p->previous) & CH_ALNUM) != 0)
        return found;
    if ((class & (CH_UPPER | CH_DIGIT | CH_PLUS)) != 0 || c == '(') {
        const char *number_end = secret_number(at, end, p->previous, &p->numbers);
        if (number_end != NULL)
            return (struct secret_span){ at, number_end };
    }
    return (class & CH_ALNUM) != 0 ? secret_shape(at, end, p->previous, &p->name, &p->memo) : found;
}

/* Behind the PEM block that is open, or the end. */
static const char *leave_pem(struct redact *r, const char *at, const char *end)
{
    const char *behind = secret_pem_end(at, end);
    r->pem_bytes += (size_t)(end - at);
    r->in_pem = behind == NULL && r->pem_bytes <= REDACT_PEM_MAX;
    return behind != NULL ? behind : end;
}

static struct secret_span find_pem(struct redact *r, const char *at, const char *end,
                                   unsigned char previous)
{
    const char *body = previous != '-' ? secret_pem_begin(at, end) : NULL;
    if (body == NULL)
        return (struct secret_span){ NULL, NULL };
    r->pem_bytes = 0;
    return (struct secret_span){ at, leave_pem(r, body, end) };
}

/* What follows is looked at as if the mark stood before it, for the sake of a second pass. */
static void begin_anew(struct pass *p)
{
    secret_name_forget(&p->name);
    p->memo.no_token_before = NULL;
    p->previous = ']';
}

static const char *put_mark(struct pass *p, struct buf *out, const char *shown,
                            struct secret_span secret)
{
    put_shown(out, shown, secret.from);
    buf_puts(out, REDACT_MARK);
    begin_anew(p);
    return secret.to;
}

static void pass_over(struct pass *p, unsigned char c)
{
    secret_name_feed(&p->name, c);
    p->previous = c;
}

/* Behind the letters and digits that begin at `at`, within a word. */
static const char *pass_over_word(struct pass *p, const char *at, const char *end)
{
    const char *word = at;
    while (at < end && (char_class((unsigned char)*at) & CH_ALNUM) != 0)
        at++;
    if (at > word) {
        secret_name_feed_word(&p->name, word, at);
        p->previous = (unsigned char)at[-1];
    }
    return at;
}

/* What is to be taken out at the character `c`. Before most characters of most texts nothing is. */
static struct secret_span look(struct redact *r, struct pass *p, const char *at, const char *end,
                               unsigned char c, size_t width)
{
    if ((char_class(c) & (CH_ALNUM | CH_SIGN)) == 0)
        return (struct secret_span){ NULL, NULL };
    return c == '-' ? find_pem(r, at, end, p->previous) : find_secret(p, at, end, c, width);
}

static void scrub(struct redact *r, struct buf *out, const char *at, const char *end)
{
    struct pass p = { .previous = 0 };
    const char *shown = at;
    size_t width;
    begin_anew(&p);
    while (at < end) {
        unsigned char c = encoded_char(at, end, &width);
        const char *behind = c == '[' ? encoded_word(at, end, REDACT_MARK) : NULL;
        if (behind != NULL) {
            begin_anew(&p);
            at = behind;
            continue;
        }
        behind = encoded_control_end(at, end);
        if (behind != NULL) {
            if (*at == '\x1b') { /* a '?' for all of it */
                put_shown(out, shown, at + 1);
                shown = behind;
            }
            at = behind;
            pass_over(&p, ' ');
            p.previous = '?';
            continue;
        }
        struct secret_span secret = look(r, &p, at, end, c, width);
        if (secret.to != NULL) {
            at = shown = put_mark(&p, out, shown, secret);
            continue;
        }
        pass_over(&p, c);
        at += width;
        if ((char_class(c) & CH_ALNUM) != 0)
            at = pass_over_word(&p, at, end);
    }
    put_shown(out, shown, end);
}

/* ---- public ---- */

void redact_line(struct redact *r, struct buf *out, const char *line, size_t len)
{
    const char *end = line + len;
    if (len != 0 && r->in_pem) {
        line = leave_pem(r, line, end);
        buf_puts(out, REDACT_MARK);
    }
    if (line < end)
        scrub(r, out, line, end);
}

void redact_text(struct buf *out, const char *text, size_t len)
{
    struct redact r = { .in_pem = false };
    redact_line(&r, out, text, len);
}

void redact_skip(struct redact *r, const char *line, size_t len)
{
    const char *end = line + len;
    if (len != 0 && r->in_pem)
        line = leave_pem(r, line, end);
    while (line < end && !r->in_pem) {
        line = memmem(line, (size_t)(end - line), "-----BEGIN ", 11);
        if (line == NULL)
            return;
        struct secret_span found = find_pem(r, line, end, 0);
        line = found.to != NULL ? found.to : line + 11;
    }
}

void redact_cut(struct buf *text, size_t max)
{
    if (text->len > max)
        text->len = utf8_cut(text->data, max);
}

void redact_cut_chars(struct buf *text, size_t max)
{
    size_t at = 0;
    for (; at < text->len; at++) {
        bool begins = ((unsigned char)text->data[at] & 0xc0) != 0x80;
        if (begins && max-- == 0)
            break;
    }
    text->len = at;
}

void redact_log(struct redact *r, enum log_level level, const char *component, const char *event,
                const char *line, size_t len)
{
    struct buf text = BUF_INIT;
    redact_line(r, &text, line, len);
    redact_cut(&text, REDACT_LINE_MAX);
    LOG_AT(level, component, event, LOG_ID("text", buf_str(&text)), LOG_INT("bytes", len));
    buf_free(&text);
}

void redact_log_lines(const char *component, const char *event, const char *text, size_t len)
{
    struct redact r = { .in_pem = false };
    const char *end = text + len;
    while (len != 0 && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t line_len = (size_t)((newline != NULL ? newline : end) - text);
        redact_log(&r, LOG_ERROR, component, event, text, line_len);
        text += line_len + 1;
    }
}

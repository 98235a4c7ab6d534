/* Input: text that somebody else wrote. Whatever it is, what the scrubber makes of it can be shown, and a second time changes nothing;
 * line by line it is no worse. */
#include "buf.h"
#include "fuzz.h"
#include "json.h"
#include "redact.h"

#define CUT_MAX 64

/* Valid UTF-8 without control characters but for newline and tab. */
static void check_shown(const struct buf *out)
{
    for (size_t i = 0; i < out->len; i++) {
        unsigned char c = (unsigned char)out->data[i];
        FUZZ_CHECK((c >= ' ' && c != 0x7f) || c == '\n' || c == '\t');
        FUZZ_CHECK(c != 0xc2 || i + 1 == out->len || (unsigned char)out->data[i + 1] >= 0xa0);
    }
    json_t *value = json_stringn(out->data != NULL ? out->data : "", out->len);
    FUZZ_CHECK(value != NULL);
    json_decref(value);
}

/* A mark stands for a character at least. */
static void check_size(const struct buf *out, size_t size)
{
    FUZZ_CHECK(out->len <= size * (sizeof(REDACT_MARK) - 1));
}

static void check_cuts(struct buf *out)
{
    for (size_t max = out->len < CUT_MAX ? out->len : CUT_MAX; max > 0; max--) {
        redact_cut(out, max);
        FUZZ_CHECK(out->len <= max && out->len + 3 >= max);
        check_shown(out);
    }
}

/* `text` is a copy of its own size, so that reading past it shows. */
static struct buf scrubbed(const char *text, size_t size)
{
    struct buf out = BUF_INIT;
    char *copy = malloc(size != 0 ? size : 1);
    FUZZ_CHECK(copy != NULL);
    if (size != 0)
        memcpy(copy, text, size);
    redact_text(&out, copy, size);
    free(copy);
    return out;
}

/* A line that is skipped leaves open what it leaves open when it is shown. */
static void check_lines(const char *at, const char *end)
{
    struct redact shown = { .in_pem = false };
    struct redact skipped = { .in_pem = false };
    const char *line;
    size_t len;
    while (fuzz_line(&at, end, &line, &len)) {
        struct buf out = BUF_INIT;
        bool was_open = shown.in_pem;
        redact_line(&shown, &out, line, len);
        redact_skip(&skipped, line, len);
        FUZZ_CHECK(!was_open || len == 0 ||
                   memcmp(out.data, REDACT_MARK, sizeof(REDACT_MARK) - 1) == 0);
        check_shown(&out);
        check_size(&out, len);
        buf_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct buf once = scrubbed(text, size);
    struct buf twice = scrubbed(once.data, once.len);
    check_shown(&once);
    check_size(&once, size);
    FUZZ_CHECK(twice.len == once.len &&
               (once.len == 0 || memcmp(once.data, twice.data, once.len) == 0));
    check_cuts(&twice);
    check_lines(text, text + size);
    buf_free(&once);
    buf_free(&twice);
    return 0;
}

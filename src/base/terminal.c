/* Text for terminals. */
#include "terminal.h"

#include "utf8.h"

static bool is_obeyed(unsigned c)
{
    if (c < 0x20 || (c >= 0x7f && c < 0xa0))
        return true;
    return c == 0x61c || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

/* The next character, or a byte that begins none and is one by itself: spelled if a terminal would obey it, or cannot show it. */
static size_t put_next(struct buf *out, const char *at, const char *end, bool lines)
{
    unsigned c = (unsigned char)*at;
    size_t size = utf8_read(at, end, &c);
    if (size == 0 || (is_obeyed(c) && !(lines && (c == '\n' || c == '\t'))))
        buf_printf(out, "\\u%04x", c);
    else
        buf_append(out, at, size);
    return size != 0 ? size : 1;
}

void terminal_put(struct buf *out, const char *text, size_t len, bool lines)
{
    const char *end = text + len;
    while (text < end)
        text += put_next(out, text, end, lines);
}

/* Text for terminals. */
#include "terminal.h"

#include <stdbool.h>

/* Reads one character of valid UTF-8 and says how many bytes it has; a byte that begins none is one by itself. */
static size_t read_character(const unsigned char *text, size_t len, unsigned *ret)
{
    size_t size = text[0] < 0xc0 ? 1 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    if (size > len)
        size = 1;
    *ret = size == 1 ? text[0] : text[0] & (0x7fU >> size);
    for (size_t i = 1; i < size; i++)
        *ret = (*ret << 6) | (text[i] & 0x3fU);
    return size;
}

static bool is_obeyed(unsigned c, size_t size)
{
    if (c < 0x20 || c == 0x7f || (size == 1 && c >= 0x80)) /* the last: no UTF-8, perhaps C1 */
        return true;
    return (c >= 0x80 && c < 0xa0) || c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

void terminal_put(struct buf *out, const char *text, size_t len, bool lines)
{
    while (len != 0) {
        unsigned c = 0;
        size_t size = read_character((const unsigned char *)text, len, &c);
        if (is_obeyed(c, size) && !(lines && (c == '\n' || c == '\t')))
            buf_printf(out, "\\u%04x", c);
        else
            buf_append(out, text, size);
        text += size;
        len -= size;
    }
}

/* UTF-8: where characters begin and end. */
#include "utf8.h"

#include <string.h>

/* As the first byte says; 0: it begins none. */
static size_t length_of(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc0)
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
}

static bool continues(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t utf8_read(const char *at, const char *end, unsigned *ret_code)
{
    static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char first = (unsigned char)*at;
    size_t len = length_of(first);
    if (len == 0 || (size_t)(end - at) < len)
        return 0;
    unsigned code = len == 1 ? first : first & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if (!continues(at[i]))
            return 0;
        code = code << 6 | ((unsigned char)at[i] & 0x3fU);
    }
    if (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return 0;
    *ret_code = code;
    return len;
}

bool utf8_valid(const char *text, size_t len)
{
    const char *end = text + len;
    unsigned code = 0;
    size_t size = 0;
    for (; text < end; text += size) {
        size = (unsigned char)*text < 0x80 ? 1 : utf8_read(text, end, &code);
        if (size == 0)
            return false;
    }
    return true;
}

size_t utf8_cut(const char *text, size_t max)
{
    while (max != 0 && continues(text[max]))
        max--;
    return max;
}

void utf8_copy(char *ret, size_t size, const char *text)
{
    size_t len = strlen(text);
    if (len >= size)
        len = utf8_cut(text, size - 1);
    memcpy(ret, text, len);
    ret[len] = '\0';
}

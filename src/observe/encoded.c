/* Text of which parts may be URL-encoded or escaped with backslashes. */
#include "encoded.h"

#include <string.h>

#define H CH_HEX_LOWER
#define L CH_OTHER_LOWER
#define G CH_HEX_UPPER
#define U CH_OTHER_UPPER
#define D CH_DIGIT
#define Q CH_QUOTE
#define S CH_SPACE
#define N CH_LINE_END

const uint16_t char_classes[256] = {
    /* clang-format off */
    0, 0, 0, 0, 0, 0, 0, 0, 0, S, N, N, N, N, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    S, 0, Q, 0, 0, 0, 0, Q, 0, 0, 0, CH_PLUS, 0, CH_DASH, CH_DOT, CH_SLASH,
    D, D, D, D, D, D, D, D, D, D, 0, 0, 0, CH_EQUALS, 0, 0,
    0, G, G, G, G, G, G, U, U, U, U, U, U, U, U, U,
    U, U, U, U, U, U, U, U, U, U, U, 0, 0, 0, 0, CH_UNDERSCORE,
    Q, H, H, H, H, H, H, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, 0, 0, 0, CH_TILDE, 0,
    /* clang-format on */
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The number that `digits` hexadecimal digits make, or -1. */
static int hex_number(const char *at, const char *end, int digits)
{
    int number = 0;
    if (end - at < digits)
        return -1;
    for (int i = 0; i < digits; i++) {
        int value = hex_value(at[i]);
        if (value < 0)
            return -1;
        number = number * 16 + value;
    }
    return number;
}

unsigned char encoded_escape(const char *at, const char *end, size_t *ret_width)
{
    static const char letters[] = "nrtbf\"\\/'";
    static const char meant[] = "\n\r\t\b\f\"\\/'";
    *ret_width = 1;
    if (*at == '%') {
        int number = hex_number(at + 1, end, 2);
        if (number < 0)
            return '%';
        *ret_width = 3;
        return (unsigned char)number;
    }
    if (end - at < 2)
        return '\\';
    if (at[1] == 'u') {
        int number = hex_number(at + 2, end, 4);
        if (number < 0)
            return '\\';
        *ret_width = 6;
        return number < 0x80 ? (unsigned char)number : 0xff;
    }
    const char *letter = memchr(letters, at[1], sizeof(letters) - 1);
    if (letter == NULL)
        return '\\';
    *ret_width = 2;
    return (unsigned char)meant[letter - letters];
}

static const char *word_at(const char *at, const char *end, const char *word, bool any_case)
{
    for (; *word != '\0'; word++) {
        size_t width;
        if (at >= end)
            return NULL;
        unsigned char c = encoded_char(at, end, &width);
        if (any_case && (char_class(c) & CH_UPPER) != 0)
            c |= 0x20;
        if (c != (unsigned char)*word)
            return NULL;
        at += width;
    }
    return at;
}

const char *encoded_word(const char *at, const char *end, const char *word)
{
    return word_at(at, end, word, false);
}

const char *encoded_word_any_case(const char *at, const char *end, const char *word)
{
    return word_at(at, end, word, true);
}

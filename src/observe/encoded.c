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
#define X CH_UNSURE
#define B CH_BRACKET
#define F CH_SIGN

const uint32_t char_classes[256] = {
    /* clang-format off */
    X, X, X, X, X, X, X, X, X, S, N, N | X, N | X, N | X, X, X,
    X, X, X, X, X, X, X, X, X, X, X, X, X, X, X, X,
    S | F, 0, Q, 0, 0, X, 0, Q, B | F, B, 0, CH_PLUS | F, 0, CH_DASH | F, CH_DOT, CH_SLASH,
    D, D, D, D, D, D, D, D, D, D, F, 0, 0, CH_EQUALS | F, F, 0,
    0, G, G, G, G, G, G, U, U, U, U, U, U, U, U, U,
    U, U, U, U, U, U, U, U, U, U, U, F, X, 0, 0, CH_UNDERSCORE,
    Q, H, H, H, H, H, H, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, 0, 0, 0, CH_TILDE, X,
    /* clang-format on */
};

/* The digit `c`, or -1. */
static int hex_value(unsigned char c)
{
    unsigned class = char_class(c);
    if ((class & CH_DIGIT) != 0)
        return c - '0';
    return (class & CH_HEX) != 0 ? (c | 0x20) - 'a' + 10 : -1;
}

/* The number that `digits` hexadecimal digits make, or -1. */
static int hex_number(const char *at, const char *end, int digits)
{
    int number = 0;
    if (end - at < digits)
        return -1;
    for (int i = 0; i < digits; i++) {
        int value = hex_value((unsigned char)at[i]);
        if (value < 0)
            return -1;
        number = number * 16 + value;
    }
    return number;
}

/* What stands behind a backslash for another character, or 0. */
static unsigned char meant_by(char letter)
{
    switch (letter) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case '"':
    case '\\':
    case '/':
    case '\'':
        return (unsigned char)letter;
    default:
        return 0;
    }
}

static unsigned char percent(const char *at, const char *end, size_t *ret_width)
{
    int number = hex_number(at + 1, end, 2);
    if (number < 0)
        return '%';
    *ret_width = 3;
    return (unsigned char)number;
}

static unsigned char backslash(const char *at, const char *end, size_t *ret_width)
{
    if (end - at < 2)
        return '\\';
    if (at[1] == 'u') {
        int number = hex_number(at + 2, end, 4);
        if (number < 0)
            return '\\';
        *ret_width = 6;
        return number < 0x80 ? (unsigned char)number : 0xff;
    }
    unsigned char meant = meant_by(at[1]);
    if (meant == 0)
        return '\\';
    *ret_width = 2;
    return meant;
}

unsigned char encoded_escape(const char *at, const char *end, size_t *ret_width)
{
    *ret_width = 1;
    if (*at == '%')
        return percent(at, end, ret_width);
    return *at == '\\' ? backslash(at, end, ret_width) : '?';
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

const char *encoded_whole_word(const char *at, const char *end, const char *word)
{
    return word_at(at, end, word, false);
}

const char *encoded_whole_word_any_case(const char *at, const char *end, const char *word)
{
    return word_at(at, end, word, true);
}

#define CONTROL_SEQUENCE_MAX 32 /* bytes */

/* Behind an escape character, in a text that may be quoted once or twice, or NULL. */
static const char *over_escape_char(const char *at, const char *end)
{
    size_t width;
    if (at >= end || (char_class((unsigned char)*at) & CH_UNSURE) == 0)
        return NULL;
    if (*at == '\x1b')
        return at + 1;
    unsigned char c = encoded_char(at, end, &width);
    if (c == '\x1b')
        return at + width;
    return c == '\\' ? encoded_word_any_case(at + width, end, "u001b") : NULL;
}

const char *encoded_control_end(const char *at, const char *end)
{
    at = over_escape_char(at, end);
    at = at != NULL ? encoded_word(at, end, "[") : NULL;
    if (at == NULL)
        return NULL;
    size_t width;
    for (int i = 0; i < CONTROL_SEQUENCE_MAX && at < end; i++, at += width) {
        unsigned char c = encoded_char(at, end, &width);
        if ((char_class(c) & CH_LETTER) != 0)
            return at + width;
        if (c < '0' || c > '>') /* no '?': what is shown as one must not make a sequence */
            return NULL;
    }
    return NULL;
}

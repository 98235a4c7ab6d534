/* Numbers that belong to people: of cards, of telephones, of bank accounts. */
#include "secret_number.h"

#include "encoded.h"

#include <stdbool.h>
#include <stddef.h>

#define CARD_DIGITS_MIN 13
#define CARD_DIGITS_MAX 19
#define PHONE_DIGITS_MIN 8
#define PHONE_DIGITS_MAX 15 /* E.164 */
#define IBAN_LEN_MIN 15
#define IBAN_LEN_MAX 34

static unsigned char char_at(const char *at, const char *end, size_t *ret_width)
{
    *ret_width = 0;
    return at < end ? encoded_char(at, end, ret_width) : 0;
}

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

/* Reads exactly `count` digits; NULL when there are fewer. */
static const char *digits(const char *at, const char *end, int count)
{
    for (; count > 0; count--) {
        size_t width;
        if (!is_digit(char_at(at, end, &width)))
            return NULL;
        at += width;
    }
    return at;
}

static const char *one_of(const char *at, const char *end, const char *wanted,
                          unsigned char *ret_char)
{
    size_t width;
    unsigned char c = char_at(at, end, &width);
    for (; width != 0 && *wanted != '\0'; wanted++) {
        if (c == (unsigned char)*wanted) {
            *ret_char = c;
            return at + width;
        }
    }
    return NULL;
}

/* ---- cards ---- */

static bool passes_luhn(const unsigned char *numbers, size_t count)
{
    unsigned sum = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned n = numbers[count - 1 - i];
        if (i % 2 == 1)
            n = n * 2 > 9 ? n * 2 - 9 : n * 2;
        sum += n;
    }
    return sum % 10 == 0;
}

/* In one piece, or in groups of four to six with a blank or a dash between them. The longest beginning that is a number of a
 * card counts: what follows may be its date. */
static const char *card(const char *at, const char *end)
{
    unsigned char numbers[CARD_DIGITS_MAX];
    size_t count = 0;
    size_t group = 0;
    bool grouped = false;
    const char *found = NULL;
    for (;;) {
        size_t width;
        unsigned char c = char_at(at, end, &width);
        if (is_digit(c)) {
            if (count == CARD_DIGITS_MAX)
                return grouped ? found : NULL;
            numbers[count++] = (unsigned char)(c - '0');
            group++;
            at += width;
            continue;
        }
        if (count >= CARD_DIGITS_MIN && (char_class(c) & CH_ALNUM) == 0 &&
            passes_luhn(numbers, count))
            found = at;
        if ((c != ' ' && c != '-') || group < 4 || group > 6)
            return found;
        grouped = true;
        group = 0;
        at += width;
        if (!encoded_is(at, end, CH_DIGIT))
            return found;
    }
}

/* ---- telephones ---- */

/* +49 170 1234567, +1 (555) 123-4567; the longest beginning that can be one. */
static const char *phone_of_the_world(const char *at, const char *end)
{
    const char *found = NULL;
    int count = 0;
    int between = 0;
    size_t width;
    at++; /* the plus, or the first byte of its encoding */
    if (!encoded_is(at, end, CH_DIGIT) || *at == '0')
        return NULL;
    while (count <= PHONE_DIGITS_MAX) {
        unsigned char c = char_at(at, end, &width);
        if (is_digit(c)) {
            count++;
            between = 0;
        } else if (++between > 2 ||
                   (c != ' ' && c != '-' && c != '.' && c != '/' && c != '(' && c != ')')) {
            break;
        }
        at += width;
        if (is_digit(c) && count >= PHONE_DIGITS_MIN && count <= PHONE_DIGITS_MAX &&
            !encoded_is(at, end, CH_ALNUM))
            found = at;
    }
    return found;
}

/* (555) 123-4567 */
static const char *phone_in_brackets(const char *at, const char *end)
{
    unsigned char c;
    size_t width;
    (void)char_at(at, end, &width);
    const char *p = digits(at + width, end, 3);
    p = p != NULL ? one_of(p, end, ")", &c) : NULL;
    const char *blank = p != NULL ? one_of(p, end, " ", &c) : NULL;
    p = blank != NULL ? blank : p;
    p = p != NULL ? digits(p, end, 3) : NULL;
    p = p != NULL ? one_of(p, end, "- .", &c) : NULL;
    p = p != NULL ? digits(p, end, 4) : NULL;
    return p != NULL && !encoded_is(p, end, CH_ALNUM) ? p : NULL;
}

/* 555-123-4567: with blanks, any table of numbers would look like it. */
static const char *phone_in_threes(const char *at, const char *end)
{
    unsigned char first;
    unsigned char second;
    const char *p = digits(at, end, 3);
    p = p != NULL ? one_of(p, end, "-.", &first) : NULL;
    p = p != NULL ? digits(p, end, 3) : NULL;
    p = p != NULL ? one_of(p, end, "-.", &second) : NULL;
    p = p != NULL && first == second ? digits(p, end, 4) : NULL;
    return p != NULL && !encoded_is(p, end, CH_ALNUM | CH_DASH) ? p : NULL;
}

/* 0170 1234567, 030/123456 */
static const char *phone_of_a_country(const char *at, const char *end)
{
    unsigned char separator;
    const char *area = encoded_run(at, end, CH_DIGIT);
    ptrdiff_t area_len = area - at;
    if (area_len < 3 || area_len > 5 || at[0] != '0' || at[1] == '0')
        return NULL;
    const char *p = one_of(area, end, " /-", &separator);
    if (p == NULL)
        return NULL;
    const char *number_end = encoded_run(p, end, CH_DIGIT);
    bool ok = number_end - p >= 6 && number_end - p <= 8;
    return ok && !encoded_is(number_end, end, CH_ALNUM | CH_DOT | CH_DASH) ? number_end : NULL;
}

/* ---- bank accounts ---- */

static unsigned mod_97(unsigned rest, unsigned char c)
{
    return (is_digit(c) ? rest * 10 + (unsigned)(c - '0') : rest * 100 + (unsigned)(c - 'A') + 10) %
           97;
}

/* Two letters, two check digits, up to 30 letters and digits, with or without blanks after each four. */
static const char *iban(const char *at, const char *end)
{
    unsigned char head[4];
    unsigned rest = 0;
    const char *found = NULL;
    for (int len = 0; len < IBAN_LEN_MAX; len++) {
        size_t width;
        unsigned char c = char_at(at, end, &width);
        if (c == ' ' && len >= 4 && len % 4 == 0) {
            at += width;
            c = char_at(at, end, &width);
        }
        bool fits = len < 2 || len > 3 ? (char_class(c) & CH_UPPER) != 0 : false;
        if (!fits && !(len >= 2 && is_digit(c)))
            break;
        if (len < 4)
            head[len] = c;
        else
            rest = mod_97(rest, c);
        at += width;
        if (len + 1 >= IBAN_LEN_MIN && !encoded_is(at, end, CH_ALNUM)) {
            unsigned all = rest;
            for (int i = 0; i < 4; i++)
                all = mod_97(all, head[i]);
            if (all == 1)
                found = at;
        }
    }
    return found;
}

const char *secret_number(const char *at, const char *end, unsigned char previous)
{
    size_t width;
    unsigned char c = encoded_char(at, end, &width);
    if (c == '+')
        return phone_of_the_world(at + width - 1, end);
    if (c == '(')
        return phone_in_brackets(at, end);
    if ((char_class(c) & CH_UPPER) != 0)
        return iban(at, end);
    if (!is_digit(c) || previous == '.' || previous == '-')
        return NULL;
    const char *found = c >= '2' && c <= '6' ? card(at, end) : NULL;
    if (found == NULL && c >= '2')
        found = phone_in_threes(at, end);
    if (found == NULL && c == '0' && width == 1)
        found = phone_of_a_country(at, end);
    return found;
}

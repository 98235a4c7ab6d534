/* Numbers that belong to people: of cards, of telephones, of bank accounts. */
#include "secret_number.h"

#include "encoded.h"
#include "redact.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CARD_DIGITS_MIN 13
#define CARD_DIGITS_MAX 19
#define PHONE_DIGITS_MIN 8
#define PHONE_DIGITS_MAX 15 /* E.164 */
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

/* None of the set comes, nor a mark, which may stand for what begins with one. */
static bool ends_number(const char *at, const char *end, unsigned set)
{
    return !encoded_is(at, end, set) && encoded_word(at, end, REDACT_MARK) == NULL;
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
    return p != NULL && ends_number(p, end, CH_ALNUM | CH_DASH) ? p : NULL;
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
    return ok && ends_number(number_end, end, CH_ALNUM | CH_DOT | CH_DASH) ? number_end : NULL;
}

/* ---- bank accounts ---- */

/* Characters of the IBANs of each country; 0: it has none. */
#define OF(a, b, len) [((a) - 'A') * 26 + (b) - 'A'] = (len)
static const unsigned char iban_lens[26 * 26] = {
    OF('A', 'D', 24), OF('A', 'E', 23), OF('A', 'L', 28), OF('A', 'O', 25), OF('A', 'T', 20),
    OF('A', 'Z', 28), OF('B', 'A', 20), OF('B', 'E', 16), OF('B', 'F', 28), OF('B', 'G', 22),
    OF('B', 'H', 22), OF('B', 'I', 27), OF('B', 'J', 28), OF('B', 'R', 29), OF('B', 'Y', 28),
    OF('C', 'F', 27), OF('C', 'G', 27), OF('C', 'H', 21), OF('C', 'I', 28), OF('C', 'M', 27),
    OF('C', 'R', 22), OF('C', 'V', 25), OF('C', 'Y', 28), OF('C', 'Z', 24), OF('D', 'E', 22),
    OF('D', 'J', 27), OF('D', 'K', 18), OF('D', 'O', 28), OF('D', 'Z', 26), OF('E', 'E', 20),
    OF('E', 'G', 29), OF('E', 'S', 24), OF('F', 'I', 18), OF('F', 'K', 18), OF('F', 'O', 18),
    OF('F', 'R', 27), OF('G', 'A', 27), OF('G', 'B', 22), OF('G', 'E', 22), OF('G', 'I', 23),
    OF('G', 'L', 18), OF('G', 'Q', 27), OF('G', 'R', 27), OF('G', 'T', 28), OF('G', 'W', 25),
    OF('H', 'N', 28), OF('H', 'R', 21), OF('H', 'U', 28), OF('I', 'E', 22), OF('I', 'L', 23),
    OF('I', 'Q', 23), OF('I', 'R', 26), OF('I', 'S', 26), OF('I', 'T', 27), OF('J', 'O', 30),
    OF('K', 'M', 27), OF('K', 'W', 30), OF('K', 'Z', 20), OF('L', 'B', 28), OF('L', 'C', 32),
    OF('L', 'I', 21), OF('L', 'T', 20), OF('L', 'U', 20), OF('L', 'V', 21), OF('L', 'Y', 25),
    OF('M', 'A', 28), OF('M', 'C', 27), OF('M', 'D', 24), OF('M', 'E', 22), OF('M', 'G', 27),
    OF('M', 'K', 19), OF('M', 'L', 28), OF('M', 'N', 20), OF('M', 'R', 27), OF('M', 'T', 31),
    OF('M', 'U', 30), OF('M', 'Z', 25), OF('N', 'E', 28), OF('N', 'I', 28), OF('N', 'L', 18),
    OF('N', 'O', 15), OF('O', 'M', 23), OF('P', 'K', 24), OF('P', 'L', 28), OF('P', 'S', 29),
    OF('P', 'T', 25), OF('Q', 'A', 29), OF('R', 'O', 24), OF('R', 'S', 22), OF('R', 'U', 33),
    OF('S', 'A', 24), OF('S', 'C', 31), OF('S', 'D', 18), OF('S', 'E', 24), OF('S', 'I', 19),
    OF('S', 'K', 24), OF('S', 'M', 27), OF('S', 'N', 28), OF('S', 'O', 23), OF('S', 'T', 25),
    OF('S', 'V', 28), OF('T', 'D', 27), OF('T', 'G', 28), OF('T', 'L', 23), OF('T', 'N', 24),
    OF('T', 'R', 26), OF('U', 'A', 29), OF('V', 'A', 22), OF('V', 'G', 24), OF('X', 'K', 20),
    OF('Y', 'E', 30),
};

static size_t iban_len(unsigned char a, unsigned char b)
{
    bool letters = a >= 'A' && a <= 'Z' && b >= 'A' && b <= 'Z';
    return letters ? iban_lens[(a - 'A') * 26 + b - 'A'] : 0;
}

static bool passes_mod_97(const unsigned char *letters, size_t len)
{
    uint64_t rest = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = letters[i + 4 < len ? i + 4 : i + 4 - len];
        rest = is_digit(c) ? rest * 10 + c - '0' : rest * 100 + c - 'A' + 10;
        if (rest > UINT64_MAX / 1000)
            rest %= 97;
    }
    return rest % 97 == 1;
}

/* Behind the next character, a capital letter or a digit, or NULL. */
static const char *next_of_iban(const char *at, const char *end, unsigned set, unsigned char *ret_c)
{
    size_t width;
    *ret_c = char_at(at, end, &width);
    return (char_class(*ret_c) & set) != 0 ? at + width : NULL;
}

static const char *over_blank(const char *at, const char *end)
{
    size_t width;
    return char_at(at, end, &width) == ' ' ? at + width : at;
}

/* Two letters, two check digits, and what is left of the length that the country has; with or without a blank after each four. */
static const char *iban(const char *at, const char *end)
{
    unsigned char letters[IBAN_LEN_MAX] = { 0 };
    size_t len = IBAN_LEN_MAX;
    for (size_t i = 0; i < len; i++) {
        unsigned set = i < 2 ? CH_UPPER : i < 4 ? CH_DIGIT : CH_UPPER | CH_DIGIT;
        if (i >= 4 && i % 4 == 0)
            at = over_blank(at, end);
        at = next_of_iban(at, end, set, &letters[i]);
        if (at == NULL)
            return NULL;
        if (i == 1)
            len = iban_len(letters[0], letters[1]);
    }
    return len != 0 && !encoded_is(at, end, CH_ALNUM) && passes_mod_97(letters, len) ? at : NULL;
}

/* Most words and numbers stand alone, and are too short. */
static bool is_long_enough(const char *at, const char *end, struct number_memo *memo)
{
    const unsigned set =
        CH_UPPER | CH_DIGIT | CH_SPACE | CH_DASH | CH_DOT | CH_SLASH | CH_PLUS | CH_BRACKET;
    if (at >= memo->run_end)
        memo->run_end = encoded_run(at, end, set);
    return memo->run_end - at >= PHONE_DIGITS_MIN;
}

const char *secret_number(const char *at, const char *end, unsigned char previous,
                          struct number_memo *memo)
{
    size_t width;
    unsigned char c = encoded_char(at, end, &width);
    if (!is_long_enough(at, end, memo))
        return NULL;
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

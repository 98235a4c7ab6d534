/* Text of which parts may be URL-encoded or escaped with backslashes, read character by character without decoding it first. */
#ifndef ENCODED_H
#define ENCODED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What characters are, as flags: a set of characters is some of them. */
enum char_class {
    CH_HEX_LOWER = 1 << 0,   /* a to f */
    CH_OTHER_LOWER = 1 << 1, /* g to z */
    CH_HEX_UPPER = 1 << 2,
    CH_OTHER_UPPER = 1 << 3,
    CH_DIGIT = 1 << 4,
    CH_DASH = 1 << 5,
    CH_UNDERSCORE = 1 << 6,
    CH_DOT = 1 << 7,
    CH_PLUS = 1 << 8,
    CH_SLASH = 1 << 9,
    CH_EQUALS = 1 << 10,
    CH_TILDE = 1 << 11,
    CH_SPACE = 1 << 12, /* and tab */
    CH_LINE_END = 1 << 13,
    CH_QUOTE = 1 << 14,   /* ", ' and ` */
    CH_BRACKET = 1 << 15, /* ( and ) */
    CH_SIGN = 1 << 16,    /* : = > [ ( + - and the blank: before or at these something may begin */
    CH_UNSURE = 1 << 17,  /* bytes that may mean another character: % and \\, control characters */

    CH_LOWER = CH_HEX_LOWER | CH_OTHER_LOWER,
    CH_UPPER = CH_HEX_UPPER | CH_OTHER_UPPER,
    CH_LETTER = CH_LOWER | CH_UPPER,
    CH_ALNUM = CH_LETTER | CH_DIGIT,
    CH_HEX = CH_HEX_LOWER | CH_HEX_UPPER | CH_DIGIT,
};

extern const uint32_t char_classes[256];

/* Of characters beyond ASCII: 0. */
static inline unsigned char_class(unsigned char c)
{
    return char_classes[c];
}

/* For the slow cases of encoded_char. */
unsigned char encoded_escape(const char *at, const char *end, size_t *ret_width);

/* The character that begins at `at`, which is before `end`, and how many bytes stand for it: 3 for %2F, 2 for \", 6 for
 * \u002f, else 1. All beyond ASCII is one of 0x80 to 0xff. A control character that stands there as it is counts as the question mark
 * that is shown for it. */
static inline unsigned char encoded_char(const char *at, const char *end, size_t *ret_width)
{
    unsigned char c = (unsigned char)*at;
    *ret_width = 1;
    return (char_class(c) & CH_UNSURE) == 0 ? c : encoded_escape(at, end, ret_width);
}

/* What the character that begins at `at`, before `end`, is. */
static inline unsigned encoded_class(const char *at, const char *end, size_t *ret_width)
{
    unsigned class = char_class((unsigned char)*at);
    *ret_width = 1;
    return (class & CH_UNSURE) == 0 ? class : char_class(encoded_escape(at, end, ret_width));
}

/* Whether the next character is one of the set; false at the end. */
static inline bool encoded_is(const char *at, const char *end, unsigned set)
{
    size_t width;
    return at < end && (encoded_class(at, end, &width) & set) != 0;
}

/* Where the run of characters of the set ends that begins at `at`. */
static inline const char *encoded_run(const char *at, const char *end, unsigned set)
{
    while (at < end) {
        unsigned class = char_class((unsigned char)*at);
        size_t width = 1;
        if ((class & CH_UNSURE) != 0) {
            size_t escape_width;
            class = char_class(encoded_escape(at, end, &escape_width));
            width = escape_width; /* not of the loop: it stays in a register */
        }
        if ((class & set) == 0)
            break;
        at += width;
    }
    return at;
}

/* Whether a text of these letters may begin here: most do not, and are not looked at any further. */
static inline bool encoded_may_begin(const char *at, const char *end, char lower, char upper)
{
    return at < end &&
           (*at == lower || *at == upper || (char_class((unsigned char)*at) & CH_UNSURE) != 0);
}

/* For the words that may stand there. */
const char *encoded_whole_word(const char *at, const char *end, const char *word);
const char *encoded_whole_word_any_case(const char *at, const char *end, const char *word);

/* The end of `word`, if the text begins with it, or NULL. */
static inline const char *encoded_word(const char *at, const char *end, const char *word)
{
    return encoded_may_begin(at, end, word[0], word[0]) ? encoded_whole_word(at, end, word) : NULL;
}

/* The same, whatever the case of its letters; `word` is in lower case and begins with a letter. */
static inline const char *encoded_word_any_case(const char *at, const char *end, const char *word)
{
    return encoded_may_begin(at, end, word[0], (char)(word[0] ^ 0x20))
               ? encoded_whole_word_any_case(at, end, word)
               : NULL;
}

/* Behind a sequence that sets the colour of a terminal and the like: it may stand between a name and its value, or right before
 * a secret. NULL when `at` begins none. */
const char *encoded_control_end(const char *at, const char *end);

#endif

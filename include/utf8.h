/* UTF-8: where characters begin and end. Pure. */
#ifndef UTF8_H
#define UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character at `at`, and its code in `ret_code`. 0 when none is there: a byte that begins none, or one that is cut off
 * at `end`, longer than it need be, a surrogate, or beyond the last code. `at` is before `end`. */
size_t utf8_read(const char *at, const char *end, unsigned *ret_code);

/* Whether the text consists of characters. */
bool utf8_valid(const char *text, size_t len);

/* Length of the longest start of a valid text of more than `max` bytes that has at most so many and cuts no character. */
size_t utf8_cut(const char *text, size_t max);

/* Copies a valid text and its NUL; what has no room is cut off between two characters. `size` is at least 1. */
void utf8_copy(char *ret, size_t size, const char *text);

#endif

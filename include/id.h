/* Random ids for requests, completions and keys. */
#ifndef ID_H
#define ID_H

#include <stdbool.h>
#include <stddef.h>

#define ID_SIZE 48 /* room for a prefix of up to 20 bytes, the random part and a NUL */

/* Writes prefix + 24 random letters and digits (142 bits, libsodium). sodium_init() must have run. */
void id_make(char ret_id[ID_SIZE], const char *prefix);

/* Whether the text is what id_make makes with that prefix, to the letter. */
bool id_ok(const char *text, size_t len, const char *prefix);

/* Writes `len` random letters and digits and a NUL. */
void id_random_text(char *ret_text, size_t len);

#endif

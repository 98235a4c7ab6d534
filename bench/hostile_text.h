/* Texts that are made to be slow to scrub: what half begins a secret, again and again. */
#ifndef HOSTILE_TEXT_H
#define HOSTILE_TEXT_H

#include "buf.h"

#include <stddef.h>

size_t hostile_text_count(void);

/* What the text is made of; static. */
const char *hostile_text_name(size_t i);

/* Appends `len` bytes of the text: the same in every run, and a shorter one is the beginning of a longer one. */
void hostile_text_write(struct buf *out, size_t i, size_t len);

#endif

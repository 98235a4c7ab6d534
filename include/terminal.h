/* Text for terminals: what a terminal would obey is shown instead. */
#ifndef TERMINAL_H
#define TERMINAL_H

#include "buf.h"

#include <stdbool.h>

/* Appends the text as UTF-8. Control characters (C0, DEL, C1) and those that turn the direction of writing become \uXXXX, as in JSON;
 * so JSON stays the same JSON. Line feeds and tabs too, unless `lines`. So do bytes that are no UTF-8, as \u00XX. */
void terminal_put(struct buf *out, const char *text, size_t len, bool lines);

#endif

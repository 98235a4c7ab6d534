/* Text for terminals: what a terminal would obey is shown instead. */
#ifndef TERMINAL_H
#define TERMINAL_H

#include "buf.h"

#include <stdbool.h>

/* Appends UTF-8 text. Control characters (C0, DEL, C1) and those that turn the direction of writing become \u00XX, as in JSON; so
 * JSON stays the same JSON. Line feeds and tabs too, unless `lines`. */
void terminal_put(struct buf *out, const char *text, size_t len, bool lines);

#endif

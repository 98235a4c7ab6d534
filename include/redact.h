/* Takes what may be a secret out of text that somebody else wrote, before it is shown. */
#ifndef REDACT_H
#define REDACT_H

#include "buf.h"

#include <stddef.h>

/* Appends `text` to `out` with "[redacted]" for every word that may be a key: of eight characters and more with letters and
 * digits, beginning with "sk-", or standing behind a name such as token, key, secret, password or bearer. Words of paths
 * and versions may fall to it too. Bytes that are not printable ASCII become '?'. Linear. */
void redact_text(struct buf *out, const char *text, size_t len);

/* Logs each line of `text` as an error of the component, redacted. */
void redact_log_lines(const char *component, const char *event, const char *text, size_t len);

#endif

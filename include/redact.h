/* Takes secrets out of text that somebody else wrote and that must be shown: what a worker says on stderr, messages of the
 * upstream. Everything else never reaches a log at all (log.h).
 *
 * Taken out are keys and tokens with well-known beginnings, JWTs, what follows Bearer and Basic, values whose name says password, key,
 * token, cookie and the like (in assignments, options, URLs, JSON, headers, XML), users and passwords in URLs, PEM blocks,
 * tokens of 32 characters and more that look random, e-mail addresses, telephone, card and account numbers; also where the text is
 * URL-encoded or quoted. Left are UUIDs, ids of ours, and hashes that are part of a path or named as such.
 *
 * One pass, in linear time whatever the text is. A text that was scrubbed is not changed by a second time. */
#ifndef REDACT_H
#define REDACT_H

#include "buf.h"
#include "log.h"

#include <stdbool.h>
#include <stddef.h>

#define REDACT_MARK "[redacted]" /* stands for what was taken out */
#define REDACT_LINE_MAX 1024     /* bytes of a line that are logged */
#define REDACT_PEM_MAX 65536     /* bytes; a block that is longer has no end and was none */

/* For text that comes line by line: what a line leaves open. Begins as zeroes. */
struct redact {
    bool in_pem;
    size_t pem_bytes;
};

/* Appends `text` without its secrets to `out`. The result is valid UTF-8 without control characters but for newline and tab; what is
 * neither becomes '?'. */
void redact_text(struct buf *out, const char *text, size_t len);

/* The same for the next line, without its newline, of a text. */
void redact_line(struct redact *r, struct buf *out, const char *line, size_t len);

/* A line that is not shown: only what it leaves open is of interest. */
void redact_skip(struct redact *r, const char *line, size_t len);

/* Cuts what was scrubbed to `max` bytes, between two characters. The other way round, half a secret would not be known as one. */
void redact_cut(struct buf *text, size_t max);

/* The same by characters. */
void redact_cut_chars(struct buf *text, size_t max);

/* Logs the next line of a text: scrubbed, then cut. */
void redact_log(struct redact *r, enum log_level level, const char *component, const char *event,
                const char *line, size_t len);

/* Logs each line of `text` as an error of the component. */
void redact_log_lines(const char *component, const char *event, const char *text, size_t len);

#endif

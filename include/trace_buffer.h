/* The traces of requests, as files in CODEX_HOME/trace-buffer: how many there are and how old they become has a limit, enforced at
 * the start, at each write and by the clock. All work on files is done by the disk's thread; whatever goes wrong there costs
 * traces, never a request. */
#ifndef TRACE_BUFFER_H
#define TRACE_BUFFER_H

#include "buf.h"
#include "mem.h"
#include "trace.h"
#include "trace_file.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRACE_FOLDER "trace-buffer" /* in CODEX_HOME */
#define TRACE_SAMPLE_MAX 1000000
#define TRACE_SWEEP_SLACK_MS 200 /* traces that expire so closely are removed together */
#define TRACE_LOOK_MS 60000      /* what others put into the folder is noticed by then */
#define TRACE_LOG_EVERY_MS 60000 /* a line for each reason, at the most */

struct deadlines;
struct disk;
struct trace_buffer;
struct trace_record;
struct trace_seal_key;

enum trace_keep { TRACE_OFF, TRACE_ERRORS, TRACE_ALL, TRACE_SAMPLE };

struct trace_mode {
    enum trace_keep keep;
    uint32_t one_of; /* TRACE_SAMPLE: errors, and one of so many others */
};

/* "off", "errors", "all" or "sample:N", 1 <= N <= TRACE_SAMPLE_MAX. */
CHECK_RESULT bool trace_mode_parse(const char *text, struct trace_mode *ret);

/* Takes the key, which may be NULL: traces are not encrypted. The caller owns the result; until it is configured, it does nothing.
 * `folder` is made when the first trace is written. */
struct trace_buffer *trace_buffer_new(struct disk *disk, struct deadlines *deadlines,
                                      const char *folder, struct trace_seal_key *key);

/* When the disk is idle. Safe on NULL. */
void trace_buffer_free(struct trace_buffer *tb);

/* At the start and whenever settings change. Files beyond the limits go soon, also when the mode is off. */
void trace_buffer_configure(struct trace_buffer *tb, const struct trace_mode *mode, uint64_t ttl_ms,
                            size_t files_max);

/* Whether events of requests are to be gathered at all. */
bool trace_buffer_records(const struct trace_buffer *tb);

/* Whether the request that ends now is to leave a trace; to be asked once for each. */
bool trace_buffer_wants(struct trace_buffer *tb, enum trace_worth worth);

/* Writes the trace of a request, soon; owns the record from now on. */
void trace_buffer_put(struct trace_buffer *tb, const char *req_id, struct trace_record *record);

/* Whether traces can be written, as far as the last one tells; if not, the errno in `ret_error`, which may be NULL. */
bool trace_buffer_healthy(const struct trace_buffer *tb, int *ret_error);

/* ---- in a job of the disk (disk.h) alone ---- */

/* Appends {"traces":[...],"total":N}, the newest first, at most `limit`. False with errno when the folder cannot be read. */
CHECK_RESULT bool trace_buffer_list(struct trace_buffer *tb, size_t limit, struct buf *ret);

/* Appends the JSON of the trace of that request, as trace_file_read does. */
CHECK_RESULT enum trace_read trace_buffer_read(struct trace_buffer *tb, const char *req_id,
                                               struct buf *ret);

/* ---- at the start ---- */

/* The key of the file, which is made if it is missing; the caller owns it. NULL with a message for people in `ret_why` (owned by
 * the caller) when it holds none, may be read by others, or does not open what is in `folder` already. */
CHECK_RESULT struct trace_seal_key *trace_buffer_key(const char *key_file, const char *folder,
                                                     char **ret_why);

/* Whether trace_buffer_key would have one; makes nothing. False with a message, as there. */
CHECK_RESULT bool trace_buffer_check_key(const char *key_file, const char *folder, char **ret_why);

#endif

/* Where log lines go: a bounded ring and a thread that writes it out, so that whoever logs never waits for a reader.
 *
 * stdout may be a pipe that nobody reads, a full disk or a slow terminal. It is not made non-blocking for that: the flag belongs to the
 * open file, which the shell and other programs share. So the writes block, in a thread of their own, and what the ring has no
 * room for is dropped and counted. Once the ring is half empty again, one line says how many were lost. */
#ifndef LOG_SINK_H
#define LOG_SINK_H

#include "mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct log_sink;

/* Writes the line that tells of `count` lines dropped since the last such line, and of `total` in all, into `ret`;
 * returns its length. It is called by either thread and must not log. */
typedef size_t (*log_sink_report_fn)(char *ret, size_t size, uint64_t count, uint64_t total);

/* Starts the thread. `fd` is borrowed until log_sink_close has returned true. NULL when there can be no thread. */
CHECK_RESULT struct log_sink *log_sink_new(int fd, size_t ring_bytes, log_sink_report_fn report);

/* Takes one line, with its newline, or drops and counts it. Never waits for the descriptor. */
void log_sink_put(struct log_sink *s, const char *line, size_t len);

/* Lines that were dropped so far: no room, or an error of the descriptor. */
uint64_t log_sink_dropped(struct log_sink *s);

/* Writes out what is there, for at most `flush_ms`, and ends the sink. False when that was not enough: the thread still hangs in a
 * write; it takes the sink with it when it ever comes back. `ret_dropped` gets the last count, with what was left in the ring. */
bool log_sink_close(struct log_sink *s, unsigned flush_ms, uint64_t *ret_dropped);

#endif

/* All that watches and has a state of its own, put together for the rest of the program: made at the start, told of new settings,
 * closed at the end. The log (log.h) and the metrics (metrics.h) have none: they are there from the first line on. */
#ifndef OBSERVATORY_H
#define OBSERVATORY_H

#include "mem.h"
#include "reload.h"
#include "trace.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct config;
struct deadlines;
struct disk;
struct health;
struct interactions;
struct loop_lag;
struct maintenance;
struct prices;
struct trace_buffer;
struct uv_loop_s;
struct worker;

#define OBSERVATORY_FLUSH_MS 2000 /* for files that are being written at the end */

/* Everything is owned. */
struct observatory {
    struct deadlines *deadlines; /* borrowed */
    struct disk *disk;
    struct health *health;
    struct worker *worker; /* borrowed: that is watched; NULL: none */
    struct maintenance *maintenance;
    struct loop_lag *lag;
    struct trace_buffer *trace_buffer;
    struct trace_sink trace_sink;      /* what requests record goes through it */
    uint64_t started_ms;               /* monotonic */
    unsigned closing;                  /* parts that are not closed yet */
    void (*on_closed)(void *ctx);      /* of observatory_close */
    void *on_closed_ctx;               /* borrowed */
    char *home;                        /* CODEX_HOME */
    struct prices *prices;             /* NULL: no file of prices */
    struct interactions *interactions; /* NULL: no request log */
    struct reload reload;              /* the last one */
};

/* `home` is CODEX_HOME as an absolute path; observatory_check_start has passed the settings. False with a message for people in
 * `ret_why` (owned by the caller) when something is wrong all the same; observatory_free in any case. */
CHECK_RESULT bool observatory_open(struct observatory *o, struct uv_loop_s *loop,
                                   struct deadlines *deadlines, const struct config *config,
                                   const char *home, char **ret_why);

/* How many settings of all that watches are wrong, beyond what config.h can tell: forms of texts, files that are named. Each has a line
 * on `complaints`, which begins with its name. Also for settings of which config_load has refused some, so that all are named at once. */
CHECK_RESULT int observatory_check(const struct config *config, FILE *complaints);

/* The same, and what else would end a start: a key of traces that is lost. Makes nothing. */
CHECK_RESULT int observatory_check_start(const struct config *config, FILE *complaints);

/* Other settings, from now on; observatory_check has passed them. */
void observatory_configure(struct observatory *o, const struct config *config);

/* Begins to watch the health of all; of this worker, too, which must outlive that. NULL: no worker's any more. */
void observatory_watch_worker(struct observatory *o, struct worker *worker);

/* Takes nothing more to be written, and calls `on_closed` once when all of it is; also from within. */
void observatory_close(struct observatory *o, void (*on_closed)(void *ctx), void *ctx);

/* Since observatory_open. */
uint64_t observatory_uptime_ms(const struct observatory *o);

/* Whether all that was to be written is: then observatory_close waits for questions alone, whose answers nobody needs. */
bool observatory_written(const struct observatory *o);

/* After on_closed, or when nothing was written yet. Safe to repeat. */
void observatory_free(struct observatory *o);

#endif

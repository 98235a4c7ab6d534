/* The request log: one line of JSON for each request of the API that ended, in files by day (interaction_files.h).
 *
 * Lines are gathered in memory and appended by jobs of disk.h, a batch at a time: after INTERACTIONS_BATCH_MS at the latest, or when
 * there are INTERACTIONS_BATCH_BYTES of them. A disk that is slow, full or gone costs lines, which are counted and said in the log, at
 * most once a minute; never a request. */
#ifndef INTERACTIONS_H
#define INTERACTIONS_H

#include "interaction_files.h"
#include "token_counts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INTERACTIONS_BATCH_MS 250
#define INTERACTIONS_BATCH_BYTES (256 * 1024)
#define INTERACTIONS_WAITING_MAX (4 * 1024 * 1024) /* bytes: gathered, and on the way to the disk */
#define INTERACTIONS_TELL_MS 60000                 /* between two log lines about lost ones */

struct deadlines;
struct disk;
struct interactions;

struct interactions_options {
    struct disk *disk;           /* borrowed */
    struct deadlines *deadlines; /* borrowed */
    const char *home;            /* CODEX_HOME; copied */
    int64_t (*wall_ms)(void);    /* clock_wall_ms, or a test's */
    uint64_t (*mono_ms)(
        void); /* clock_mono_ms, or a test's: what is too old is told by both, see calendar.h */
    struct interaction_limits limits;
};

/* One request; all borrowed. A text that is NULL or empty is written as null. */
struct interaction {
    const char *route;
    const char *request_id;
    const char *key;   /* its name */
    const char *model; /* that served */
    bool stream;
    int status;
    const char *outcome;
    const char *error_code;
    unsigned tools_used; /* function calls in the answer */
    struct token_counts tokens;
    double cost_usd; /* NaN: not known */
    int64_t duration_ms;
    int64_t queue_ms;
    int64_t ttfb_ms;    /* negative: nothing was answered */
    const char *prompt; /* scrubbed, valid UTF-8; NULL: the line has no such member */
};

/* Looks through the files as soon as the loop runs, off it. The caller owns the result. */
struct interactions *interactions_new(const struct interactions_options *options);

/* From now on; files that are too many by them are removed. */
void interactions_configure(struct interactions *all, const struct interaction_limits *limits);

/* Takes a request that ends now. */
void interactions_add(struct interactions *all, const struct interaction *i);

/* Lines that were lost since the start. */
uint64_t interactions_lost(const struct interactions *all);

/* Whether lines can be written, as far as the last write tells; one that failed is forgotten after DISK_FAILURE_MS (disk.h). */
bool interactions_healthy(const struct interactions *all);

/* What was gathered goes to the disk now: before the files are read, and at the end. Safe on NULL. */
void interactions_flush(struct interactions *all);

/* The end: flushes, and sets no deadline any more. Before disk_stop. Safe on NULL. */
void interactions_close(struct interactions *all);

/* After interactions_close, when the disk is idle. Safe on NULL. */
void interactions_free(struct interactions *all);

#endif

/* What a run is asked to do: the command line, read by one table that also prints --help. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "answer.h"

#include <stdio.h>

#define OPTIONS_NEVER UINT64_MAX /* a limit that is not set */

/* Who asks. */
struct bench_key {
    char *name;      /* owned */
    char *key;       /* owned; a secret: never printed */
    uint64_t weight; /* share of the clients or of the arrivals */
};

struct options {
    char *url;              /* owned */
    char *host;             /* owned; of the url, without brackets */
    char *host_header;      /* owned; host:port as the url has it */
    char *path;             /* owned; of the url, without a slash at its end */
    char *port;             /* owned */
    struct bench_key *keys; /* owned */
    size_t key_count;
    char *model;              /* owned */
    struct buf prompt;        /* owned */
    struct buf body;          /* owned: instead of one made of model and prompt; empty: none */
    struct buf headers;       /* owned: further header lines, each with CRLF */
    struct buf expected_text; /* owned */
    struct expected expected; /* its text is borrowed from expected_text */
    bool is_unary;
    bool keep_alive;
    bool fixed_arrivals;
    bool json;
    uint64_t requests;    /* OPTIONS_NEVER: no limit */
    uint64_t duration_ms; /* 0: no limit */
    uint64_t concurrency;
    double rate_per_s; /* 0: closed loop */
    uint64_t max_in_flight;
    uint64_t seed;
    uint64_t warmup;
    uint64_t timeout_ms;
    uint64_t stall_ms;                 /* 0: not counted */
    uint64_t abort_after_frames;       /* 0: not */
    uint64_t abort_after_ms;           /* 0: not */
    uint64_t slow_read_bytes_per_s;    /* 0: as fast as it comes */
    uint64_t stop_reading_after_bytes; /* OPTIONS_NEVER: not */
    uint64_t affected;                 /* clients that do so: the first ones */
    uint64_t slow_heads;
    uint64_t slow_head_interval_ms;
    int *pids; /* owned */
    size_t pid_count;
    char *probe_path; /* owned; NULL: no probe */
    uint64_t probe_interval_ms;
    char *fail_on; /* owned; NULL: nothing */
    char **values; /* owned: paths of the report to print instead of it */
    size_t value_count;
};

enum options_result { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_WRONG };

/* Reads the command line and the files that it names. OPTIONS_WRONG: the reason was written to `errors`.
 * `options` must be options_free'd in any case. */
CHECK_RESULT enum options_result options_read(struct options *o, int argc, char **argv,
                                              FILE *errors);
void options_free(struct options *o);
void options_help(FILE *out);

/* Whether some of the clients do not behave. */
bool options_misbehave(const struct options *o);

#endif

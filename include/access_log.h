/* The end of each request, noted once: a log line, and what the metrics make of it. */
#ifndef ACCESS_LOG_H
#define ACCESS_LOG_H

#include <stdint.h>

struct reqctx;
struct routes;
struct st_h2o_pathconf_t;

#define ACCESS_REJECTED "rejected" /* route of what was no HTTP that is served */

/* A request that has ended; all is borrowed, and texts are words of our own. */
struct access {
    const struct reqctx *rc; /* NULL: it was refused before it had one */
    const char *request_id;  /* NULL: unknown */
    const char *route;
    const char *method; /* NULL: unknown */
    int status;         /* as it was sent */
    int64_t bytes_sent;
    const char *error_code; /* NULL: none */
    int retryable;          /* of its error: 1 yes, -1 no; 0: there is none */
    const char *reason;     /* what is wrong with the head of a rejected one, or NULL */
};

/* `routes` says what it ended in. */
void access_note(const struct routes *routes, const struct access *access);

/* Notes what ends on that path; requests of the API are also recorded (request_record.h). `routes` is borrowed. */
void access_log_register(struct st_h2o_pathconf_t *path, const struct routes *routes);

#endif

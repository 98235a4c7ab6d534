/* One GET over HTTP, blocking, for the command line: small, without TLS, with a deadline and a cap. */
#ifndef HTTP_GET_H
#define HTTP_GET_H

#include "buf.h"
#include "mem.h"

#include <stdbool.h>

#define HTTP_GET_TIMEOUT_MS 5000 /* for all of it, but the lookup of a name */
#define HTTP_GET_BYTES_MAX (4 * 1024 * 1024)

struct http_url {
    char *host; /* owned, without brackets */
    char *port; /* owned */
};

/* Takes "http://host[:port]" apart; what follows a slash is not looked at. False when it is none. */
CHECK_RESULT bool http_url_parse(const char *url, struct http_url *ret);

/* Safe to repeat. */
void http_url_free(struct http_url *url);

/* Appends the body of the answer to GET `path`. Returns its status, or -1 with the reason in `ret_why` (static). */
CHECK_RESULT int http_get(const struct http_url *url, const char *path, struct buf *ret_body,
                          const char **ret_why);

#endif

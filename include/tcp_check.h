/* Whether a TCP port takes connections: looks the name up, tries its addresses one after another, and closes at once what it
 * got. It has no deadline of its own. */
#ifndef TCP_CHECK_H
#define TCP_CHECK_H

#include <stdint.h>

struct tcp_check;
struct uv_loop_s;

/* The end of it, when nothing of it is left: `why` is static, NULL when there was a connection. */
typedef void (*tcp_check_fn)(void *ctx, const char *why);

/* `host` is a name or an IPv4 or IPv6 literal, borrowed for the call. `ended` is called once, never from within. */
struct tcp_check *tcp_check_start(struct uv_loop_s *loop, const char *host, int port,
                                  tcp_check_fn ended, void *ctx);

/* Hurries: `ended` is called as soon as may be, which is late while a name is being looked up. Safe to repeat until then. */
void tcp_check_stop(struct tcp_check *check);

#endif

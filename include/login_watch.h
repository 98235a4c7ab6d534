/* Tells when the worker's login (auth.json) has changed: somebody has logged in, out, or put another account there. */
#ifndef LOGIN_WATCH_H
#define LOGIN_WATCH_H

#include <stdint.h>

struct login_watch;
struct uv_loop_s;

/* Looks at the file every `interval_ms` off the loop, and calls `fn` when its content is another one. `path` is copied. The
 * caller owns the result. */
struct login_watch *login_watch_new(struct uv_loop_s *loop, const char *path, uint64_t interval_ms,
                                    void (*fn)(void *ctx), void *ctx);

/* Memory goes with the handle. Safe on NULL. */
void login_watch_free(struct login_watch *w);

#endif

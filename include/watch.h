/* Notices that a client has left. While a handler works, h2o does not read the connection, so nothing else would tell. */
#ifndef WATCH_H
#define WATCH_H

struct st_h2o_req_t;
struct watch;

/* Watches the client of a request; `on_left` is called at most once, never from within. A client that closes only its sending
 * side counts as gone. NULL when there is nothing to watch or no fd is left. Freed with watch_free. */
struct watch *watch_new(struct st_h2o_req_t *req, void (*on_left)(void *ctx), void *ctx);

/* Cuts the connection in both directions; h2o then ends the request by itself. Safe on NULL. */
void watch_cut(struct watch *watch);

/* The same for one that does not read: what it has not taken is dropped, instead of staying in the kernel's memory for as long as
 * it likes, and it learns at once. */
void watch_reset(struct watch *watch);

/* Stops watching. Memory goes later, in the close callback. Safe on NULL. */
void watch_free(struct watch *watch);

#endif

/* Lets a client that is still sending read why it was refused. Closing a socket with unread input resets the connection, and
 * the answer is lost on the way. */
#ifndef LINGER_H
#define LINGER_H

struct st_h2o_req_t;
struct uv_loop_s;

#define LINGER_MS 2000
#define LINGER_COUNT_MAX                                                                           \
    256 /* at once: they count against nothing else; more are closed without it */
#define LINGER_BYTES_MAX (64 * 1024 * 1024) /* read and thrown away, at the most */

/* Keeps the connection of a refused request open behind h2o's back, and reads what the client still sends, until it
 * stops, or the limits above. Frees itself. */
void linger_start(struct st_h2o_req_t *req);

/* The same for a connection (its descriptor is borrowed) that h2o has no request of. */
void linger_on(struct uv_loop_s *loop, int connection);

#endif

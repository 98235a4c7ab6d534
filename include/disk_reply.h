/* An answer that is made of files: the disk's thread looks, then the request is answered, unless its client has left meanwhile. */
#ifndef DISK_REPLY_H
#define DISK_REPLY_H

#include "disk.h"

struct st_h2o_req_t;

#define DISK_REPLIES_MAX                                                                           \
    8 /* at once; more are refused, for what writes must have room in the queue */

/* First member of what is to be found, which is allocated on the heap: a request may end before the disk's thread does. */
struct disk_reply {
    struct disk_job job;                /* disk_reply.c's, like `visit` */
    struct disk_visit *visit;           /* linked; NULL: nobody waits for it any more */
    void (*find)(struct disk_reply *r); /* in the disk's thread: files only, and its own memory */
    void (*answer)(
        struct disk_reply *r, /* in the loop; ends the request, which may be freed in it */
        struct st_h2o_req_t *req);
    void (*free)(struct disk_reply *r); /* in the loop, in any case */
};

/* Takes `r`, of which find, answer and free are set, and answers the request in any case: with 503 at once when too many wait. */
void disk_reply_start(struct disk *disk, struct st_h2o_req_t *req, struct disk_reply *r);

#endif

/* An answer that needs a file first: the work is done off the loop, and then answers the request, if its client is still there. */
#ifndef LATER_H
#define LATER_H

#include "disk.h"

#include <stdbool.h>

struct st_h2o_req_t;
struct later_link;

#define LATER_MAX 4 /* at once: each may hold a large answer */

/* First member of whatever is to be done. */
struct later {
    struct disk_job super;   /* its `run` is the caller's, its `done` is set by later_submit */
    struct later_link *link; /* linked: in the pool of the request; NULL once that is gone */
    void (*answer)(struct later *later,
                   struct st_h2o_req_t *req); /* in the loop, after run: answers the request */
    void (*release)(struct later *later);     /* last, in any case: frees it */
};

/* Has the work done and the request answered. False when the disk takes no more, or there are enough of these: then nothing was called,
 * and the work is still the caller's, as is the request. */
CHECK_RESULT bool later_submit(struct disk *disk, struct later *later, struct st_h2o_req_t *req);

#endif

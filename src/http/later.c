/* An answer that needs a file first. */
#include "later.h"

#include <h2o.h>

struct later_link {
    struct later *later; /* linked: NULL once it is done */
    h2o_req_t *req;      /* borrowed: we lie in its pool */
};

static size_t under_way; /* of the loop's thread, as all that is here */

static void on_request_gone(void *memory)
{
    struct later_link *link = memory;
    if (link->later != NULL)
        link->later->link = NULL;
}

static void on_done(struct disk_job *job)
{
    struct later *later = (struct later *)(void *)job;
    struct later_link *link = later->link;
    under_way--;
    later->link = NULL;
    if (link != NULL) {
        link->later = NULL;
        later->answer(later, link->req); /* may free the request */
    }
    later->release(later);
}

bool later_submit(struct disk *disk, struct later *later, h2o_req_t *req)
{
    later->super.done = on_done;
    if (under_way == LATER_MAX || !disk_submit(disk, &later->super))
        return false;
    under_way++;
    later->link = h2o_mem_alloc_shared(&req->pool, sizeof(*later->link), on_request_gone);
    *later->link = (struct later_link){ .later = later, .req = req };
    return true;
}

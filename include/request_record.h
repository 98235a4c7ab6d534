/* What is kept of a request that ended: its tokens and their cost in the metrics, a line of the request log. */
#ifndef REQUEST_RECORD_H
#define REQUEST_RECORD_H

struct observatory;
struct st_h2o_req_t;

/* Once for each request, when all that is known of it is known. */
void request_record(struct observatory *observatory, struct st_h2o_req_t *req);

#endif

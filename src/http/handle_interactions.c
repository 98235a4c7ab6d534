/* GET /internal/interactions: lines of the request log, the newest first. */
#include "clock.h"
#include "disk_reply.h"
#include "interactions.h"
#include "observatory.h"
#include "query.h"
#include "reply.h"
#include "reqctx.h"
#include "routes.h"

#include <errno.h>
#include <h2o.h>
#include <stdlib.h>

#define LIMIT_DEFAULT 100
#define LIMIT_MAX 10000
#define LINES_MAX_BYTES (8 * 1024 * 1024)

struct reading {
    struct disk_reply super;
    char *home; /* owned */
    char date[CLOCK_DATE_SIZE];
    size_t limit;
    struct buf body; /* owned: of the answer, which may be megabytes */
    int error;       /* errno, or 0 */
};

static void on_find(struct disk_reply *super)
{
    struct reading *r = (struct reading *)(void *)super;
    struct buf lines = BUF_INIT;
    size_t count = 0;
    bool more = false;
    if (interaction_files_read(r->home, r->date, r->limit, LINES_MAX_BYTES, &lines, &count,
                               &more)) {
        buf_printf(&r->body, "{\"date\":\"%s\",\"count\":%zu,\"more\":%s,\"interactions\":[",
                   r->date, count, more ? "true" : "false");
        buf_append(&r->body, lines.data, lines.len);
        buf_puts(&r->body, "]}");
    } else {
        r->error = errno;
    }
    buf_free(&lines);
}

static void on_answer(struct disk_reply *super, h2o_req_t *req)
{
    struct reading *r = (struct reading *)(void *)super;
    struct api_error error;
    if (r->error != 0) {
        api_error_set(&error, 500, "server_error", "interactions_unreadable", NULL,
                      "The request log cannot be read (errno %d).", r->error);
        reqctx_refuse(req, &error);
        return;
    }
    reply_header(req, "cache-control", "no-store");
    reply_text(req, "application/json", &r->body);
}

static void on_free(struct disk_reply *super)
{
    struct reading *r = (struct reading *)(void *)super;
    buf_free(&r->body);
    free(r->home);
    free(r);
}

/* What is asked for. */
static bool parse(h2o_req_t *req, struct reading *r, struct api_error *error)
{
    struct query_param params[] = { { "date", NULL, 0 }, { "limit", NULL, 0 } };
    int64_t limit = 0;
    int64_t day = 0;
    size_t from = req->query_at != SIZE_MAX ? req->query_at + 1 : req->path.len;
    if (!query_parse(req->path.base + from, req->path.len - from, params, 2, error) ||
        !query_number(&params[1], 1, LIMIT_MAX, LIMIT_DEFAULT, &limit, error))
        return false;
    r->limit = (size_t)limit;
    clock_date(clock_wall_ms(), r->date);
    if (params[0].value == NULL)
        return true;
    if (!clock_parse_date(params[0].value, params[0].len, &day)) {
        api_error_bad(error, "invalid_value", "date",
                      "Invalid 'date': expected a day as YYYY-MM-DD.");
        return false;
    }
    clock_date(day * CLOCK_DAY_MS, r->date);
    return true;
}

void handle_interactions(struct routes *routes, h2o_req_t *req)
{
    struct api_error error;
    struct observatory *o = routes->observatory;
    struct reading *r = xcalloc(1, sizeof(*r));
    *r = (struct reading){ .super = { .job = { .bytes = sizeof(*r) },
                                      .find = on_find,
                                      .answer = on_answer,
                                      .free = on_free },
                           .home = xstrdup(o->home) };
    if (!parse(req, r, &error)) {
        on_free(&r->super);
        reqctx_refuse(req, &error);
        return;
    }
    interactions_flush(o->interactions); /* so that what has ended is there */
    disk_reply_start(o->disk, req, &r->super);
}

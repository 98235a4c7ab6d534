/* Input: what a worker writes. However it is cut into pieces, the same lines come out and the same is understood. */
#include "deadline.h"
#include "fuzz.h"
#include "lines.h"
#include "rpc.h"

#include <uv.h>

#define CALLS 4        /* calls that wait for an answer, of the ids 1 to 4 */
#define SHORT_LINES 24 /* bytes: a cap that inputs reach */
#define LONG_LINES 65536

static struct deadlines *deadlines;

/* What is heard while the input is fed, as text. */
struct ear {
    struct rpc *rpc;
    struct buf heard;
    size_t lines_left; /* then the cutting is stopped */
};

static void write_value(struct buf *out, const json_t *value)
{
    if (value != NULL)
        json_write(out, value);
    buf_putc(out, '\n');
}

/* Every message of ours is one line of JSON. */
static bool on_write(void *ctx, char *bytes, size_t len)
{
    struct ear *ear = ctx;
    FUZZ_CHECK(len != 0 && memchr(bytes, '\n', len) == bytes + len - 1);
    json_t *message = json_parse(bytes, len, NULL);
    FUZZ_CHECK(json_is_object(message));
    json_decref(message);
    buf_puts(&ear->heard, "write ");
    buf_append(&ear->heard, bytes, len);
    free(bytes);
    return true;
}

static void on_notification(void *ctx, const struct rpc_message *note)
{
    struct ear *ear = ctx;
    buf_printf(&ear->heard, "note %s ", note->method);
    write_value(&ear->heard, note->params);
}

static void on_request(void *ctx, const struct rpc_message *request)
{
    struct ear *ear = ctx;
    buf_printf(&ear->heard, "request %s ", request->method);
    write_value(&ear->heard, request->params);
    if (json_is_string(request->id))
        (void)rpc_answer(ear->rpc, request->id, json_object());
    else
        rpc_refuse(ear->rpc, request->id, "no");
}

static void on_reply(void *ctx, const struct rpc_reply *reply)
{
    struct ear *ear = ctx;
    FUZZ_CHECK(reply->status == RPC_OK || reply->status == RPC_ERROR || reply->status == RPC_LOST);
    FUZZ_CHECK((reply->message != NULL) == (reply->status == RPC_ERROR));
    buf_printf(&ear->heard, "reply %d %lld %s ", (int)reply->status, (long long)reply->code,
               reply->message != NULL ? reply->message : "");
    write_value(&ear->heard, reply->result);
}

static const struct rpc_handlers handlers = { on_write, on_notification, on_request };

static bool on_line(void *ctx, const char *line, size_t len)
{
    struct ear *ear = ctx;
    FUZZ_CHECK(len == 0 || memchr(line, '\n', len) == NULL);
    buf_printf(&ear->heard, "line %zu ", len);
    buf_append(&ear->heard, line, len);
    buf_putc(&ear->heard, '\n');
    size_t before = ear->heard.len;
    bool understood = rpc_receive(ear->rpc, line, len);
    FUZZ_CHECK(understood || ear->heard.len == before);
    return --ear->lines_left != 0;
}

/* Gives the input in pieces of at most `piece_max` bytes (0: whole), and what was heard to the caller. */
static struct buf hear(const char *data, size_t size, size_t piece_max, size_t line_max,
                       size_t stop_after)
{
    struct ear ear = { .lines_left = stop_after };
    struct lines lines;
    enum lines_err err = LINES_OK;
    uint64_t random = fuzz_hash(data, size);
    lines_init(&lines, line_max);
    ear.rpc = rpc_new(deadlines, 1, &handlers, &ear);
    for (int i = 0; i < CALLS; i++)
        rpc_call(ear.rpc, "ask", NULL, 1000000, on_reply, &ear, NULL);
    while (size != 0 && err == LINES_OK) {
        size_t most = piece_max != 0 && piece_max < size ? piece_max : size;
        size_t piece = piece_max != 0 ? 1 + fuzz_below(&random, most) : size;
        char *copy = malloc(piece); /* so that reading past it shows */
        FUZZ_CHECK(copy != NULL);
        memcpy(copy, data, piece);
        err = lines_feed(&lines, copy, piece, on_line, &ear);
        free(copy);
        data += piece;
        size -= piece;
        FUZZ_CHECK(lines.pending.len <= line_max);
    }
    FUZZ_CHECK((err == LINES_STOPPED) == (ear.lines_left == 0));
    buf_printf(&ear.heard, "end %d\n", (int)err);
    rpc_free(ear.rpc);
    lines_free(&lines);
    return ear.heard;
}

static void compare(const char *data, size_t size, size_t line_max, size_t stop_after)
{
    static const size_t pieces[] = { 1, 3, 40, 1000 };
    size_t piece = pieces[fuzz_hash(data, size) % COUNT_OF(pieces)];
    struct buf whole = hear(data, size, 0, line_max, stop_after);
    struct buf cut = hear(data, size, piece, line_max, stop_after);
    FUZZ_CHECK(cut.len == whole.len && memcmp(cut.data, whole.data, cut.len) == 0);
    buf_free(&cut);
    buf_free(&whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uv_loop_t loop;
    if (deadlines == NULL) {
        json_setup();
        FUZZ_CHECK(uv_loop_init(&loop) == 0);
        deadlines = deadlines_new(&loop);
    }
    compare((const char *)data, size, LONG_LINES, SIZE_MAX);
    compare((const char *)data, size, SHORT_LINES, SIZE_MAX);
    compare((const char *)data, size, LONG_LINES, 2);
    return 0;
}

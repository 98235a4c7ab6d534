/* What leaves stdout: lines written in place, then cut, gathered, doubled and soiled as asked. */
#include "fake.h"

#include "clock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define COMPACT_BYTES (1 << 20)
#define FLOOD_PIECE 65536

static const char *const note_names[NOTE_COUNT] = {
    [NOTE_THREAD_STARTED] = "thread/started",
    [NOTE_THREAD_STATUS] = "thread/status/changed",
    [NOTE_THREAD_CLOSED] = "thread/closed",
    [NOTE_TURN_STARTED] = "turn/started",
    [NOTE_TURN_COMPLETED] = "turn/completed",
    [NOTE_ITEM_STARTED] = "item/started",
    [NOTE_ITEM_COMPLETED] = "item/completed",
    [NOTE_MESSAGE_DELTA] = "item/agentMessage/delta",
    [NOTE_SUMMARY_PART] = "item/reasoning/summaryPartAdded",
    [NOTE_SUMMARY_DELTA] = "item/reasoning/summaryTextDelta",
    [NOTE_RAW_ITEM] = "rawResponseItem/completed",
    [NOTE_RAW_RESPONSE] = "rawResponse/completed",
    [NOTE_TOKEN_USAGE] = "thread/tokenUsage/updated",
    [NOTE_RATE_LIMITS] = "account/rateLimits/updated",
    [NOTE_ERROR] = "error",
};

void wire_silence(struct fake *f, const json_t *methods)
{
    size_t i;
    json_t *method;
    json_array_foreach(methods, i, method) for (enum note note = 0; note < NOTE_COUNT;
                                                note++) if (json_is_string(method) &&
                                                            strcmp(json_string_value(method),
                                                                   note_names[note]) == 0)
        f->wire.silenced[note] = true;
}

static struct buf *line_begin(struct fake *f)
{
    f->wire.line_at = f->wire.out.len;
    return &f->wire.out;
}

void wire_garbage(struct fake *f)
{
    static const char *const lines[] = {
        "warning: this is not JSON\n",
        "{\"method\":\"item/agentMes\n",
        "\xff\xfe{}\n",
        "[1,2,3]\n",
    };
    buf_puts(&f->wire.out, lines[f->wire.lines % (sizeof(lines) / sizeof(lines[0]))]);
}

void wire_half(struct fake *f)
{
    buf_puts(&f->wire.out, "{\"method\":\"item/agentMessage/delta\",\"params\":{\"thre");
}

static void add_noise(struct fake *f)
{
    struct buf *out = &f->wire.out;
    unsigned noise = f->opt.noise;
    if ((noise & NOISE_GARBAGE) != 0)
        wire_garbage(f);
    if ((noise & NOISE_EMPTY) != 0)
        buf_putc(out, '\n');
    if ((noise & NOISE_UNKNOWN) != 0)
        buf_puts(out, "{\"method\":\"fake/unknown\",\"params\":{\"threadId\":\"none\"}}\n");
    if ((noise & NOISE_STRAY) != 0)
        buf_printf(out, "{\"id\":%u,\"result\":{}}\n", 2000000000u + f->wire.lines);
}

static void line_end(struct fake *f)
{
    buf_putc(&f->wire.out, '\n');
    f->wire.lines++;
    if (f->opt.noise != 0 && f->wire.lines % (unsigned)f->opt.noise_every == 0)
        add_noise(f);
}

struct buf *note_begin(struct fake *f, enum note note)
{
    if (f->wire.silenced[note] || f->wire.mute)
        return NULL;
    struct buf *out = line_begin(f);
    buf_puts(out, "{\"method\":\"");
    buf_puts(out, note_names[note]);
    buf_puts(out, "\",\"params\":{");
    return out;
}

void note_end(struct fake *f)
{
    buf_printf(&f->wire.out, "},\"emittedAtMs\":%lld}", (long long)clock_wall_ms());
    line_end(f);
}

struct buf *reply_begin(struct fake *f, const json_t *id)
{
    struct buf *out = line_begin(f);
    buf_puts(out, "{\"id\":");
    json_write(out, id);
    buf_puts(out, ",\"result\":");
    return out;
}

static void answer_end(struct fake *f)
{
    struct wire *w = &f->wire;
    size_t len = w->out.len - w->line_at;
    if (f->opt.duplicate != 0) {
        buf_putc(&w->out, '\n');
        buf_reserve(&w->out, len); /* before the pointer into it is taken */
        buf_append(&w->out, w->out.data + w->line_at, len);
    }
    line_end(f);
}

void reply_end(struct fake *f)
{
    buf_putc(&f->wire.out, '}');
    answer_end(f);
}

void reply_empty(struct fake *f, const json_t *id)
{
    buf_puts(reply_begin(f, id), "{}");
    reply_end(f);
}

void reply_error(struct fake *f, const json_t *id, int code, const char *message)
{
    struct buf *out = line_begin(f);
    buf_printf(out, "{\"error\":{\"code\":%d,\"message\":", code);
    json_quote(out, message, strlen(message));
    buf_puts(out, "},\"id\":");
    json_write(out, id);
    buf_putc(out, '}');
    answer_end(f);
}

struct buf *ask_begin(struct fake *f, const char *method, long long id)
{
    struct buf *out = line_begin(f);
    buf_puts(out, "{\"method\":");
    json_quote(out, method, strlen(method));
    buf_printf(out, ",\"id\":%lld,\"params\":{", id);
    return out;
}

void ask_end(struct fake *f)
{
    buf_puts(&f->wire.out, "}}");
    line_end(f);
}

size_t wire_pending(const struct fake *f)
{
    if (f->wire.mute)
        return 0;
    return f->wire.out.len - f->wire.sent + (f->wire.flood_left > 0);
}

bool wire_full(const struct fake *f)
{
    return wire_pending(f) >= (size_t)f->opt.burst;
}

/* The flood is made as it is taken: it may be larger than memory. */
static void feed_flood(struct wire *w)
{
    size_t len = w->flood_left < FLOOD_PIECE ? (size_t)w->flood_left : FLOOD_PIECE;
    memset(buf_reserve(&w->out, len), 'x', len);
    w->out.len += len;
    w->flood_left -= (long long)len;
}

static void forget_sent(struct wire *w)
{
    if (w->sent == w->out.len)
        buf_clear(&w->out);
    else if (w->sent > COMPACT_BYTES && w->sent > w->out.len / 2)
        buf_consume(&w->out, w->sent);
    else
        return;
    w->sent = 0;
}

void wire_mute(struct fake *f)
{
    f->wire.mute = true;
    f->wire.flood_left = 0;
    close(STDOUT_FILENO);
}

void wire_flush(struct fake *f)
{
    struct wire *w = &f->wire;
    if (w->mute) {
        w->sent = w->out.len;
        forget_sent(w);
        return;
    }
    if (w->sent == w->out.len && w->flood_left > 0)
        feed_flood(w);
    size_t len = w->out.len - w->sent;
    if (len == 0)
        return;
    if (f->opt.piece != 0 && len > (size_t)f->opt.piece)
        len = (size_t)f->opt.piece;
    ssize_t n = write(STDOUT_FILENO, w->out.data + w->sent, len);
    if (n > 0)
        w->sent += (size_t)n;
    else if (errno != EAGAIN && errno != EINTR)
        wire_mute(f); /* nobody reads any more; what ends us is stdin's end or a signal */
    forget_sent(w);
}

void wire_drain(struct fake *f, int patience_ms)
{
    while (wire_pending(f) != 0) {
        struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
        if (poll(&out, 1, patience_ms) <= 0)
            return;
        wire_flush(f);
    }
}

/* Input: a script, a line each, of turns with a worker that says anything at all. An owner hears of the end once and of
 * nothing after it, the worker is asked for nothing but what a turn may ask, and every thread is given back.
 *
 *     +         a turn begins                       -N  the owner of turn N leaves
 *     kN        from here on, owners whose number ends in N keep the thread, by the digest N % 4
 *     >N / &N   somebody comes back to what was kept by the digest N: with results / with more to say
 *     !         the worker answers the oldest call well    ?  with an error
 *     =         with "overloaded", after which it is asked again
 *     _         all that is kept is given back
 *     ~         the worker is gone, and a new one ready
 *     0         as the first: deadlines are over at once   .  what is due happens
 *     {...      the worker says this line; $T and $U in it stand for the ids of the newest thread and turn
 *
 * N is one digit. */
#include "deadline.h"
#include "fuzz.h"
#include "log.h"
#include "rpc.h"
#include "turn.h"

#include <ctype.h>
#include <uv.h>

#define OWNERS_MAX 64
#define LATER_MS 1000000
#define IDS_MAX 1000000 /* of the calls to one worker */
#define SETTLE_MAX 4096 /* answers until nothing is left to be answered */

static uv_loop_t loop;
static struct deadlines *deadlines;

struct owner {
    struct stage *stage;
    struct turn *turn; /* linked; NULL once it has ended or was left */
    unsigned ends;
};

struct stage {
    struct rpc *rpc;     /* owned */
    struct turns *turns; /* owned */
    json_t *asked;       /* owned: calls of ours that were not answered, oldest first */
    unsigned workers;    /* so far */
    unsigned threads;    /* named by the worker so far */
    size_t opened;
    size_t given_back;
    bool keeps[10];
    bool hostile; /* the worker has made ids of its own: what is open is not known */
    struct owner owners[OWNERS_MAX];
    size_t owner_count;
};

/* ---- what is written to the worker ---- */

static const struct {
    const char *method;
    const char *members[9]; /* of its params */
} allowed[] = {
    { "thread/start", { "model", "dynamicTools" } },
    { "thread/inject_items", { "threadId", "items" } },
    { "turn/start", { "threadId", "input" } },
    { "turn/interrupt", { "threadId", "turnId" } },
    { "thread/unsubscribe", { "threadId" } },
};

static void check_call(const char *method, const json_t *params)
{
    const char *name = NULL;
    const json_t *value = NULL;
    size_t i = 0;
    while (i < COUNT_OF(allowed) && strcmp(allowed[i].method, method) != 0)
        i++;
    FUZZ_CHECK(i < COUNT_OF(allowed));
    json_object_foreach((json_t *)(uintptr_t)params, name, value)
    {
        bool known = false;
        for (size_t j = 0; j < COUNT_OF(allowed[i].members); j++)
            known = known ||
                    (allowed[i].members[j] != NULL && strcmp(allowed[i].members[j], name) == 0);
        FUZZ_CHECK(known && value != NULL);
    }
    for (size_t j = 0; j < COUNT_OF(allowed[i].members) && allowed[i].members[j] != NULL; j++)
        FUZZ_CHECK(json_object_get(params, allowed[i].members[j]) != NULL);
    const json_t *thread_id = json_object_get(params, "threadId");
    FUZZ_CHECK(thread_id == NULL || (json_string_length(thread_id) != 0 &&
                                     json_string_length(thread_id) < OUTPUT_ID_MAX));
}

static bool on_write(void *ctx, char *bytes, size_t len)
{
    struct stage *s = ctx;
    FUZZ_CHECK(len != 0 && memchr(bytes, '\n', len) == bytes + len - 1);
    json_t *message = json_parse(bytes, len, NULL);
    const char *method = json_str_at(message, "method");
    free(bytes);
    FUZZ_CHECK(json_is_object(message) && json_object_get(message, "id") != NULL);
    if (method == NULL) { /* the result of a function call */
        FUZZ_CHECK(json_object_size(message) == 2);
        FUZZ_CHECK(json_is_array(json_at(message, "result.contentItems")));
        FUZZ_CHECK(json_is_true(json_at(message, "result.success")));
    } else {
        FUZZ_CHECK(json_object_size(message) == 3);
        check_call(method, json_object_get(message, "params"));
        s->given_back += strcmp(method, "thread/unsubscribe") == 0;
        json_array_append(s->asked, message);
    }
    json_decref(message);
    return true;
}

static void on_notification(void *ctx, const struct rpc_message *note)
{
    struct stage *s = ctx;
    (void)turns_notification(s->turns, note);
}

static void on_request(void *ctx, const struct rpc_message *request)
{
    struct stage *s = ctx;
    (void)turns_request(s->turns, request);
}

static const struct rpc_handlers handlers = { on_write, on_notification, on_request };

/* ---- what an owner hears ---- */

static void hear(struct owner *o, const char *text, size_t len)
{
    FUZZ_CHECK(o->turn != NULL && o->ends == 0 && len != 0);
    json_t *string = json_stringn(text, len);
    FUZZ_CHECK(string != NULL); /* it is UTF-8 */
    json_decref(string);
}

static void on_text(void *ctx, const char *text, size_t len)
{
    hear(ctx, text, len);
}

static void make_digest(unsigned n, unsigned char ret[TURN_DIGEST_BYTES])
{
    memset(ret, (int)(n % 4), TURN_DIGEST_BYTES);
}

static void on_end(void *ctx, const struct turn_end *end)
{
    struct owner *o = ctx;
    struct stage *s = o->stage;
    unsigned number = (unsigned)(o - s->owners) % 10;
    FUZZ_CHECK(o->turn != NULL && ++o->ends == 1);
    FUZZ_CHECK((end->call_count != 0) == (end->outcome == TURN_CALLS));
    FUZZ_CHECK(end->call_count <= OUTPUT_CALLS_MAX);
    FUZZ_CHECK(end->usage.total >= 0 && end->usage.input >= 0 && end->usage.output >= 0);
    for (size_t i = 0; i < end->call_count; i++)
        FUZZ_CHECK(strcmp(end->calls[i].name, "look") == 0 ||
                   strcmp(end->calls[i].name, "go") == 0);
    o->turn = NULL;
    if (!s->keeps[number] || (end->outcome != TURN_COMPLETED && end->outcome != TURN_CALLS))
        return;
    unsigned char digest[TURN_DIGEST_BYTES];
    make_digest(number, digest);
    turn_keep(end->turn, digest);
}

static const struct turn_events events = { on_text, on_text, on_end };

/* ---- steps of the script ---- */

static struct owner *new_owner(struct stage *s)
{
    if (s->owner_count == OWNERS_MAX)
        return NULL;
    struct owner *o = &s->owners[s->owner_count++];
    o->stage = s;
    return o;
}

static struct turn_plan make_plan(void)
{
    return (struct turn_plan){ json_pack("{s:s, s:[{s:s}, {s:s}]}", "model", "gpt-x",
                                         "dynamicTools", "name", "look", "name", "go"),
                               json_pack("[{s:s}]", "n", "1"), json_pack("{s:[]}", "input") };
}

static void begin(struct stage *s)
{
    struct owner *o = new_owner(s);
    struct turn_plan plan = make_plan();
    if (o == NULL) {
        turn_plan_free(&plan);
        return;
    }
    o->turn = turn_begin(s->turns, &plan, &events, o, NULL);
    FUZZ_CHECK(o->turn != NULL && plan.thread == NULL);
}

static void leave(struct stage *s, unsigned n)
{
    if (n >= s->owner_count)
        return;
    struct owner *o = &s->owners[n];
    struct turn *turn = o->turn;
    o->turn = NULL;
    turn_detach(turn);
}

/* The results that a parked turn waits for: of calls c0, c1, ... as scripts name them. */
static void resume(struct stage *s, unsigned n)
{
    unsigned char digest[TURN_DIGEST_BYTES];
    make_digest(n, digest);
    struct turn *kept = turns_find(s->turns, digest);
    for (size_t count = 1; kept != NULL && count <= 3; count++) {
        struct turn_result results[3];
        static const char *const ids[] = { "c0", "c1", "c2" };
        for (size_t i = 0; i < count; i++)
            results[i] = (struct turn_result){ ids[i], json_array() };
        struct owner *o = turn_waits_for(kept, results, count) ? new_owner(s) : NULL;
        if (o != NULL) {
            o->turn = kept;
            FUZZ_CHECK(turn_resume(kept, results, count, &events, o, NULL) == kept);
            kept = NULL;
        }
        for (size_t i = 0; i < count; i++)
            json_decref(results[i].content);
    }
}

static void say_more(struct stage *s, unsigned n)
{
    unsigned char digest[TURN_DIGEST_BYTES];
    make_digest(n, digest);
    struct turn *kept = turns_find(s->turns, digest);
    struct owner *o = kept != NULL && turn_is_idle(kept) ? new_owner(s) : NULL;
    if (o == NULL)
        return;
    struct turn_plan plan = make_plan();
    o->turn = kept;
    FUZZ_CHECK(turn_again(kept, &plan, &events, o, NULL) == kept);
    FUZZ_CHECK(plan.items == NULL && plan.start == NULL);
}

static void say(struct stage *s, const char *format, long long id, unsigned n)
{
    char line[128];
    int len = snprintf(line, sizeof(line), format, id, n);
    FUZZ_CHECK(rpc_receive(s->rpc, line, (size_t)len));
}

/* The N of "th-N" and "tu-N". */
static unsigned number_of(const char *id)
{
    return id != NULL && strlen(id) > 3 ? (unsigned)strtoul(id + 3, NULL, 10) : 0;
}

/* The end of a turn that was interrupted. */
static void say_interrupted(struct stage *s, const json_t *params)
{
    struct buf line = BUF_INIT;
    json_t *message = json_pack("{s:s, s:{s:O, s:{s:O, s:s}}}", "method", "turn/completed",
                                "params", "threadId", json_object_get(params, "threadId"), "turn",
                                "id", json_object_get(params, "turnId"), "status", "interrupted");
    json_write(&line, message);
    json_decref(message);
    FUZZ_CHECK(rpc_receive(s->rpc, line.data, line.len));
    buf_free(&line);
}

/* Answers the oldest call that was not answered. */
static void answer(struct stage *s, char how)
{
    json_t *message = json_incref(json_array_get(s->asked, 0));
    if (message == NULL)
        return;
    json_array_remove(s->asked, 0);
    const char *method = json_str_at(message, "method");
    long long id = json_int_at(message, "id", -1);
    if (how != '!') {
        s->hostile = s->hostile || how == '='; /* it may be asked again only later */
        say(s, "{\"id\":%lld,\"error\":{\"code\":-32%03u,\"message\":\"no\"}}", id,
            how == '=' ? 1 : 600);
    } else if (strcmp(method, "thread/start") == 0) {
        s->opened++;
        say(s, "{\"id\":%lld,\"result\":{\"thread\":{\"id\":\"th-%u\"}}}", id, ++s->threads);
    } else if (strcmp(method, "turn/start") == 0) {
        unsigned thread = number_of(json_str_at(message, "params.threadId"));
        say(s, "{\"id\":%lld,\"result\":{\"turn\":{\"id\":\"tu-%u\"}}}", id, thread);
    } else {
        say(s, "{\"id\":%lld,\"result\":{}}", id, 0);
        if (strcmp(method, "turn/interrupt") == 0)
            say_interrupted(s, json_object_get(message, "params"));
    }
    json_decref(message);
}

static void hear_line(struct stage *s, const char *text, size_t len)
{
    struct buf line = BUF_INIT;
    for (size_t i = 0; i < len; i++) {
        bool name = text[i] == '$' && i + 1 < len && (text[i + 1] == 'T' || text[i + 1] == 'U');
        if (name)
            buf_printf(&line, "%s-%u", text[++i] == 'T' ? "th" : "tu", s->threads);
        else
            buf_putc(&line, text[i]);
    }
    json_t *message = json_parse(line.data, line.len, NULL);
    const char *method = json_str_at(message, "method");
    const char *thread_id = json_str_at(message, "params.threadId");
    const char *turn_id = json_str_at(message, "params.turn.id");
    if (method == NULL ||
        (strcmp(method, "turn/started") == 0 && number_of(thread_id) != number_of(turn_id)))
        s->hostile = true;
    json_decref(message);
    (void)rpc_receive(s->rpc, line.data, line.len);
    buf_free(&line);
}

static void meet_worker(struct stage *s)
{
    s->rpc = rpc_new(deadlines, 1 + (uint64_t)IDS_MAX * s->workers++, &handlers, s);
    s->asked = json_array();
    s->opened = s->given_back = 0;
    turns_worker_ready(s->turns, s->rpc);
}

static void lose_worker(struct stage *s)
{
    turns_worker_gone(s->turns);
    FUZZ_CHECK(turns_active(s->turns) == 0);
    for (size_t i = 0; i < s->owner_count; i++)
        FUZZ_CHECK(s->owners[i].turn == NULL);
    json_decref(s->asked);
}

static void replace_worker(struct stage *s)
{
    struct rpc *old = s->rpc;
    lose_worker(s);
    meet_worker(s);
    rpc_free(old);
}

static const struct turns_options *options(bool at_once)
{
    static const struct turns_options later = { .rpc_timeout_ms = LATER_MS,
                                                .turn_timeout_ms = LATER_MS,
                                                .first_event_timeout_ms = LATER_MS,
                                                .silence_timeout_ms = LATER_MS,
                                                .park_ttl_ms = LATER_MS,
                                                .parked_max = 2,
                                                .idle_ttl_ms = LATER_MS,
                                                .idle_max = 2 };
    static const struct turns_options now = { .parked_max = 1, .idle_max = 1 };
    return at_once ? &now : &later;
}

static void step(struct stage *s, const char *line, size_t len)
{
    unsigned n = len > 1 && isdigit((unsigned char)line[1]) ? (unsigned)(line[1] - '0') : 0;
    switch (*line) {
    case '+':
        begin(s);
        break;
    case '-':
        leave(s, n);
        break;
    case '>':
        resume(s, n);
        break;
    case '&':
        say_more(s, n);
        break;
    case 'k':
        s->keeps[n] = true;
        break;
    case '!':
    case '?':
    case '=':
        answer(s, *line);
        break;
    case '_':
        turns_drop_kept(s->turns);
        break;
    case '~':
        replace_worker(s);
        break;
    case '.':
        uv_run(&loop, UV_RUN_NOWAIT);
        break;
    case '{':
        hear_line(s, line, len);
        break;
    default:
        break;
    }
}

/* All owners leave and the worker refuses all: then no turn is left but those that are kept. */
static void settle(struct stage *s, bool at_once)
{
    for (unsigned i = 0; i < s->owner_count; i++)
        leave(s, i);
    for (size_t i = 0; i < SETTLE_MAX && json_array_size(s->asked) != 0; i++)
        answer(s, '?');
    FUZZ_CHECK(json_array_size(s->asked) == 0);
    if (at_once) /* a call may have found its deadline before its answer */
        return;
    FUZZ_CHECK(s->hostile || turns_active(s->turns) == 0);
    size_t kept = 0;
    for (unsigned n = 0; n < 4; n++) {
        unsigned char digest[TURN_DIGEST_BYTES];
        make_digest(n, digest);
        kept += turns_find(s->turns, digest) != NULL;
    }
    FUZZ_CHECK(s->hostile || s->given_back + 4 >= s->opened);
    FUZZ_CHECK(s->hostile || kept != 0 || s->given_back == s->opened);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct stage s;
    const char *at = (const char *)data;
    const char *end = at + size;
    const char *line = NULL;
    size_t len = 0;
    bool at_once = size != 0 && *at == '0';
    if (deadlines == NULL) {
        json_setup();
        log_set_level((enum log_level)(LOG_ERROR + 1));
        FUZZ_CHECK(uv_loop_init(&loop) == 0);
        deadlines = deadlines_new(&loop);
    }
    s = (struct stage){ .turns = turns_new(deadlines, options(at_once)) };
    meet_worker(&s);
    while (fuzz_line(&at, end, &line, &len))
        if (len != 0)
            step(&s, line, len);
    settle(&s, at_once);
    lose_worker(&s);
    rpc_free(s.rpc);
    turns_free(s.turns);
    return 0;
}

/* Turns on a worker that is played by the test: each step of a turn's life is one call here. */
#ifndef TURN_BENCH_H
#define TURN_BENCH_H

#include "turn.h"
#include "wire.h"

#define BENCH_RPC_MS 60000
#define BENCH_TURN_MS 60000

struct turn_bench {
    struct loop loop;
    struct wire wire;
    struct turns *turns;
    unsigned strangers; /* notifications that no turn took */
};

static inline void turn_bench_on_note(void *ctx, const struct rpc_message *note)
{
    struct turn_bench *b = ctx;
    b->strangers += !turns_notification(b->turns, note);
}

static inline bool turn_bench_on_request(void *ctx, const struct rpc_message *request)
{
    struct turn_bench *b = ctx;
    return turns_request(b->turns, request);
}

/* The model's signs are waited for as long as the whole turn, unless a test says otherwise. */
static inline void turn_bench_begin_with(struct turn_bench *b, const struct turns_options *options)
{
    *b = (struct turn_bench){ .strangers = 0 };
    loop_begin(&b->loop);
    wire_begin(&b->wire, b->loop.deadlines, 1);
    b->wire.on_notification = turn_bench_on_note;
    b->wire.on_request = turn_bench_on_request;
    b->wire.ctx = b;
    struct turns_options all = *options;
    if (all.first_event_timeout_ms == 0)
        all.first_event_timeout_ms = BENCH_TURN_MS;
    if (all.silence_timeout_ms == 0)
        all.silence_timeout_ms = BENCH_TURN_MS;
    b->turns = turns_new(b->loop.deadlines, &all);
    turns_worker_ready(b->turns, b->wire.rpc);
}

/* No thread is kept. */
static inline void turn_bench_begin(struct turn_bench *b, uint64_t rpc_ms, uint64_t turn_ms)
{
    const struct turns_options options = { .rpc_timeout_ms = rpc_ms, .turn_timeout_ms = turn_ms };
    turn_bench_begin_with(b, &options);
}

/* Threads are kept: two parked and two idle. */
static inline void turn_bench_begin_keeping(struct turn_bench *b)
{
    const struct turns_options options = { .rpc_timeout_ms = BENCH_RPC_MS,
                                           .turn_timeout_ms = BENCH_TURN_MS,
                                           .park_ttl_ms = BENCH_TURN_MS,
                                           .parked_max = 2,
                                           .idle_ttl_ms = BENCH_TURN_MS,
                                           .idle_max = 2 };
    turn_bench_begin_with(b, &options);
}

/* Every message was looked at, every turn has ended. */
static inline void turn_bench_end(struct turn_bench *b)
{
    assert_int_equal(wire_waiting(&b->wire), 0);
    turns_free(b->turns);
    wire_end(&b->wire);
    loop_end(&b->loop);
}

static inline struct turn_plan turn_bench_plan(void)
{
    struct turn_plan plan = { json_pack("{s:s, s:[{s:s}, {s:s}]}", "model", "gpt-x", "dynamicTools",
                                        "name", "look", "name", "go"),
                              json_pack("[{s:s}]", "n", "1"), json_pack("{s:[]}", "input") };
    return plan;
}

/* ---- the worker's steps; the thread is named by its letter: 'a' has thread "th-a" and turn "tu-a" ---- */

static inline void turn_bench_open(struct turn_bench *b, char name)
{
    json_int_t id = wire_expect(&b->wire, "thread/start", NULL);
    char result[64];
    snprintf(result, sizeof(result), "{\"thread\":{\"id\":\"th-%c\"}}", name);
    wire_answer(&b->wire, id, result);
}

static inline void turn_bench_inject(struct turn_bench *b)
{
    wire_answer(&b->wire, wire_expect(&b->wire, "thread/inject_items", NULL), "{}");
}

static inline void turn_bench_start(struct turn_bench *b, char name)
{
    json_int_t id = wire_expect(&b->wire, "turn/start", NULL);
    char result[64];
    snprintf(result, sizeof(result), "{\"turn\":{\"id\":\"tu-%c\"}}", name);
    wire_answer(&b->wire, id, result);
}

/* From the plan to the running model. */
static inline void turn_bench_run(struct turn_bench *b, char name)
{
    turn_bench_open(b, name);
    turn_bench_inject(b);
    turn_bench_start(b, name);
}

/* A notification of the turn; `members` are further members of the params, with a comma before each. */
static inline void turn_bench_note(struct turn_bench *b, char name, const char *method,
                                   const char *members)
{
    assert_true(wire_hear(&b->wire,
                          "{\"method\":\"%s\",\"params\":{\"threadId\":\"th-%c\","
                          "\"turnId\":\"tu-%c\"%s}}",
                          method, name, name, members));
}

static inline void turn_bench_delta(struct turn_bench *b, char name, const char *item,
                                    const char *text)
{
    struct buf members = BUF_INIT;
    buf_printf(&members, ",\"itemId\":\"%s\",\"delta\":", item);
    json_quote(&members, text, strlen(text));
    turn_bench_note(b, name, "item/agentMessage/delta", buf_str(&members));
    buf_free(&members);
}

static inline void turn_bench_reason(struct turn_bench *b, char name, const char *text)
{
    struct buf members = BUF_INIT;
    buf_puts(&members, ",\"itemId\":\"rs\",\"delta\":");
    json_quote(&members, text, strlen(text));
    turn_bench_note(b, name, "item/reasoning/summaryTextDelta", buf_str(&members));
    buf_free(&members);
}

/* turn/completed; `turn` are members of the turn after its id, with a comma before each. */
static inline void turn_bench_complete(struct turn_bench *b, char name, const char *turn)
{
    assert_true(wire_hear(&b->wire,
                          "{\"method\":\"turn/completed\",\"params\":{\"threadId\":\"th-%c\","
                          "\"turn\":{\"id\":\"tu-%c\"%s}}}",
                          name, name, turn));
}

/* The model calls a function; `arguments` is JSON text. */
static inline void turn_bench_call(struct turn_bench *b, char name, const char *id,
                                   const char *tool, const char *arguments)
{
    struct buf members = BUF_INIT;
    buf_printf(&members,
               ",\"item\":{\"type\":\"function_call\",\"call_id\":\"%s\",\"name\":\"%s\","
               "\"arguments\":",
               id, tool);
    json_quote(&members, arguments, strlen(arguments));
    buf_putc(&members, '}');
    turn_bench_note(b, name, "rawResponseItem/completed", buf_str(&members));
    buf_free(&members);
}

/* A response of the model is over. */
static inline void turn_bench_response(struct turn_bench *b, char name)
{
    turn_bench_note(b, name, "rawResponse/completed", ",\"usage\":{\"totalTokens\":1}");
}

/* The worker asks for the result of a call. */
static inline void turn_bench_ask(struct turn_bench *b, char name, const char *request_id,
                                  const char *call_id)
{
    assert_true(wire_hear(&b->wire,
                          "{\"id\":%s,\"method\":\"item/tool/call\",\"params\":{\"threadId\":"
                          "\"th-%c\",\"turnId\":\"tu-%c\",\"callId\":\"%s\",\"tool\":\"look\","
                          "\"arguments\":{}}}",
                          request_id, name, name, call_id));
}

/* The thread is given back. */
static inline void turn_bench_release(struct turn_bench *b, char name)
{
    json_t *params = NULL;
    json_int_t id = wire_expect(&b->wire, "thread/unsubscribe", &params);
    char thread[8];
    snprintf(thread, sizeof(thread), "th-%c", name);
    assert_string_equal(json_str_at(params, "threadId"), thread);
    json_decref(params);
    wire_answer(&b->wire, id, "{}");
}

/* The interrupt that is waiting, answered and followed by its turn/completed. */
static inline void turn_bench_interrupt(struct turn_bench *b, char name)
{
    json_t *params = NULL;
    json_int_t id = wire_expect(&b->wire, "turn/interrupt", &params);
    char text[8];
    snprintf(text, sizeof(text), "th-%c", name);
    assert_string_equal(json_str_at(params, "threadId"), text);
    text[1] = 'u';
    assert_string_equal(json_str_at(params, "turnId"), text);
    json_decref(params);
    wire_answer(&b->wire, id, "{}");
    turn_bench_complete(b, name, ",\"status\":\"interrupted\"");
}

#endif

/* JSON-RPC: every call gets one answer, its own, whatever the worker says and in whatever order. */
#include "rpc.h"
#include "unit.h"
#include "wire.h"

#include <sodium.h>

#define FIRST_ID 7
#define LONG_MS 60000

struct bench {
    struct loop loop;
    struct wire wire;
};

/* What became of a call. */
struct caller {
    unsigned replies;
    enum rpc_status status;
    json_t *result; /* owned; NULL: none */
    int64_t code;
    char message[64];
    struct bench *bench;
    unsigned order;               /* of the reply among all */
    const struct caller *cancels; /* whose calls it cancels when it hears */
    bool frees;                   /* the rpc, when it hears */
};

static unsigned replies_so_far;

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    loop_begin(&b->loop);
    wire_begin(&b->wire, b->loop.deadlines, FIRST_ID);
    replies_so_far = 0;
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    wire_end(&b->wire);
    loop_end(&b->loop);
    free(b);
    return 0;
}

static void on_reply(void *ctx, const struct rpc_reply *reply)
{
    struct caller *c = ctx;
    c->replies++;
    c->order = ++replies_so_far;
    c->status = reply->status;
    c->result = reply->result != NULL ? json_deep_copy(reply->result) : NULL;
    c->code = reply->code;
    assert_int_equal(reply->message != NULL, reply->status == RPC_ERROR);
    snprintf(c->message, sizeof(c->message), "%s", reply->message != NULL ? reply->message : "");
    if (c->cancels != NULL)
        rpc_cancel(c->bench->wire.rpc, c->cancels);
    if (c->frees) {
        struct rpc *rpc = c->bench->wire.rpc;
        c->bench->wire.rpc = NULL;
        rpc_free(rpc);
    }
}

/* Calls "method/N" with {"n":N}, and returns the id that went out. */
static json_int_t call(struct bench *b, struct caller *c, int n, uint64_t timeout_ms)
{
    char method[16];
    snprintf(method, sizeof(method), "method/%d", n);
    c->bench = b;
    rpc_call(b->wire.rpc, method, json_pack("{s:i}", "n", n), timeout_ms, on_reply, c, NULL);
    assert_int_equal(c->replies, 0); /* never from within */
    if (b->wire.broken)
        return -1;
    json_t *params = NULL;
    json_int_t id = wire_expect(&b->wire, method, &params);
    assert_int_equal(json_int_at(params, "n", -1), n);
    json_decref(params);
    return id;
}

/* Ends the rpc while the callers of this test still live. */
static void hang_up(struct bench *b)
{
    rpc_free(b->wire.rpc);
    b->wire.rpc = NULL;
}

static bool was_answered(const void *ctx)
{
    const struct caller *c = ctx;
    return c->replies != 0;
}

static void wait_for(struct bench *b, const struct caller *c)
{
    loop_until(&b->loop, was_answered, c);
}

static void test_a_call_is_one_line_with_an_id_of_its_own(void **state)
{
    struct bench *b = *state;
    struct caller c[3] = { { 0 } };
    for (int i = 0; i < 3; i++)
        assert_int_equal(call(b, &c[i], i, LONG_MS), FIRST_ID + i);
    rpc_cancel(b->wire.rpc, &c[0]);
    assert_int_equal(call(b, &c[0], 3, LONG_MS), FIRST_ID + 3);
    hang_up(b);
}

static void test_a_call_without_params_has_no_such_member(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    rpc_call(b->wire.rpc, "account/read", NULL, LONG_MS, on_reply, &c, NULL);
    const json_t *message = json_array_get(b->wire.sent, 0);
    assert_int_equal(json_object_size(message), 2);
    assert_int_equal(wire_expect(&b->wire, "account/read", NULL), FIRST_ID);
    hang_up(b);
}

static void test_a_newline_in_params_does_not_cut_the_line(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    rpc_call(b->wire.rpc, "m", json_pack("{s:s}", "text", "a\nb\r\n"), LONG_MS, on_reply, &c, NULL);
    json_t *params = NULL;
    wire_expect(&b->wire, "m", &params);
    assert_string_equal(json_str_at(params, "text"), "a\nb\r\n");
    json_decref(params);
    hang_up(b);
}

static void test_answers_find_their_calls_in_any_order(void **state)
{
    struct bench *b = *state;
    struct caller c[4] = { { 0 } };
    json_int_t ids[4];
    for (int i = 0; i < 4; i++)
        ids[i] = call(b, &c[i], i, LONG_MS);
    static const int order[] = { 2, 0, 3, 1 };
    for (int i = 0; i < 4; i++) {
        char result[32];
        snprintf(result, sizeof(result), "{\"for\":%d}", order[i]);
        wire_answer(&b->wire, ids[order[i]], result);
        assert_int_equal(c[order[i]].order, i + 1);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(c[i].replies, 1);
        assert_int_equal(c[i].status, RPC_OK);
        assert_int_equal(json_int_at(c[i].result, "for", -1), i);
        json_decref(c[i].result);
    }
}

static void test_any_value_may_be_the_result(void **state)
{
    struct bench *b = *state;
    static const char *const results[] = { "null", "[]", "\"x\"", "7", "false" };
    for (size_t i = 0; i < COUNT_OF(results); i++) {
        struct caller c = { 0 };
        wire_answer(&b->wire, call(b, &c, 1, LONG_MS), results[i]);
        assert_int_equal(c.status, RPC_OK);
        json_t *wanted = json_parse(results[i], strlen(results[i]), NULL);
        assert_true(json_equal(c.result, wanted));
        json_decref(wanted);
        json_decref(c.result);
    }
}

static void test_an_error_comes_with_its_code_and_message(void **state)
{
    struct bench *b = *state;
    struct caller c[3] = { { 0 } };
    wire_answer_error(&b->wire, call(b, &c[0], 0, LONG_MS), -32600, "invalid");
    assert_int_equal(c[0].status, RPC_ERROR);
    assert_int_equal(c[0].code, -32600);
    assert_string_equal(c[0].message, "invalid");
    assert_null(c[0].result);
    json_int_t id = call(b, &c[1], 1, LONG_MS);
    assert_true(wire_hear(&b->wire, "{\"id\":%d,\"error\":{}}", (int)id));
    assert_int_equal(c[1].status, RPC_ERROR);
    assert_int_equal(c[1].code, 0);
    assert_string_equal(c[1].message, "");
    id = call(b, &c[2], 2, LONG_MS);
    assert_true(wire_hear(&b->wire, "{\"id\":%d,\"error\":\"text\"}", (int)id));
    assert_int_equal(c[2].status, RPC_ERROR);
}

static void test_an_error_that_is_null_is_none(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    json_int_t id = call(b, &c, 1, LONG_MS);
    assert_true(wire_hear(&b->wire, "{\"id\":%d,\"result\":{\"a\":1},\"error\":null}", (int)id));
    assert_int_equal(c.status, RPC_OK);
    assert_int_equal(json_int_at(c.result, "a", 0), 1);
    json_decref(c.result);
}

static void test_a_number_of_any_size_does_not_spoil_a_message(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    json_int_t id = call(b, &c, 1, LONG_MS);
    assert_true(wire_hear(&b->wire, "{\"method\":\"x\",\"params\":{\"n\":18446744073709551615}}"));
    assert_true(wire_hear(&b->wire, "{\"id\":%d,\"result\":{\"n\":18446744073709551615,\"m\":7}}",
                          (int)id));
    assert_int_equal(c.status, RPC_OK);
    assert_int_equal(json_int_at(c.result, "m", 0), 7);
    json_decref(c.result);
}

static void test_a_second_answer_is_dropped(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    json_int_t id = call(b, &c, 1, LONG_MS);
    wire_answer(&b->wire, id, "{}");
    wire_answer(&b->wire, id, "{}");
    wire_answer_error(&b->wire, id, -1, "x");
    assert_int_equal(c.replies, 1);
    json_decref(c.result);
}

static void test_an_answer_to_nothing_changes_nothing(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    json_int_t id = call(b, &c, 1, LONG_MS);
    static const char *const ids[] = {
        "0",    "6",   "8",  "-1",   "-9223372036854775808", "7.0", "\"7\"",
        "null", "[7]", "{}", "true", "9223372036854775807"
    };
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        assert_true(wire_hear(&b->wire, "{\"id\":%s,\"result\":{}}", ids[i]));
    assert_int_equal(c.replies, 0);
    wire_answer(&b->wire, id, "{}");
    assert_int_equal(c.replies, 1);
    json_decref(c.result);
}

static void test_garbage_is_told_apart_and_disturbs_no_call(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    json_int_t id = call(b, &c, 1, LONG_MS);
    static const char *const garbage[] = { "x",
                                           "{",
                                           "[]",
                                           "null",
                                           "7",
                                           "\"id\"",
                                           "{}",
                                           "{\"result\":{}}",
                                           "{\"id\":7,}",
                                           "{\"method\":7}",
                                           "{\"id\":7,\"result\":{}}{}",
                                           "\xff\xfe",
                                           "[{\"id\":7,\"result\":{}}]" };
    for (size_t i = 0; i < COUNT_OF(garbage); i++)
        assert_false(rpc_receive(b->wire.rpc, garbage[i], strlen(garbage[i])));
    assert_false(rpc_receive(b->wire.rpc, "", 0));
    assert_int_equal(c.replies, 0);
    wire_answer(&b->wire, id, "{}");
    assert_int_equal(c.replies, 1);
    json_decref(c.result);
}

static void test_a_call_that_is_not_answered_times_out_alone(void **state)
{
    struct bench *b = *state;
    struct caller slow = { 0 };
    struct caller quick = { 0 };
    json_int_t slow_id = call(b, &slow, 1, LONG_MS);
    json_int_t quick_id = call(b, &quick, 2, 5);
    wait_for(b, &quick);
    assert_int_equal(quick.status, RPC_TIMEOUT);
    assert_null(quick.result);
    assert_int_equal(slow.replies, 0);
    wire_answer(&b->wire, quick_id, "{}"); /* too late */
    assert_int_equal(quick.replies, 1);
    wire_answer(&b->wire, slow_id, "{}");
    assert_int_equal(slow.status, RPC_OK);
    json_decref(slow.result);
}

static void test_a_cancelled_caller_hears_nothing_and_the_others_do(void **state)
{
    struct bench *b = *state;
    struct caller gone = { 0 };
    struct caller stays = { 0 };
    json_int_t ids[5];
    for (int i = 0; i < 5; i++) /* first, middle and last are of the one that goes */
        ids[i] = call(b, i % 2 == 0 ? &gone : &stays, i, i == 2 ? 1 : LONG_MS);
    rpc_cancel(b->wire.rpc, &gone);
    rpc_cancel(b->wire.rpc, &gone);
    for (int i = 0; i < 5; i++)
        wire_answer(&b->wire, ids[i], "null");
    struct caller last = { 0 };
    call(b, &last, 9, 5);
    wait_for(b, &last); /* the deadline of the cancelled call has passed by then */
    assert_int_equal(gone.replies, 0);
    assert_int_equal(stays.replies, 2);
    json_decref(stays.result);
}

static void test_calls_are_lost_in_the_order_in_which_they_were_made(void **state)
{
    struct bench *b = *state;
    struct caller c[3] = { { 0 } };
    for (int i = 0; i < 3; i++)
        call(b, &c[i], i, LONG_MS);
    hang_up(b);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(c[i].replies, 1);
        assert_int_equal(c[i].status, RPC_LOST);
        assert_int_equal(c[i].order, i + 1);
    }
    rpc_free(NULL);
}

static void test_one_that_hears_of_the_loss_may_cancel_another(void **state)
{
    struct bench *b = *state;
    struct caller c[3] = { { 0 } };
    for (int i = 0; i < 3; i++)
        call(b, &c[i], i, LONG_MS);
    c[0].cancels = &c[1];
    hang_up(b);
    assert_int_equal(c[0].replies, 1);
    assert_int_equal(c[1].replies, 0);
    assert_int_equal(c[2].replies, 1);
}

static void test_a_reply_may_end_the_rpc(void **state)
{
    struct bench *b = *state;
    struct caller c[2] = { { .frees = true }, { 0 } };
    json_int_t id = call(b, &c[0], 0, LONG_MS);
    call(b, &c[1], 1, LONG_MS);
    assert_true(rpc_receive(b->wire.rpc, LITERAL("{\"id\":7,\"result\":null}")));
    assert_int_equal(id, 7);
    assert_int_equal(c[0].status, RPC_OK);
    assert_int_equal(c[1].status, RPC_LOST);
    json_decref(c[0].result);
}

static void test_a_write_that_fails_is_a_loss_that_comes_later(void **state)
{
    struct bench *b = *state;
    struct caller before = { 0 };
    struct caller c[2] = { { 0 } };
    json_int_t id = call(b, &before, 0, LONG_MS);
    b->wire.broken = true;
    call(b, &c[0], 1, LONG_MS);
    call(b, &c[1], 2, LONG_MS);
    wait_for(b, &c[1]);
    assert_int_equal(c[0].status, RPC_LOST);
    assert_int_equal(c[1].status, RPC_LOST);
    assert_int_equal(c[0].order, 1);
    assert_int_equal(before.replies, 0);
    wire_answer(&b->wire, id, "null");
    assert_int_equal(before.status, RPC_OK);
    json_decref(before.result);
}

static void test_an_unsent_call_can_be_cancelled(void **state)
{
    struct bench *b = *state;
    struct caller gone = { 0 };
    struct caller stays = { 0 };
    b->wire.broken = true;
    call(b, &gone, 1, LONG_MS);
    call(b, &stays, 2, LONG_MS);
    rpc_cancel(b->wire.rpc, &gone);
    wait_for(b, &stays);
    assert_int_equal(gone.replies, 0);
}

/* ---- a worker that is overloaded ---- */

#define OVERLOADED (-32001)
#define RETRIES_MAX 3

static bool has_message(const void *ctx)
{
    const struct bench *b = ctx;
    return wire_waiting(&b->wire) != 0;
}

static uint64_t now_ms(struct bench *b)
{
    uv_update_time(&b->loop.uv);
    return deadlines_now_ms(b->loop.deadlines);
}

/* Refuses the call of that id, and waits until it is made again; its new id. */
static json_int_t refuse(struct bench *b, json_int_t id)
{
    wire_answer_error(&b->wire, id, OVERLOADED, "overloaded");
    assert_int_equal(wire_waiting(&b->wire), 0); /* not at once */
    loop_until(&b->loop, has_message, b);
    json_t *params = NULL;
    json_int_t next = wire_expect(&b->wire, "method/5", &params);
    assert_int_equal(json_int_at(params, "n", -1), 5); /* the same once more */
    json_decref(params);
    return next;
}

static void test_an_overloaded_worker_is_asked_again_under_new_ids(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    json_int_t id = call(b, &c, 5, LONG_MS);
    uint64_t begun_ms = now_ms(b);
    for (int i = 0; i < RETRIES_MAX; i++) {
        uint64_t before_ms = now_ms(b);
        json_int_t next = refuse(b, id);
        assert_int_equal(next, id + 1);
        assert_true(now_ms(b) - before_ms >= (uint64_t)100 << i);
        wire_answer(&b->wire, id, "{\"of\":\"an earlier try\"}");
        assert_int_equal(c.replies, 0);
        id = next;
    }
    assert_true(now_ms(b) - begun_ms >= 700);
    wire_answer(&b->wire, id, "{\"a\":1}");
    assert_int_equal(c.replies, 1);
    assert_int_equal(c.status, RPC_OK);
    assert_int_equal(json_int_at(c.result, "a", 0), 1);
    json_decref(c.result);
}

static void test_a_worker_that_stays_overloaded_is_told_to_the_caller(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    json_int_t id = call(b, &c, 5, LONG_MS);
    for (int i = 0; i < RETRIES_MAX; i++)
        id = refuse(b, id);
    wire_answer_error(&b->wire, id, OVERLOADED, "overloaded");
    assert_int_equal(c.replies, 1);
    assert_int_equal(c.status, RPC_ERROR);
    assert_int_equal(c.code, OVERLOADED);
    assert_string_equal(c.message, "overloaded");
    assert_int_equal(wire_waiting(&b->wire), 0);
}

static void test_a_call_that_is_made_again_keeps_its_deadline(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    uint64_t begun_ms = now_ms(b);
    json_int_t id = call(b, &c, 5, 300);
    refuse(b, id); /* within 200 ms */
    wait_for(b, &c);
    assert_int_equal(c.status, RPC_TIMEOUT);
    assert_true(now_ms(b) - begun_ms >= 299);
    assert_int_equal(c.replies, 1);
}

static void test_a_pause_that_would_outlast_the_deadline_is_not_made(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    json_int_t id = call(b, &c, 5, 90);
    wire_answer_error(&b->wire, id, OVERLOADED, "overloaded");
    assert_int_equal(c.replies, 1);
    assert_int_equal(c.status, RPC_ERROR);
    assert_int_equal(c.code, OVERLOADED);
}

static void test_in_a_pause_nothing_is_an_answer(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    json_int_t id = call(b, &c, 5, LONG_MS);
    wire_answer_error(&b->wire, id, OVERLOADED, "overloaded");
    wire_answer(&b->wire, id, "{}");
    wire_answer(&b->wire, 0, "{}");
    wire_answer_error(&b->wire, id, OVERLOADED, "overloaded");
    assert_int_equal(c.replies, 0);
    hang_up(b);
    assert_int_equal(c.replies, 1);
    assert_int_equal(c.status, RPC_LOST);
}

static void test_a_call_that_is_cancelled_in_a_pause_is_not_made_again(void **state)
{
    struct bench *b = *state;
    struct caller gone = { 0 };
    struct caller last = { 0 };
    json_int_t id = call(b, &gone, 5, LONG_MS);
    wire_answer_error(&b->wire, id, OVERLOADED, "overloaded");
    rpc_cancel(b->wire.rpc, &gone);
    call(b, &last, 9, 250); /* no pause is longer than 200 ms */
    wait_for(b, &last);
    assert_int_equal(last.status, RPC_TIMEOUT);
    assert_int_equal(gone.replies, 0);
    assert_int_equal(wire_waiting(&b->wire), 0);
}

static void test_a_call_that_cannot_be_made_again_is_lost(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    json_int_t id = call(b, &c, 5, LONG_MS);
    wire_answer_error(&b->wire, id, OVERLOADED, "overloaded");
    b->wire.broken = true;
    wait_for(b, &c);
    assert_int_equal(c.status, RPC_LOST);
}

/* ---- what the worker asks and tells ---- */

static void test_a_request_can_be_answered_under_its_own_id(void **state)
{
    struct bench *b = *state;
    static const char *const ids[] = { "1", "\"abc\"", "null", "-5", "7" };
    struct caller c = { 0 };
    json_int_t call_id = call(b, &c, 1, LONG_MS);
    assert_int_equal(call_id, 7); /* the worker's ids are its own: 7 is not an answer */
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        assert_true(
            wire_hear(&b->wire, "{\"id\":%s,\"method\":\"ask\",\"params\":{\"a\":1}}", ids[i]));
        const json_t *request = json_array_get(b->wire.requests, i);
        assert_string_equal(json_string_value(json_array_get(request, 1)), "ask");
        const json_t *id = json_array_get(request, 0);
        rpc_answer(b->wire.rpc, id, json_pack("{s:b}", "success", 1));
        rpc_refuse(b->wire.rpc, id, "no \"requests\"");
        const json_t *answer = json_array_get(b->wire.sent, 2 * i);
        const json_t *refusal = json_array_get(b->wire.sent, 2 * i + 1);
        assert_true(json_equal(json_object_get(answer, "id"), id));
        assert_int_equal(json_object_size(answer), 2);
        assert_int_equal(json_bool_at(answer, "result.success", 0), 1);
        assert_true(json_equal(json_object_get(refusal, "id"), id));
        assert_int_equal(json_object_size(refusal), 2);
        assert_int_equal(json_int_at(refusal, "error.code", 0), -32601);
        assert_string_equal(json_str_at(refusal, "error.message"), "no \"requests\"");
    }
    assert_int_equal(c.replies, 0);
    hang_up(b);
}

struct note {
    unsigned count;
    char method[32];
    json_t *params; /* owned */
    struct wire *ends;
};

static void on_note(void *ctx, const struct rpc_message *note)
{
    struct note *n = ctx;
    n->count++;
    snprintf(n->method, sizeof(n->method), "%s", note->method);
    json_decref(n->params);
    n->params = json_deep_copy(note->params);
    if (n->ends != NULL) {
        struct rpc *rpc = n->ends->rpc;
        n->ends->rpc = NULL;
        rpc_free(rpc);
    }
}

static void test_a_message_without_an_id_is_a_notification(void **state)
{
    struct bench *b = *state;
    struct note n = { 0 };
    b->wire.on_notification = on_note;
    b->wire.ctx = &n;
    assert_true(wire_hear(&b->wire, "{\"method\":\"a/b\",\"params\":{\"x\":[1]},\"more\":1}"));
    assert_int_equal(n.count, 1);
    assert_string_equal(n.method, "a/b");
    assert_int_equal(json_array_size(json_object_get(n.params, "x")), 1);
    assert_true(wire_hear(&b->wire, "{\"method\":\"bare\"}"));
    assert_int_equal(n.count, 2);
    assert_null(n.params);
    assert_int_equal(json_array_size(b->wire.requests), 0);
}

static void test_a_notification_may_end_the_rpc(void **state)
{
    struct bench *b = *state;
    struct caller c = { 0 };
    struct note n = { .ends = &b->wire };
    b->wire.on_notification = on_note;
    b->wire.ctx = &n;
    call(b, &c, 1, LONG_MS);
    assert_true(wire_hear(&b->wire, "{\"method\":\"last\",\"params\":{}}"));
    assert_int_equal(c.status, RPC_LOST);
    json_decref(n.params);
}

static void test_our_notifications_have_a_method_and_no_id(void **state)
{
    struct bench *b = *state;
    rpc_notify(b->wire.rpc, "initialized");
    const json_t *message = json_array_get(b->wire.sent, 0);
    assert_int_equal(json_object_size(message), 1);
    assert_string_equal(json_str_at(message, "method"), "initialized");
}

#define RPC_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RPC_TEST(test_a_call_is_one_line_with_an_id_of_its_own),
        RPC_TEST(test_a_call_without_params_has_no_such_member),
        RPC_TEST(test_a_newline_in_params_does_not_cut_the_line),
        RPC_TEST(test_answers_find_their_calls_in_any_order),
        RPC_TEST(test_any_value_may_be_the_result),
        RPC_TEST(test_an_error_comes_with_its_code_and_message),
        RPC_TEST(test_an_error_that_is_null_is_none),
        RPC_TEST(test_a_number_of_any_size_does_not_spoil_a_message),
        RPC_TEST(test_a_second_answer_is_dropped),
        RPC_TEST(test_an_answer_to_nothing_changes_nothing),
        RPC_TEST(test_garbage_is_told_apart_and_disturbs_no_call),
        RPC_TEST(test_a_call_that_is_not_answered_times_out_alone),
        RPC_TEST(test_a_cancelled_caller_hears_nothing_and_the_others_do),
        RPC_TEST(test_calls_are_lost_in_the_order_in_which_they_were_made),
        RPC_TEST(test_one_that_hears_of_the_loss_may_cancel_another),
        RPC_TEST(test_a_reply_may_end_the_rpc),
        RPC_TEST(test_a_write_that_fails_is_a_loss_that_comes_later),
        RPC_TEST(test_an_unsent_call_can_be_cancelled),
        RPC_TEST(test_an_overloaded_worker_is_asked_again_under_new_ids),
        RPC_TEST(test_a_worker_that_stays_overloaded_is_told_to_the_caller),
        RPC_TEST(test_a_call_that_is_made_again_keeps_its_deadline),
        RPC_TEST(test_a_pause_that_would_outlast_the_deadline_is_not_made),
        RPC_TEST(test_in_a_pause_nothing_is_an_answer),
        RPC_TEST(test_a_call_that_is_cancelled_in_a_pause_is_not_made_again),
        RPC_TEST(test_a_call_that_cannot_be_made_again_is_lost),
        RPC_TEST(test_a_request_can_be_answered_under_its_own_id),
        RPC_TEST(test_a_message_without_an_id_is_a_notification),
        RPC_TEST(test_a_notification_may_end_the_rpc),
        RPC_TEST(test_our_notifications_have_a_method_and_no_id),
    };
    json_setup();
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A worker played by the test: what rpc writes is kept, what the worker says is fed in. */
#ifndef WIRE_H
#define WIRE_H

#include "json.h"
#include "loop.h"
#include "rpc.h"
#include "unit.h"

struct wire {
    struct rpc *rpc; /* owned */
    json_t *sent;    /* owned: messages that the test has not looked at, oldest first */
    bool broken;     /* writes fail */
    void (*on_notification)(void *ctx, const struct rpc_message *note);
    /* Of a request of the worker's; false, or no such function: it goes to `requests`. */
    bool (*on_request)(void *ctx, const struct rpc_message *request);
    void *ctx;        /* borrowed */
    json_t *requests; /* owned: [id, method, params] of those that the worker made */
};

static inline bool wire_write(void *ctx, char *bytes, size_t len)
{
    struct wire *w = ctx;
    if (!w->broken) {
        assert_int_equal(bytes[len - 1], '\n');
        assert_ptr_equal(memchr(bytes, '\n', len), bytes + len - 1);
        json_t *message = json_parse(bytes, len, NULL);
        assert_non_null(message);
        assert_null(json_object_get(message, "jsonrpc"));
        json_array_append_new(w->sent, message);
    }
    free(bytes);
    return !w->broken;
}

static inline void wire_on_notification(void *ctx, const struct rpc_message *note)
{
    struct wire *w = ctx;
    if (w->on_notification != NULL)
        w->on_notification(w->ctx, note);
}

static inline void wire_on_request(void *ctx, const struct rpc_message *request)
{
    struct wire *w = ctx;
    if (w->on_request != NULL && w->on_request(w->ctx, request))
        return;
    json_array_append_new(w->requests,
                          json_pack("[O, s, O?]", request->id, request->method, request->params));
}

static const struct rpc_handlers wire_handlers = { wire_write, wire_on_notification,
                                                   wire_on_request };

static inline void wire_begin(struct wire *w, struct deadlines *deadlines, uint64_t first_id)
{
    *w = (struct wire){ .sent = json_array(), .requests = json_array() };
    w->rpc = rpc_new(deadlines, first_id, &wire_handlers, w);
}

static inline void wire_end(struct wire *w)
{
    rpc_free(w->rpc);
    json_decref(w->sent);
    json_decref(w->requests);
    *w = (struct wire){ .rpc = NULL };
}

static inline size_t wire_waiting(const struct wire *w)
{
    return json_array_size(w->sent);
}

/* Takes the oldest message, which must be a call of `method`; its params go to the caller if asked for. */
static inline json_int_t wire_expect(struct wire *w, const char *method, json_t **ret_params)
{
    json_t *message = json_incref(json_array_get(w->sent, 0));
    assert_non_null(message);
    json_array_remove(w->sent, 0);
    assert_string_equal(json_str_at(message, "method"), method);
    assert_true(json_is_integer(json_object_get(message, "id")));
    json_int_t id = json_int_at(message, "id", -1);
    if (ret_params != NULL)
        *ret_params = json_incref(json_object_get(message, "params"));
    json_decref(message);
    return id;
}

/* Takes the oldest message, which must be the answer to the worker's request of that id. */
static inline void wire_expect_answer(struct wire *w, const char *id_text, const char *result_text)
{
    char *text = NULL;
    assert_true(asprintf(&text, "{\"id\":%s,\"result\":%s}", id_text, result_text) > 0);
    json_t *wanted = json_parse(text, strlen(text), NULL);
    assert_non_null(wanted);
    json_t *got = json_array_get(w->sent, 0);
    assert_non_null(got);
    assert_true(json_equal(got, wanted));
    json_array_remove(w->sent, 0);
    json_decref(wanted);
    free(text);
}

/* The worker says this line. */
__attribute__((format(printf, 2, 3))) static inline bool wire_hear(struct wire *w,
                                                                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *line = NULL;
    int len = vasprintf(&line, format, args);
    va_end(args);
    assert_true(len >= 0);
    bool understood = rpc_receive(w->rpc, line, (size_t)len);
    free(line);
    return understood;
}

static inline void wire_answer(struct wire *w, json_int_t id, const char *result)
{
    assert_true(wire_hear(w, "{\"id\":%lld,\"result\":%s}", (long long)id, result));
}

static inline void wire_answer_error(struct wire *w, json_int_t id, int code, const char *message)
{
    assert_true(wire_hear(w, "{\"id\":%lld,\"error\":{\"code\":%d,\"message\":\"%s\"}}",
                          (long long)id, code, message));
}

#endif

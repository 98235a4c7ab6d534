/* Input: the body of a chat completion. It is refused with a whole error, or becomes a plan that asks the worker for
 * nothing but what is ours to ask; and how the client wrote the JSON down changes nothing. */
#include "chat_request.h"
#include "conversation.h"
#include "fuzz.h"
#include "message.h"
#include "plan.h"
#include "schema.h"

#include <sodium.h>

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; text != NULL && i < count; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

#define ONE_OF(text, ...)                                                                          \
    is_one_of(text, (const char *const[]){ __VA_ARGS__ },                                          \
              COUNT_OF(((const char *const[]){ __VA_ARGS__ })))

static bool is_utf8(const char *text)
{
    json_t *string = json_string(text);
    json_decref(string);
    return string != NULL;
}

/* ---- a refusal ---- */

static void check_error(const struct api_error *e)
{
    struct buf text = BUF_INIT;
    FUZZ_CHECK(e->status == 400);
    FUZZ_CHECK(e->type != NULL && strcmp(e->type, "invalid_request_error") == 0);
    FUZZ_CHECK(e->code == NULL || *e->code != '\0');
    FUZZ_CHECK(e->message[0] != '\0' && strlen(e->message) < sizeof(e->message));
    FUZZ_CHECK(strlen(e->param) < sizeof(e->param));
    FUZZ_CHECK(is_utf8(e->message) && is_utf8(e->param));
    api_error_write(e, &text);
    json_t *envelope = json_parse(text.data, text.len, NULL);
    FUZZ_CHECK(envelope != NULL);
    FUZZ_CHECK(strcmp(json_str_at(envelope, "error.message"), e->message) == 0);
    FUZZ_CHECK(json_object_size(json_object_get(envelope, "error")) == 5);
    FUZZ_CHECK(json_is_false(json_at(envelope, "error.retryable")));
    json_decref(envelope);
    buf_free(&text);
}

/* ---- a plan ---- */

static void check_thread(const json_t *thread)
{
    const char *name = NULL;
    json_t *value = NULL;
    size_t i = 0;
    json_object_foreach((json_t *)(uintptr_t)thread, name, value)
    {
        FUZZ_CHECK(ONE_OF(name, "model", "ephemeral", "baseInstructions", "environments",
                          "experimentalRawEvents", "approvalPolicy", "sandbox", "dynamicTools",
                          "config"));
    }
    FUZZ_CHECK(json_is_true(json_object_get(thread, "ephemeral")));
    FUZZ_CHECK(json_is_array(json_object_get(thread, "environments")));
    FUZZ_CHECK(json_array_size(json_object_get(thread, "environments")) == 0);
    FUZZ_CHECK(strcmp(json_str_at(thread, "approvalPolicy"), "never") == 0);
    FUZZ_CHECK(strcmp(json_str_at(thread, "sandbox"), "read-only") == 0);
    FUZZ_CHECK(*json_str_at(thread, "baseInstructions") == '\0');
    json_object_foreach(json_object_get(thread, "config"), name, value)
    {
        FUZZ_CHECK(strcmp(name, "model_verbosity") == 0);
        FUZZ_CHECK(ONE_OF(json_string_value(value), "low", "medium", "high"));
    }
    FUZZ_CHECK(json_array_size(json_object_get(thread, "dynamicTools")) <= TOOLSET_MAX);
    json_array_foreach(json_object_get(thread, "dynamicTools"), i, value)
    {
        char client[TOOLSET_NAME_SIZE];
        char worker[TOOLSET_NAME_SIZE];
        FUZZ_CHECK(json_object_size(value) == 4);
        FUZZ_CHECK(strcmp(json_str_at(value, "type"), "function") == 0);
        FUZZ_CHECK(json_is_string(json_object_get(value, "description")));
        FUZZ_CHECK(json_is_object(json_object_get(value, "inputSchema")));
        FUZZ_CHECK(!json_deeper_than(json_object_get(value, "inputSchema"), TOOLSET_DEPTH_MAX));
        toolset_client_name(json_str_at(value, "name"), client);
        toolset_worker_name(client, worker);
        FUZZ_CHECK(toolset_name_ok(client));
        FUZZ_CHECK(strcmp(json_str_at(value, "name"), worker) == 0);
    }
}

static void check_parts(const json_t *parts, const char *text_type)
{
    size_t i = 0;
    const json_t *part = NULL;
    FUZZ_CHECK(json_is_array(parts));
    json_array_foreach(parts, i, part)
    {
        const char *type = json_str_at(part, "type");
        if (ONE_OF(type, "input_image")) {
            FUZZ_CHECK(strncasecmp(json_str_at(part, "image_url"), "data:image/", 11) == 0);
            FUZZ_CHECK(
                json_object_get(part, "detail") == NULL
                    ? json_object_size(part) == 2
                    : ONE_OF(json_str_at(part, "detail"), "auto", "low", "high", "original") &&
                          json_object_size(part) == 3);
        } else {
            FUZZ_CHECK(type != NULL && strcmp(type, text_type) == 0);
            FUZZ_CHECK(json_is_string(json_object_get(part, "text")));
            FUZZ_CHECK(json_object_size(part) == 2);
        }
    }
}

static void check_item(const json_t *item)
{
    const char *type = json_str_at(item, "type");
    if (ONE_OF(type, "message")) {
        const char *role = json_str_at(item, "role");
        FUZZ_CHECK(ONE_OF(role, "developer", "user", "assistant"));
        FUZZ_CHECK(json_object_size(item) == 3);
        check_parts(json_object_get(item, "content"), *role == 'a' ? "output_text" : "input_text");
    } else if (ONE_OF(type, "function_call")) {
        FUZZ_CHECK(json_str_at(item, "call_id") != NULL);
        FUZZ_CHECK(json_str_at(item, "name") != NULL);
        FUZZ_CHECK(json_str_at(item, "arguments") != NULL);
        FUZZ_CHECK(json_object_size(item) == 4);
    } else {
        const json_t *output = json_object_get(item, "output");
        FUZZ_CHECK(ONE_OF(type, "function_call_output"));
        FUZZ_CHECK(json_str_at(item, "call_id") != NULL);
        FUZZ_CHECK(json_object_size(item) == 3);
        if (!json_is_string(output))
            check_parts(output, "input_text");
    }
}

/* A call that has no result would be given one by the worker. */
static void check_calls_are_answered(const json_t *items)
{
    size_t i = 0;
    size_t calls = 0;
    size_t outputs = 0;
    const json_t *item = NULL;
    json_array_foreach(items, i, item)
    {
        check_item(item);
        calls += ONE_OF(json_str_at(item, "type"), "function_call");
        outputs += ONE_OF(json_str_at(item, "type"), "function_call_output");
    }
    FUZZ_CHECK(calls == outputs);
}

static void check_start(const json_t *start)
{
    const char *name = NULL;
    const json_t *value = NULL;
    const json_t *schema = json_object_get(start, "outputSchema");
    struct api_error error;
    json_object_foreach((json_t *)(uintptr_t)start, name, value)
    {
        FUZZ_CHECK(ONE_OF(name, "input", "summary", "effort", "outputSchema", "serviceTier"));
    }
    FUZZ_CHECK(json_is_array(json_object_get(start, "input")));
    FUZZ_CHECK(json_array_size(json_object_get(start, "input")) == 0);
    FUZZ_CHECK(json_object_get(start, "serviceTier") == NULL ||
               ONE_OF(json_str_at(start, "serviceTier"), "priority", "flex"));
    FUZZ_CHECK(schema == NULL || schema_check_strict(schema, "", &error));
}

/* What is asked of the worker can be written as JSON and says the same when it is read. */
static void check_json(const json_t *value)
{
    struct buf text = BUF_INIT;
    json_write(&text, value);
    FUZZ_CHECK(memchr(text.data, '\n', text.len) == NULL);
    json_t *again = json_parse(text.data, text.len, NULL);
    FUZZ_CHECK(again != NULL && json_equal(again, value));
    json_decref(again);
    buf_free(&text);
}

/* ---- a request ---- */

struct digests {
    unsigned char parked[TURN_DIGEST_BYTES];
    unsigned char idle[TURN_DIGEST_BYTES];
};

static void check_plan(const struct chat_request *r, struct digests *ret)
{
    const struct plan_options options = { r->model, r->effort, "auto" };
    struct turn_plan plan;
    plan_make(&plan, r, &options);
    check_thread(plan.thread);
    check_calls_are_answered(plan.items);
    check_start(plan.start);
    check_json(plan.thread);
    check_json(plan.items);
    check_json(plan.start);
    struct conversation *c = conversation_new("me", &plan);
    conversation_digest_seen(c, true, ret->parked);
    conversation_digest_seen(c, false, ret->idle);
    FUZZ_CHECK(conversation_new_items(c) <= json_array_size(plan.items));
    FUZZ_CHECK(memcmp(ret->parked, ret->idle, TURN_DIGEST_BYTES) != 0);
    conversation_free(c);
    turn_plan_free(&plan);
}

static void check_request(const struct chat_request *r)
{
    struct stop stop = { .count = 0 };
    struct buf out = BUF_INIT;
    FUZZ_CHECK(r->model != NULL && json_array_size(r->messages) != 0);
    FUZZ_CHECK(r->choices >= 1 && r->choices <= CHAT_CHOICES_MAX);
    FUZZ_CHECK(!r->include_usage || r->stream);
    FUZZ_CHECK(r->ignored.len == 0 || memchr(r->ignored.data, '\n', r->ignored.len) == NULL);
    chat_request_stops(r, &stop);
    FUZZ_CHECK(stop.count <= STOP_MAX);
    (void)stop_take(&stop, "text", 4, &out);
    stop_free(&stop);
    buf_free(&out);
    (void)messages_have_images(r->messages);
}

static bool parse(const char *body, size_t len, struct chat_request *ret, struct api_error *error,
                  struct digests *ret_digests)
{
    if (!chat_request_parse(ret, body, len, error)) {
        check_error(error);
        return false;
    }
    check_request(ret);
    check_plan(ret, ret_digests);
    return true;
}

/* The same document with other spaces and escapes. */
static void check_other_spelling(const struct chat_request *r, bool accepted,
                                 const struct api_error *error, const struct digests *digests)
{
    struct chat_request other;
    struct api_error other_error;
    struct digests other_digests;
    char *text = json_dumps(r->root, JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    FUZZ_CHECK(text != NULL);
    FUZZ_CHECK(parse(text, strlen(text), &other, &other_error, &other_digests) == accepted);
    if (accepted)
        FUZZ_CHECK(memcmp(&other_digests, digests, sizeof(*digests)) == 0);
    else
        FUZZ_CHECK(strcmp(other_error.message, error->message) == 0 &&
                   strcmp(other_error.param, error->param) == 0);
    chat_request_free(&other);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    struct chat_request request;
    struct api_error error;
    struct digests digests;
    if (!ready) {
        json_setup();
        FUZZ_CHECK(sodium_init() >= 0);
        ready = true;
    }
    bool accepted = parse((const char *)data, size, &request, &error, &digests);
    if (request.root != NULL)
        check_other_spelling(&request, accepted, &error, &digests);
    chat_request_free(&request);
    chat_request_free(&request);
    return 0;
}

/* What the body of one response says. */
#include "answer.h"

#include "json.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
    "done", "done_unfinished", "error_frame", "clean_done_on_error", "cut",  "reset", "refused",
    "hang", "malformed",       "aborted",     "local_error",         "http", NULL,
};

/* ---- content ---- */

static void check_text(struct answer *a, const char *text, size_t len)
{
    const struct expected *e = a->expected;
    if (e->text == NULL || a->differs)
        return;
    uint64_t at = a->content_bytes;
    a->differs = at + len > e->text_len || memcmp(e->text + at, text, len) != 0;
}

static void take_content(struct answer *a, const json_t *text)
{
    size_t len = json_string_length(text);
    if (len == 0)
        return;
    if (a->first_content_ns == 0)
        a->first_content_ns = a->now_ns;
    check_text(a, json_string_value(text), len);
    if (a->expected->has_sha256)
        crypto_hash_sha256_update(&a->digest, (const unsigned char *)json_string_value(text), len);
    a->content_bytes += len;
}

/* The content is complete: nothing may be missing. */
static void check_whole(struct answer *a)
{
    const struct expected *e = a->expected;
    if (e->text != NULL && a->content_bytes != e->text_len)
        a->differs = true;
    if (!e->has_sha256)
        return;
    unsigned char sha256[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&a->digest, sha256);
    if (memcmp(sha256, e->sha256, sizeof(sha256)) != 0)
        a->differs = true;
}

/* ---- frames ---- */

static void take_choice(struct answer *a, const json_t *choice)
{
    const json_t *calls = json_at(choice, "delta.tool_calls");
    take_content(a, json_at(choice, "delta.content"));
    if (json_array_size(calls) != 0 && a->first_content_ns == 0)
        a->first_content_ns = a->now_ns;
    if (json_is_string(json_at(choice, "finish_reason")))
        a->saw_finish = true;
}

static void take_chunk(struct answer *a, const char *data, size_t len)
{
    const char *why = NULL;
    json_t *chunk = json_parse(data, len, &why);
    if (!json_is_object(chunk)) {
        a->broken = "a frame that is no JSON object";
    } else if (json_is_object(json_at(chunk, "error"))) {
        a->saw_error = true;
    } else if (!json_is_array(json_at(chunk, "choices"))) {
        a->broken = "a frame without choices";
    } else if (json_array_size(json_at(chunk, "choices")) != 0) {
        take_choice(a, json_array_get(json_at(chunk, "choices"), 0));
    }
    json_decref(chunk);
}

static void on_event(void *ctx, const char *data, size_t len)
{
    struct answer *a = ctx;
    if (a->frames++ != 0)
        a->gap(a->ctx, a->now_ns - a->frame_ns);
    a->frame_ns = a->now_ns;
    if (a->saw_done)
        a->broken = "a frame after [DONE]";
    else if (len == 6 && memcmp(data, "[DONE]", 6) == 0)
        a->saw_done = true;
    else
        take_chunk(a, data, len);
}

static bool is_success(const struct response *r)
{
    return r->status >= 200 && r->status <= 299;
}

void answer_feed(struct answer *a, const struct response *r, const char *data, size_t len,
                 uint64_t now_ns)
{
    a->now_ns = now_ns;
    if (a->broken != NULL)
        return;
    if (a->is_stream && is_success(r) && r->is_sse) {
        if (!sse_feed(&a->sse, data, len))
            a->broken = a->sse.broken;
    } else if (a->body.len + len > ANSWER_BODY_MAX) {
        a->broken = "the body is too long";
    } else {
        buf_append(&a->body, data, len);
    }
}

/* ---- outcome ---- */

static const char *end_of_stream(const struct answer *a, const struct response *r,
                                 enum ending ending)
{
    if (!r->is_sse || a->broken != NULL)
        return "malformed";
    if (a->saw_error)
        return a->saw_done ? "clean_done_on_error" : "error_frame";
    if (a->saw_done)
        return a->saw_finish ? "done" : "done_unfinished";
    return ending == ENDING_RESET ? "reset" : "cut";
}

static const char *end_of_unary(struct answer *a, const struct response *r)
{
    const char *why = NULL;
    json_t *body = a->broken == NULL ? json_parse(a->body.data, a->body.len, &why) : NULL;
    const json_t *choice = json_array_get(json_at(body, "choices"), 0);
    const char *name = "malformed";
    if (r->is_json && json_is_string(json_at(choice, "finish_reason"))) {
        name = "done";
        take_content(a, json_at(choice, "message.content"));
    }
    json_decref(body);
    return name;
}

/* What a server calls an error goes into a name only as far as it looks like one. */
static void put_code(char name[OUTCOME_SIZE], const char *code)
{
    size_t at = strlen(name);
    if (code == NULL || *code == '\0')
        return;
    name[at++] = ':';
    for (; *code != '\0' && at < OUTCOME_SIZE - 1; code++)
        name[at++] = isalnum((unsigned char)*code) ? *code : '_';
    name[at] = '\0';
}

static void name_status(struct answer *a, const struct response *r, char ret_name[OUTCOME_SIZE])
{
    const char *why = NULL;
    snprintf(ret_name, OUTCOME_SIZE, "http_%03d", r->status);
    json_t *body = a->body.len != 0 ? json_parse(a->body.data, a->body.len, &why) : NULL;
    const char *code = json_str_at(body, "error.code");
    put_code(ret_name, code != NULL ? code : json_str_at(body, "error.type"));
    json_decref(body);
}

/* The name that does not depend on what was answered; NULL when it does. */
static const char *end_of_exchange(const struct response *r, enum ending ending)
{
    switch (ending) {
    case ENDING_REFUSED:
        return "refused";
    case ENDING_LOCAL:
        return "local_error";
    case ENDING_BROKEN:
        return "malformed";
    case ENDING_TIMEOUT:
        return "hang";
    case ENDING_LEFT:
        return "aborted";
    case ENDING_EOF:
        return r->head_done ? NULL : "cut";
    case ENDING_RESET:
        return r->head_done ? NULL : "reset";
    case ENDING_BODY:
        break;
    }
    return NULL;
}

static const char *end_of_answer(struct answer *a, const struct response *r, enum ending ending)
{
    if (is_success(r) && a->is_stream)
        return end_of_stream(a, r, ending);
    if (ending != ENDING_BODY)
        return ending == ENDING_RESET ? "reset" : "cut";
    return is_success(r) ? end_of_unary(a, r) : NULL;
}

void answer_end(struct answer *a, const struct response *r, enum ending ending,
                char ret_name[OUTCOME_SIZE])
{
    const char *name = end_of_exchange(r, ending);
    if (name == NULL)
        name = end_of_answer(a, r, ending);
    if (name == NULL) {
        name_status(a, r, ret_name);
        return;
    }
    snprintf(ret_name, OUTCOME_SIZE, "%s", name);
    if (strcmp(name, "done") == 0)
        check_whole(a);
}

bool outcome_is_known(const char *name, size_t len)
{
    for (size_t i = 0; names[i] != NULL; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return true;
    return len >= 8 && memcmp(name, "http_", 5) == 0 && isdigit((unsigned char)name[5]) &&
           (len == 8 || name[8] == ':');
}

bool outcome_matches(const char *name, const char *item, size_t item_len)
{
    size_t name_len = strlen(name);
    if (item_len == 8 && strncmp(item + 6, "xx", 2) == 0)
        return strncmp(name, item, 6) == 0;
    if (item_len > name_len || memcmp(name, item, item_len) != 0)
        return false;
    if (name_len == item_len || (item_len == 4 && memcmp(item, "http", 4) == 0))
        return name_len == item_len || name[4] == '_';
    return strncmp(item, "http_", 5) == 0 && item_len == 8 && name[8] == ':';
}

void answer_init(struct answer *a, bool is_stream, const struct expected *expected,
                 answer_gap_fn gap, void *ctx)
{
    *a = (struct answer){
        .is_stream = is_stream, .expected = expected, .gap = gap, .ctx = ctx, .body = BUF_INIT
    };
    sse_init(&a->sse, on_event, a);
    if (expected->has_sha256)
        crypto_hash_sha256_init(&a->digest);
}

void answer_free(struct answer *a)
{
    sse_free(&a->sse);
    buf_free(&a->body);
}

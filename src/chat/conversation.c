/* Recognises a conversation that is carried on. */
#include "conversation.h"

#include "message.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* A running BLAKE2b over pieces that cannot be mistaken for one another: each goes in behind its length. */
struct conversation {
    crypto_generichash_state seen; /* principal, thread, history up to the model's last word */
    crypto_generichash_state all;  /* and the rest of the history */
    unsigned char start_hash[crypto_generichash_BYTES]; /* of the parameters of turn/start */
    size_t new_items;
};

static void feed(crypto_generichash_state *state, const void *bytes, size_t len)
{
    unsigned char length[8];
    for (size_t i = 0; i < sizeof(length); i++)
        length[i] = (unsigned char)(len >> (8 * i));
    crypto_generichash_update(state, length, sizeof(length));
    crypto_generichash_update(state, bytes, len);
}

static int feed_piece(const char *bytes, size_t len, void *state)
{
    return crypto_generichash_update(state, (const unsigned char *)bytes, len);
}

/* The order of members does not count. */
static void feed_json(crypto_generichash_state *state, const json_t *value)
{
    unsigned char hash[crypto_generichash_BYTES];
    crypto_generichash_state inner;
    crypto_generichash_init(&inner, NULL, 0, sizeof(hash));
    (void)json_dump_callback(value, feed_piece, &inner,
                             JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    crypto_generichash_final(&inner, hash, sizeof(hash));
    feed(state, hash, sizeof(hash));
}

static bool is_type(const json_t *item, const char *wanted)
{
    const char *type = json_str_at(item, "type");
    return type != NULL && strcmp(type, wanted) == 0;
}

/* Clients parse the arguments of a call and write them anew: they count as the value that they are. */
static void feed_item(crypto_generichash_state *state, const json_t *item)
{
    const json_t *text = json_object_get(item, "arguments");
    json_t *arguments = NULL;
    if (is_type(item, "function_call") && json_is_string(text))
        arguments = json_parse(json_string_value(text), json_string_length(text), NULL);
    if (arguments == NULL) {
        feed_json(state, item);
        return;
    }
    json_t *copy = json_copy((json_t *)(uintptr_t)item);
    json_object_set_new(copy, "arguments", arguments);
    feed_json(state, copy);
    json_decref(copy);
}

static bool is_models_word(const json_t *item)
{
    const char *role = json_str_at(item, "role");
    return is_type(item, "function_call") || (role != NULL && strcmp(role, "assistant") == 0);
}

struct conversation *conversation_new(const char *principal, const struct turn_plan *plan)
{
    /* The states of libsodium are aligned to 64 bytes. */
    struct conversation *c = xcalloc_aligned(_Alignof(struct conversation), sizeof(*c));
    crypto_generichash_state start;
    size_t count = json_array_size(plan->items);
    size_t seen = count;
    while (seen > 0 && !is_models_word(json_array_get(plan->items, seen - 1)))
        seen--;
    crypto_generichash_init(&c->seen, NULL, 0, TURN_DIGEST_BYTES);
    feed(&c->seen, principal, strlen(principal));
    feed_json(&c->seen, plan->thread);
    for (size_t i = 0; i < seen; i++)
        feed_item(&c->seen, json_array_get(plan->items, i));
    c->all = c->seen;
    for (size_t i = seen; i < count; i++)
        feed_item(&c->all, json_array_get(plan->items, i));
    c->new_items = seen != 0 ? count - seen : 0;
    crypto_generichash_init(&start, NULL, 0, sizeof(c->start_hash));
    feed_json(&start, plan->start);
    crypto_generichash_final(&start, c->start_hash, sizeof(c->start_hash));
    return c;
}

void conversation_free(struct conversation *c)
{
    free(c);
}

size_t conversation_new_items(const struct conversation *c)
{
    return c->new_items;
}

static void finish(const struct conversation *c, const crypto_generichash_state *so_far,
                   bool parked, unsigned char ret[TURN_DIGEST_BYTES])
{
    crypto_generichash_state state = *so_far;
    feed(&state, parked ? "parked" : "idle", parked ? 6 : 4);
    if (parked)
        feed(&state, c->start_hash, sizeof(c->start_hash));
    crypto_generichash_final(&state, ret, TURN_DIGEST_BYTES);
}

void conversation_digest_seen(const struct conversation *c, bool parked,
                              unsigned char ret[TURN_DIGEST_BYTES])
{
    finish(c, &c->seen, parked, ret);
}

void conversation_digest_after(const struct conversation *c, const json_t *answer_items,
                               bool parked, unsigned char ret[TURN_DIGEST_BYTES])
{
    crypto_generichash_state state = c->all;
    for (size_t i = 0; i < json_array_size(answer_items); i++)
        feed_item(&state, json_array_get(answer_items, i));
    finish(c, &state, parked, ret);
}

/* ---- carrying on ---- */

/* The results of calls that end the messages, one for each new item; 0 when something else is new too. */
static size_t take_results(const struct conversation *c, const json_t *messages,
                           struct turn_result results[OUTPUT_CALLS_MAX])
{
    size_t total = json_array_size(messages);
    size_t count = c->new_items;
    if (count == 0 || count > OUTPUT_CALLS_MAX || count > total)
        return 0;
    for (size_t i = 0; i < count; i++) {
        const char *role = json_str_at(json_array_get(messages, total - count + i), "role");
        if (role == NULL || strcmp(role, "tool") != 0)
            return 0;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *message = json_array_get(messages, total - count + i);
        results[i] = (struct turn_result){ json_str_at(message, "tool_call_id"),
                                           message_tool_content(message) };
    }
    return count;
}

static struct turn *resume_parked(const struct conversation *c, const json_t *messages,
                                  struct turns *turns, const struct turn_events *events,
                                  void *owner, struct trace *trace)
{
    unsigned char digest[TURN_DIGEST_BYTES];
    struct turn_result results[OUTPUT_CALLS_MAX];
    struct turn *resumed = NULL;
    conversation_digest_seen(c, true, digest);
    struct turn *turn = turns_find(turns, digest);
    size_t count = turn != NULL ? take_results(c, messages, results) : 0;
    if (count != 0 && turn_waits_for(turn, results, count))
        resumed = turn_resume(turn, results, count, events, owner, trace);
    for (size_t i = 0; i < count; i++)
        json_decref(results[i].content);
    return resumed;
}

/* The thread has seen all but the last items of the plan. */
static void keep_last_items(struct turn_plan *plan, size_t count)
{
    json_t *items = json_array();
    size_t total = json_array_size(plan->items);
    for (size_t i = total - count; i < total; i++)
        json_array_append(items, json_array_get(plan->items, i));
    json_decref(plan->items);
    plan->items = items;
}

struct turn *conversation_run(const struct conversation *c, const json_t *messages,
                              struct turns *turns, struct turn_plan *plan,
                              const struct turn_events *events, void *owner, struct trace *trace)
{
    unsigned char digest[TURN_DIGEST_BYTES];
    struct turn *resumed = resume_parked(c, messages, turns, events, owner, trace);
    if (resumed != NULL) {
        turn_plan_free(plan);
        return resumed;
    }
    conversation_digest_seen(c, false, digest);
    struct turn *idle = turns_find(turns, digest);
    if (idle == NULL || !turn_is_idle(idle))
        return turn_begin(turns, plan, events, owner, trace);
    keep_last_items(plan, c->new_items);
    return turn_again(idle, plan, events, owner, trace);
}

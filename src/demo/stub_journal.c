/* The requests that a model stub has seen. */
#include "stub_journal.h"

#include "clock.h"

#include <string.h>

void stub_journal_init(struct stub_journal *j, size_t max)
{
    *j = (struct stub_journal){ .records = max != 0 ? json_array() : NULL, .max = max };
}

void stub_journal_free(struct stub_journal *j)
{
    json_decref(j->records);
    j->records = NULL;
}

void stub_journal_clear(struct stub_journal *j)
{
    json_array_clear(j->records);
}

/* Of a credential only its scheme is kept. */
static json_t *harmless(json_t *headers)
{
    json_t *copy = json_copy(headers);
    const char *credential = json_str_at(headers, "authorization");
    if (credential != NULL)
        json_object_set_new(copy, "authorization",
                            json_stringn(credential, strcspn(credential, " ")));
    return copy;
}

json_t *stub_journal_open(struct stub_journal *j, unsigned n, const struct stub_request *request,
                          json_t *body)
{
    if (j->records == NULL)
        return NULL;
    bool keep_body = body != NULL && request->body.len <= STUB_JOURNAL_BODY_MAX;
    json_t *record = json_pack(
        "{s:I, s:I, s:s, s:s, s:s, s:o, s:O?, s:O?, s:I, s:O?, s:s, s:n, s:i}", "n", (json_int_t)n,
        "at_ms", (json_int_t)clock_wall_ms(), "method", request->method, "path", request->path,
        "query", request->query, "headers", harmless(request->headers), "model",
        json_object_get(body, "model"), "prompt_cache_key",
        json_object_get(body, "prompt_cache_key"), "body_bytes", (json_int_t)request->body.len,
        "body", keep_body ? body : NULL, "state", "open", "closed_at_ms", "sent_deltas", 0);
    if (record == NULL) /* the request line was not UTF-8 */
        return NULL;
    if (json_array_size(j->records) == j->max)
        json_array_remove(j->records, 0);
    json_array_append(j->records, record);
    return record;
}

void stub_journal_deltas(json_t *record, size_t deltas)
{
    json_integer_set(json_object_get(record, "sent_deltas"), (json_int_t)deltas);
}

void stub_journal_close(json_t *record, const char *state)
{
    json_object_set_new(record, "state", json_string(state));
    json_object_set_new(record, "closed_at_ms", json_integer(clock_wall_ms()));
}

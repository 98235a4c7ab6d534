/* What an event of a trace says beside its name. */
#include "trace_fact.h"

#include "json.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

static struct trace_fact *add(struct trace_facts *facts)
{
    assert(facts->count < TRACE_FACTS_MAX);
    return &facts->list[facts->count++];
}

void trace_fact_number(struct trace_facts *facts, enum trace_fact_kind kind, const char *name,
                       int64_t number)
{
    *add(facts) = (struct trace_fact){ .name = name, .kind = kind, .number = number };
}

void trace_fact_text(struct trace_facts *facts, const char *name, const char *text, size_t len)
{
    *add(facts) = (struct trace_fact){
        .name = name, .kind = TRACE_FACT_TEXT, .len = (uint32_t)len, .text = text
    };
}

void trace_facts_begin(struct trace_facts *facts, const struct trace_fact *known, size_t count)
{
    facts->count = 0;
    facts->withheld = 0;
    facts->known = known;
    facts->known_count = count;
}

bool trace_fact_is_known(const struct trace_facts *facts, const char *name, const char *text,
                         size_t len)
{
    if (facts->count >= facts->known_count)
        return false;
    const struct trace_fact *known = &facts->known[facts->count];
    return known->name == name && known->kind == TRACE_FACT_TEXT && known->len == len &&
           memcmp(known->text, text, len) == 0;
}

static bool same(const struct trace_fact *a, const struct trace_fact *b)
{
    if (a->name != b->name || a->kind != b->kind || a->len != b->len)
        return false;
    if (a->kind == TRACE_FACT_TEXT)
        return memcmp(a->text, b->text, a->len) == 0;
    return a->kind != TRACE_FACT_MARK || a->number == b->number;
}

bool trace_facts_same(const struct trace_fact *a, const struct trace_fact *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!same(&a[i], &b[i]))
            return false;
    return true;
}

void trace_fact_write(struct buf *out, const struct trace_fact *fact)
{
    switch (fact->kind) {
    case TRACE_FACT_NUMBER:
        json_put_int(out, fact->name, fact->number);
        break;
    case TRACE_FACT_BOOL:
        json_put_bool(out, fact->name, fact->number != 0);
        break;
    case TRACE_FACT_TEXT:
        json_put_name(out, fact->name);
        json_quote(out, fact->text, fact->len);
        break;
    case TRACE_FACT_MARK:
        json_put_name(out, fact->name);
        buf_printf(out, "\"call_%016" PRIx64 "\"", (uint64_t)fact->number);
        break;
    case TRACE_FACT_BEGIN:
        json_put_name(out, fact->name);
        buf_putc(out, '{');
        break;
    case TRACE_FACT_END:
        buf_putc(out, '}');
        break;
    }
}

/* Bytes of the OpenAI answer. */
#include "chunk.h"

#include "json.h"

#include <string.h>

static void put_string(struct buf *out, const char *text)
{
    json_quote(out, text, strlen(text));
}

static void put_head(struct buf *out, const struct chunk_head *head, const char *object)
{
    buf_puts(out, "{\"id\":");
    put_string(out, head->id);
    buf_printf(out, ",\"object\":\"%s\",\"created\":%lld,\"model\":", object,
               (long long)head->created);
    put_string(out, head->model);
    buf_puts(out, ",\"system_fingerprint\":");
    put_string(out, head->fingerprint);
    buf_puts(out, ",\"service_tier\":");
    put_string(out, head->service_tier);
}

static void begin_choice(struct buf *out, const struct chunk_head *head, size_t index)
{
    buf_puts(out, "data: ");
    put_head(out, head, "chat.completion.chunk");
    buf_printf(out, ",\"choices\":[{\"index\":%zu,\"delta\":{", index);
}

static void end_choice(struct buf *out, const struct chunk_head *head, const char *finish_reason)
{
    buf_puts(out, "},\"logprobs\":null,\"finish_reason\":");
    if (finish_reason != NULL)
        put_string(out, finish_reason);
    else
        buf_puts(out, "null");
    buf_puts(out, head->include_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

static void put_usage(struct buf *out, const struct turn_usage *u)
{
    buf_printf(out,
               "{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld,"
               "\"prompt_tokens_details\":{\"cached_tokens\":%lld,\"cache_write_tokens\":%lld,"
               "\"audio_tokens\":0},"
               "\"completion_tokens_details\":{\"reasoning_tokens\":%lld,\"audio_tokens\":0,"
               "\"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}",
               (long long)u->input, (long long)u->output, (long long)u->total, (long long)u->cached,
               (long long)u->cache_write, (long long)u->reasoning);
}

void chunk_role(struct buf *out, const struct chunk_head *head, size_t index)
{
    begin_choice(out, head, index);
    buf_puts(out, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null");
    end_choice(out, head, NULL);
}

void chunk_delta(struct buf *out, const struct chunk_head *head, size_t index, const char *member,
                 const char *text, size_t len)
{
    begin_choice(out, head, index);
    buf_printf(out, "\"%s\":", member);
    json_quote(out, text, len);
    end_choice(out, head, NULL);
}

void chunk_call(struct buf *out, const struct chunk_head *head, size_t index, size_t call_index,
                const struct chunk_call *call, bool legacy)
{
    begin_choice(out, head, index);
    if (legacy) {
        buf_puts(out, "\"function_call\":{\"name\":");
        put_string(out, call->name);
        buf_puts(out, ",\"arguments\":\"\"}");
    } else {
        buf_printf(out, "\"tool_calls\":[{\"index\":%zu,\"id\":", call_index);
        put_string(out, call->id);
        buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
        put_string(out, call->name);
        buf_puts(out, ",\"arguments\":\"\"}}]");
    }
    end_choice(out, head, NULL);
    begin_choice(out, head, index);
    if (legacy)
        buf_puts(out, "\"function_call\":{\"arguments\":");
    else
        buf_printf(out, "\"tool_calls\":[{\"index\":%zu,\"function\":{\"arguments\":", call_index);
    put_string(out, call->arguments);
    buf_puts(out, legacy ? "}" : "}}]");
    end_choice(out, head, NULL);
}

void chunk_finish(struct buf *out, const struct chunk_head *head, size_t index,
                  const char *finish_reason)
{
    begin_choice(out, head, index);
    end_choice(out, head, finish_reason);
}

void chunk_usage(struct buf *out, const struct chunk_head *head, const struct turn_usage *usage)
{
    buf_puts(out, "data: ");
    put_head(out, head, "chat.completion.chunk");
    buf_puts(out, ",\"choices\":[],\"usage\":");
    put_usage(out, usage);
    buf_puts(out, "}\n\n");
}

void chunk_error(struct buf *out, const struct api_error *error)
{
    buf_puts(out, "data: ");
    api_error_write(error, out);
    buf_puts(out, "\n\n");
}

void chunk_done(struct buf *out)
{
    buf_puts(out, "data: [DONE]\n\n");
}

void chunk_comment(struct buf *out)
{
    buf_puts(out, ": ping\n\n");
}

static void put_text(struct buf *out, const struct buf *text)
{
    json_quote(out, text->data, text->len);
}

void chunk_whole_begin(struct buf *out, const struct chunk_head *head)
{
    put_head(out, head, "chat.completion");
    buf_puts(out, ",\"choices\":[");
}

static void put_call(struct buf *out, const struct chunk_call *call)
{
    buf_puts(out, "{\"name\":");
    put_string(out, call->name);
    buf_puts(out, ",\"arguments\":");
    put_string(out, call->arguments);
    buf_putc(out, '}');
}

static void put_calls(struct buf *out, const struct chunk_message *m)
{
    if (m->legacy) {
        buf_puts(out, ",\"function_call\":");
        put_call(out, &m->calls[0]);
        return;
    }
    buf_puts(out, ",\"tool_calls\":[");
    for (size_t i = 0; i < m->call_count; i++) {
        buf_puts(out, i == 0 ? "{\"id\":" : ",{\"id\":");
        put_string(out, m->calls[i].id);
        buf_puts(out, ",\"type\":\"function\",\"function\":");
        put_call(out, &m->calls[i]);
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

void chunk_whole_choice(struct buf *out, size_t index, const struct chunk_message *m)
{
    buf_printf(out, "%s{\"index\":%zu,\"message\":{\"role\":\"assistant\",\"content\":",
               index == 0 ? "" : ",", index);
    if (m->content->len == 0 && m->call_count != 0)
        buf_puts(out, "null");
    else
        put_text(out, m->content);
    buf_puts(out, ",\"refusal\":null,\"annotations\":[]");
    if (m->reasoning->len != 0) {
        buf_puts(out, ",\"reasoning_content\":");
        put_text(out, m->reasoning);
    }
    if (m->call_count != 0)
        put_calls(out, m);
    buf_puts(out, "},\"logprobs\":null,\"finish_reason\":");
    put_string(out, m->finish_reason);
    buf_putc(out, '}');
}

void chunk_whole_end(struct buf *out, const struct turn_usage *usage)
{
    buf_puts(out, "],\"usage\":");
    put_usage(out, usage);
    buf_putc(out, '}');
}

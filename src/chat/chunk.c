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
}

static void begin_choice(struct buf *out, const struct chunk_head *head)
{
    buf_puts(out, "data: ");
    put_head(out, head, "chat.completion.chunk");
    buf_puts(out, ",\"choices\":[{\"index\":0,\"delta\":{");
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

void chunk_role(struct buf *out, const struct chunk_head *head)
{
    begin_choice(out, head);
    buf_puts(out, "\"role\":\"assistant\",\"content\":\"\",\"refusal\":null");
    end_choice(out, head, NULL);
}

void chunk_delta(struct buf *out, const struct chunk_head *head, const char *member,
                 const char *text, size_t len)
{
    begin_choice(out, head);
    buf_printf(out, "\"%s\":", member);
    json_quote(out, text, len);
    end_choice(out, head, NULL);
}

void chunk_finish(struct buf *out, const struct chunk_head *head, const char *finish_reason)
{
    begin_choice(out, head);
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

void chunk_whole(struct buf *out, const struct chunk_head *head,
                 const struct chunk_message *message)
{
    put_head(out, head, "chat.completion");
    buf_puts(out, ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    put_text(out, message->content);
    buf_puts(out, ",\"refusal\":null,\"annotations\":[]");
    if (message->reasoning->len != 0) {
        buf_puts(out, ",\"reasoning_content\":");
        put_text(out, message->reasoning);
    }
    buf_puts(out, "},\"logprobs\":null,\"finish_reason\":");
    put_string(out, message->finish_reason);
    buf_puts(out, "}],\"usage\":");
    put_usage(out, message->usage);
    buf_putc(out, '}');
}

/* Bytes of the OpenAI answer: the frames of a stream, and the whole object of one that is collected. Pure. */
#ifndef CHUNK_H
#define CHUNK_H

#include "api_error.h"
#include "buf.h"
#include "turn.h"

#include <stdbool.h>
#include <stdint.h>

/* What is the same in every chunk of one answer. Strings are borrowed. */
struct chunk_head {
    const char *id;
    const char *model;
    const char *fingerprint;
    const char *service_tier;
    int64_t created;
    bool include_usage; /* then every chunk has a usage member, null but in the last */
};

/* A function call under the client's name for it. Strings are borrowed. */
struct chunk_call {
    const char *id;
    const char *name;
    const char *arguments;
};

/* All append server-sent events; `index` is that of the choice, and `text` must be valid UTF-8. */
void chunk_role(struct buf *out, const struct chunk_head *head, size_t index);
void chunk_delta(struct buf *out, const struct chunk_head *head, size_t index, const char *member,
                 const char *text, size_t len);
/* Two events: who is called, then with what. `legacy`: the deprecated function_call. */
void chunk_call(struct buf *out, const struct chunk_head *head, size_t index, size_t call_index,
                const struct chunk_call *call, bool legacy);
void chunk_finish(struct buf *out, const struct chunk_head *head, size_t index,
                  const char *finish_reason);
void chunk_usage(struct buf *out, const struct chunk_head *head, const struct turn_usage *usage);
void chunk_error(struct buf *out, const struct api_error *error);
void chunk_done(struct buf *out);
void chunk_comment(struct buf *out);

/* What one choice of a collected answer holds. Without text the content is null if there are calls; reasoning is left out
 * when empty. */
struct chunk_message {
    const struct buf *content;
    const struct buf *reasoning;
    const struct chunk_call *calls;
    size_t call_count;
    bool legacy;
    const char *finish_reason;
};

/* The chat.completion object in three parts: its start, each choice in order, its end. */
void chunk_whole_begin(struct buf *out, const struct chunk_head *head);
void chunk_whole_choice(struct buf *out, size_t index, const struct chunk_message *message);
void chunk_whole_end(struct buf *out, const struct turn_usage *usage);

#endif

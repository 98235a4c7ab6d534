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
    int64_t created;
    bool include_usage; /* then every chunk has a usage member, null but in the last */
};

/* All append one server-sent event. `text` must be valid UTF-8. */
void chunk_role(struct buf *out, const struct chunk_head *head);
void chunk_delta(struct buf *out, const struct chunk_head *head, const char *member,
                 const char *text, size_t len);
void chunk_finish(struct buf *out, const struct chunk_head *head, const char *finish_reason);
void chunk_usage(struct buf *out, const struct chunk_head *head, const struct turn_usage *usage);
void chunk_error(struct buf *out, const struct api_error *error);
void chunk_done(struct buf *out);
void chunk_comment(struct buf *out);

/* What a collected answer holds; `reasoning` is left out when empty. */
struct chunk_message {
    const struct buf *content;
    const struct buf *reasoning;
    const char *finish_reason;
    const struct turn_usage *usage;
};

/* Appends the chat.completion object. */
void chunk_whole(struct buf *out, const struct chunk_head *head,
                 const struct chunk_message *message);

#endif

/* Threads and turns inside: what the three files that tell them share.
 *
 * fake_thread.c: what a thread has heard, its script. fake_say.c: the shapes of a turn's lines.
 * fake_turn.c: which line comes when. */
#ifndef FAKE_TURN_H
#define FAKE_TURN_H

#include "fake.h"

#define USAGE_LEN 6 /* kinds of tokens that are counted */

enum stage {
    STAGE_STARTED,
    STAGE_RETRIES,
    STAGE_ASKS, /* refusals are awaited */
    STAGE_LINK, /* one link of the script's `then` chain begins */
    STAGE_STREAM,
    STAGE_TOOLS,
    STAGE_ANSWERS, /* tool results are awaited */
    STAGE_ENDING,
    STAGE_SILENT, /* nothing is said any more; an interrupt still ends it */
};

/* Reasoning or a message on its way out. */
struct stream {
    bool reasoning;
    char *text; /* owned */
    size_t len;
    size_t at;
    size_t chunk_chars; /* of a delta; 0: by words */
    size_t cut_no;
    unsigned item;
    int64_t started_ms;
};

/* A request of ours that waits for the client. */
struct ask {
    long long id;
    bool answered;
    bool ok;
    int64_t asked_ms;
    json_t *content; /* owned: contentItems of the answer */
};

struct turn {
    struct thread *thread; /* borrowed: it owns this turn */
    char id[FAKE_ID_SIZE];
    enum stage stage;
    uint64_t due_ms;
    json_t *script;     /* counted: keeps link alive */
    const json_t *link; /* borrowed from script; NULL: echo */
    struct stream stream;
    struct ask *asks; /* owned; one for each element of `ask` or `tool_calls` */
    size_t asks_len;
    size_t asks_open;
    bool granted;         /* the client allowed what it must refuse */
    struct buf last_item; /* owned: what turn/completed repeats */
    int64_t started_ms;
};

struct thread {
    struct thread *next;
    struct fake *fake; /* borrowed */
    char id[FAKE_ID_SIZE];
    char *model; /* owned JSON text */
    bool raw;    /* experimentalRawEvents */
    bool subscribed;
    bool after_output; /* the newest item is a tool's output */
    json_t *script;    /* counted: of the newest user message */
    const json_t *link;
    struct buf prompt; /* owned: what an echo says */
    struct trigger crash, hang;
    long long total[USAGE_LEN];
    struct turn *turn; /* owned; NULL: idle */
};

/* fake_thread.c */
/* A user message arrived: it brings the script of the next turn. */
void hear_user(struct thread *th, const char *text, size_t len);
/* The first output of a batch moves the script on to what follows its tool calls. */
void hear_output(struct thread *th, const char *text, size_t len);
/* Appends the text of every part of a content array, whatever the parts are called. */
void append_texts(struct buf *out, const json_t *content);
/* Unlinks and frees; its turn too. */
void thread_free(struct thread *th);
/* The process-wide faults of a step, then the thread's own. True: the turn is silent from here. */
bool reach(struct thread *th, enum step at);
bool is_silent(const struct thread *th);

/* fake_turn.c */
void turn_free(struct turn *t);

/* fake_say.c: one line each; none if the turn is silent or the client has opted out of it. */
void put_turn(struct buf *out, const struct turn *t, const char *status, const json_t *fail);
void say_status(struct thread *th, const char *status);
void say_turn_started(struct turn *t);
void say_turn_completed(struct turn *t, const char *status, const json_t *fail);
void say_error(struct turn *t, const json_t *error, bool will_retry);
void say_stream_opened(struct turn *t);
void say_delta(struct turn *t, size_t len);
void say_stream_closed(struct turn *t);
const json_t *call_at(const struct turn *t, size_t i);
void say_raw_call(struct turn *t, size_t i);
void say_raw_output(struct turn *t, size_t i, const char *text, size_t len);
void say_raw_aborted(struct turn *t);
/* The dynamicToolCall item: `note` is item/started or item/completed. */
void say_call_item(struct turn *t, enum note note, size_t i);
/* item/tool/call, and the requests that a client must refuse. */
void ask_call(struct turn *t, size_t i);
void ask_refusal(struct turn *t, size_t i, const char *method);
void say_response_completed(struct turn *t);
void say_usage(struct turn *t);

#endif

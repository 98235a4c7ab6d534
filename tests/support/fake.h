/* What the files of the fake worker share: a stand-in for `codex app-server`, for fault tests and
 * for benchmarks.
 *
 * Reading order: fake_options.c (what can be asked for), fake_worker.c (the loop and the faults),
 * fake_rpc.c (requests), fake_thread.c (scripts), fake_turn.c (a turn, told stage by stage),
 * fake_say.c (its lines), fake_wire.c (what leaves stdout). */
#ifndef FAKE_H
#define FAKE_H

#include "buf.h"
#include "json.h"

#include <stdbool.h>
#include <stdint.h>

#define FAKE_CODEX_VERSION "0.169.0" /* the real worker whose wire this copies */
#define FAKE_ID_SIZE 37              /* a UUID and its NUL */
#define FAKE_NEVER UINT64_MAX

/* The moments at which a fault can strike. */
enum step {
    STEP_NONE,
    STEP_START,
    STEP_INITIALIZE,
    STEP_INITIALIZED,
    STEP_THREAD_START,
    STEP_INJECT,
    STEP_TURN_START,
    STEP_TURN_STARTED,
    STEP_DELTA,
    STEP_TOOL_CALL,
    STEP_BEFORE_COMPLETED,
    STEP_COMPLETED,
    STEP_INTERRUPT,
    STEP_UNSUBSCRIBE,
    STEP_EOF,
    STEP_SIGTERM,
    STEP_COUNT
};

/* What can strike. */
enum fault {
    FAULT_GRANDCHILD,
    FAULT_STDERR,
    FAULT_SLOW,
    FAULT_DEAF,
    FAULT_FLOOD,
    FAULT_HALF,
    FAULT_MUTE,
    FAULT_HANG,
    FAULT_PAUSE,
    FAULT_EXIT,
    FAULT_CRASH,
    FAULT_COUNT
};

enum handshake { HANDSHAKE_OK, HANDSHAKE_NONE, HANDSHAKE_GARBAGE, HANDSHAKE_ERROR };

enum noise {
    NOISE_GARBAGE = 1 << 0,
    NOISE_EMPTY = 1 << 1,
    NOISE_UNKNOWN = 1 << 2,
    NOISE_STRAY = 1 << 3,
};

/* "The n-th time that this step is reached." */
struct trigger {
    enum step at;
    unsigned nth; /* 0: every time */
    unsigned seen;
};

struct options {
    struct trigger faults[FAULT_COUNT];
    long long skip, starts;
    long long exit_code, slow_ms, flood_bytes, stderr_lines, stderr_secrets, grandchild_ms,
        crash_ms;
    long long ignore_eof, ignore_sigterm, rss_mb;
    long long piece, burst, noise_every, duplicate, started_first;
    long long overload, page, rate_reset_s;
    char *overload_method; /* owned, like every string here; never NULL */
    char *handshake_name, *noise_names, *rate_limits;
    enum handshake handshake;
    unsigned noise;                         /* bits of enum noise */
    int primary_percent, secondary_percent; /* -1: no ChatGPT login */
    const char
        *script; /* borrowed JSON: what turns without a script of their own do; may be NULL */
};

/* Notifications: one row of a table each, so that silencing one is a flag. */
enum note {
    NOTE_THREAD_STARTED,
    NOTE_THREAD_STATUS,
    NOTE_THREAD_CLOSED,
    NOTE_TURN_STARTED,
    NOTE_TURN_COMPLETED,
    NOTE_ITEM_STARTED,
    NOTE_ITEM_COMPLETED,
    NOTE_MESSAGE_DELTA,
    NOTE_SUMMARY_PART,
    NOTE_SUMMARY_DELTA,
    NOTE_RAW_ITEM,
    NOTE_RAW_RESPONSE,
    NOTE_TOKEN_USAGE,
    NOTE_RATE_LIMITS,
    NOTE_ERROR,
    NOTE_COUNT
};

struct wire {
    struct buf out; /* owned: lines on their way to stdout */
    size_t sent;    /* of out */
    size_t line_at; /* where the line being written starts in out */
    long long flood_left;
    unsigned lines;
    bool mute; /* stdout is closed */
    bool silenced[NOTE_COUNT];
};

struct fake {
    struct options opt;
    struct wire wire;
    int journal_fd; /* -1: no journal */
    long long start_no;
    bool initialized;
    bool deaf;
    struct thread *threads; /* owned list */
    unsigned last_id;       /* of threads, turns and items: one sequence */
    long long last_ask_id;
};

/* fake_options.c */
extern const char *const step_names[STEP_COUNT];
/* Reads the environment; a mistake in FAKE_WORKER ends the process with 64. */
void options_read(struct fake *f);
void options_help(void);
/* "step" or "step:n". False if there is no such step. */
CHECK_RESULT bool trigger_parse(struct trigger *t, const char *text);
CHECK_RESULT bool trigger_hit(struct trigger *t, enum step at);

/* fake_wire.c: lines are written in place; every begin wants its end. */
/* NULL when the client has silenced this notification: then there is nothing to end. */
struct buf *note_begin(struct fake *f, enum note note);
void note_end(struct fake *f);
struct buf *reply_begin(struct fake *f, const json_t *id);
void reply_end(struct fake *f);
void reply_empty(struct fake *f, const json_t *id);
void reply_error(struct fake *f, const json_t *id, int code, const char *message);
struct buf *ask_begin(struct fake *f, const char *method, long long id);
void ask_end(struct fake *f);
void wire_garbage(struct fake *f);
/* The start of a line that is never finished. */
void wire_half(struct fake *f);
void wire_silence(struct fake *f, const json_t *methods);
size_t wire_pending(const struct fake *f);
/* Generation stops here until stdout has taken some. */
bool wire_full(const struct fake *f);
/* One write(2) at most. */
void wire_flush(struct fake *f);
/* Writes until all is out, the reader is gone, or it takes nothing for `patience_ms`. */
void wire_drain(struct fake *f, int patience_ms);
void wire_mute(struct fake *f);

/* fake_journal.c: what tests look at afterwards; every call is free when there is no journal. */
void journal_open(struct fake *f);
void journal_start(struct fake *f, int argc, char **argv);
void journal_received(struct fake *f, const char *text, size_t len, bool is_json);
/* `detail` may be NULL. */
void journal_event(struct fake *f, const char *event, const char *detail, long long number);

/* fake_worker.c */
/* Process-wide faults of a step. Returns only if the process lives on. */
void fake_step(struct fake *f, enum step at);
_Noreturn void fake_exit(struct fake *f, int code);
_Noreturn void fake_crash(struct fake *f, enum step at);
void fake_make_id(struct fake *f, char ret_id[FAKE_ID_SIZE]);

/* fake_rpc.c */
void rpc_receive(struct fake *f, const char *line, size_t len);

/* fake_catalog.c */
void catalog_write_debug(struct buf *out);
/* The `result` of model/list: a page that starts at `from`; page 0: all. */
void catalog_write_page(struct buf *out, size_t from, size_t page, bool hidden);

/* fake_thread.c */
struct thread *thread_new(struct fake *f, const json_t *params);
struct thread *thread_find(const struct fake *f, const char *id);
/* The thread object, and the `result` of thread/start around it. */
void thread_write(struct buf *out, const struct thread *th);
void thread_write_result(struct buf *out, const struct thread *th);
void threads_write_ids(struct buf *out, const struct fake *f);
size_t threads_count(const struct fake *f);
/* The following answer the request themselves: its place among the notifications matters. */
void thread_inject(struct fake *f, struct thread *th, const json_t *request_id,
                   const json_t *items);
/* `th` may be NULL: a thread that is not loaded. */
void thread_unsubscribe(struct fake *f, struct thread *th, const json_t *request_id);

/* fake_turn.c */
void turn_start(struct fake *f, struct thread *th, const json_t *request_id, const json_t *params);
void turn_interrupt(struct fake *f, struct thread *th, const json_t *request_id,
                    const char *turn_id);
/* An answer of the client to one of our requests. */
void turn_answered(struct fake *f, const json_t *message);
/* Lets every due turn speak. Returns when the next one is due: 0 at once, FAKE_NEVER if none is. */
uint64_t turns_run(struct fake *f, uint64_t now_ms);

/* fake_say.c */
/* The account's windows as the value of `rateLimits`. */
void rate_limits_write(struct buf *out, const struct options *opt);

#endif

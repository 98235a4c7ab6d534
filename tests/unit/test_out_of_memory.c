/* No memory: whichever allocation fails, the program ends with its own words, or goes on as if nothing had happened. It
 * never crashes, hangs, or does half of something.
 *
 * Each scenario is run in a child for the 1st, 2nd, ... n-th of its allocations failing. The linker puts the functions
 * named __wrap_ here in the place of malloc and its like, in our code and, through xmalloc, in jansson and libuv. */
#include "access_key.h"
#include "catalog.h"
#include "chat.h"
#include "chat_request.h"
#include "config.h"
#include "conversation.h"
#include "deadline.h"
#include "environment.h"
#include "failure.h"
#include "file.h"
#include "folder.h"
#include "keyring.h"
#include "launch.h"
#include "lines.h"
#include "log.h"
#include "message.h"
#include "models.h"
#include "plan.h"
#include "process.h"
#include "redact.h"
#include "rpc.h"
#include "schema.h"
#include "settings_file.h"

#include <signal.h>
#include <sodium.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <uv.h>

#define OUTPUT_MAX (1 << 20)
#define CHILD_MAX_S 60
#define LAST_WORDS "codex-api: out of memory\n"
#define LATER_MS 1000000

#if defined(__SANITIZE_ADDRESS__)
#define FAILURES_MAX 60 /* of one scenario: a fork is slow there, and the release build tries all */
#else
#define FAILURES_MAX SIZE_MAX
#endif

/* ---- allocations that fail ---- */

static size_t fail_at; /* 0: none */
static size_t made;

static bool fails(void)
{
    return ++made == fail_at;
}

void *__real_malloc(size_t size_bytes);
void *__real_calloc(size_t count, size_t size_bytes);
void *__real_realloc(void *ptr, size_t size_bytes);
void *__real_aligned_alloc(size_t alignment, size_t size_bytes);
void *__wrap_malloc(size_t size_bytes);
void *__wrap_calloc(size_t count, size_t size_bytes);
void *__wrap_realloc(void *ptr, size_t size_bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t size_bytes);
int __wrap_vasprintf(char **ret, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));
int __wrap___vasprintf_chk(char **ret, int flag, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

void *__wrap_malloc(size_t size_bytes)
{
    return fails() ? NULL : __real_malloc(size_bytes);
}

void *__wrap_calloc(size_t count, size_t size_bytes)
{
    return fails() ? NULL : __real_calloc(count, size_bytes);
}

void *__wrap_realloc(void *ptr, size_t size_bytes)
{
    return fails() ? NULL : __real_realloc(ptr, size_bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size_bytes)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size_bytes);
}

/* Leaves the text as it is when it fails, which the standard allows. */
int __wrap_vasprintf(char **ret, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = fails() ? -1 : vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (len < 0)
        return -1;
    *ret = __real_malloc((size_t)len + 1);
    return vsnprintf(*ret, (size_t)len + 1, format, args);
}

int __wrap___vasprintf_chk(char **ret, int flag, const char *format, va_list args)
{
    (void)flag;
    return __wrap_vasprintf(ret, format, args);
}

/* ---- what scenarios share ---- */

static uv_loop_t loop;
static struct deadlines *deadlines;
static char folder_name[256];

static void begin_loop(void)
{
    uv_loop_init(&loop);
    deadlines = deadlines_new(&loop);
}

static void end_loop(struct buf *out)
{
    deadlines_free(deadlines);
    uv_run(&loop, UV_RUN_DEFAULT);
    buf_printf(out, "closed %d\n", uv_loop_close(&loop));
}

static void put_json(struct buf *out, json_t *value)
{
    json_write(out, value);
    buf_putc(out, '\n');
    json_decref(value);
}

static void put_hex(struct buf *out, const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_printf(out, "%02x", bytes[i]);
    buf_putc(out, '\n');
}

static json_t *parse(const char *text)
{
    return json_parse(text, strlen(text), NULL);
}

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", folder_name, name);
}

/* ---- base ---- */

static void run_buf(struct buf *out)
{
    struct buf b = BUF_INIT;
    for (int i = 0; i < 200; i++)
        buf_printf(&b, "%d,", i);
    buf_consume(&b, 10);
    char *text = buf_detach(&b);
    buf_puts(out, text);
    free(text);
}

static bool take_line(void *ctx, const char *line, size_t len)
{
    buf_printf(ctx, "%zu:%.*s\n", len, (int)len, line);
    return true;
}

static void run_lines(struct buf *out)
{
    static const char text[] = "one\ntwo three\n\nfour, which comes in many pieces\nfive";
    struct lines lines;
    lines_init(&lines, 100);
    for (size_t i = 0; i < sizeof(text); i += 7)
        buf_printf(out, "%d ",
                   (int)lines_feed(&lines, text + i, i + 7 < sizeof(text) ? 7 : sizeof(text) - i,
                                   take_line, out));
    lines_free(&lines);
}

static void run_json(struct buf *out)
{
    put_json(out, parse("{\"a\":[1,2.5,\"\\u00e4\\n\\\"\",null,{\"b\":{\"c\":[[]]}}],\"d\":\"\"}"));
    put_json(out, parse("[18446744073709551617,3,9007199254740991,{\"x\":1e300}]"));
    json_t *bad = parse("{\"a\":[1,2,");
    buf_puts(out, bad == NULL ? "refused\n" : "taken\n");
}

static void run_api_error(struct buf *out)
{
    struct api_error error;
    api_error_set(&error, 400, "invalid_request_error", "invalid_value", "messages[3].content",
                  "Invalid '%s': expected %d to %d of them.", "messages[3].content", 1, 4);
    api_error_write(&error, out);
}

static void run_file(struct buf *out)
{
    char *path = path_of("file");
    buf_printf(out, "%d ", file_replace(path, "some text", 9));
    buf_printf(out, "%d ", file_read(path, out, 100));
    free(path);
}

static void run_log(struct buf *out)
{
    char line[512];
    log_set_level(LOG_INFO);
    if (ftruncate(STDOUT_FILENO, 0) != 0)
        return;
    log_info("test", "event", LOG_ID("id", "a\"b"), LOG_INT("n", 5), LOG_BOOL("b", true));
    ssize_t n = pread(STDOUT_FILENO, line, sizeof(line), 0);
    const char *level =
        n > 0 ? memmem(line, (size_t)n, "\"level\"", 7) : NULL; /* behind the time */
    if (level != NULL)
        buf_append(out, level, (size_t)(line + n - level));
    log_set_level(LOG_SILENCE);
}

static void run_redact(struct buf *out)
{
    static const char text[] =
        "token: abc\nAuthorization: Bearer x\nsk-abcdef plain words k3yk3yk3y";
    redact_text(out, text, sizeof(text) - 1);
    redact_log_lines("test", "text", text, sizeof(text) - 1);
}

static void run_access_key(struct buf *out)
{
    struct buf key = BUF_INIT;
    char *why = NULL;
    char *path = path_of("key");
    unlink(path);
    buf_printf(out, "%d ", access_key_from_file(path, &key, &why)); /* makes it */
    buf_printf(out, "%zu ", key.len);
    buf_clear(&key);
    buf_printf(out, "%d ", access_key_from_file(path, &key, &why));
    buf_printf(out, "%d ", access_key_from_file("/nowhere/key", &key, &why));
    buf_puts(out, why);
    buf_free(&key);
    free(why);
    free(path);
}

static void run_keyring(struct buf *out)
{
    struct key_file file = { .salt = { 1 } };
    struct key_entry entry = { .name = "one", .rpm = 3, .burst = -1 };
    struct rate_state rate;
    char *why = NULL;
    char *path = path_of("keys");
    key_hash(file.salt, "sk-the-first", 12, entry.hash);
    key_file_add(&file, &entry);
    memcpy(entry.name, "two", 4);
    key_hash(file.salt, "sk-the-second", 13, entry.hash);
    key_file_add(&file, &entry);
    buf_printf(out, "%d ", key_file_save(path, &file, &why));
    const struct keyring_texts texts = { "sk-of-the-settings", "sk-of-the-operator" };
    struct keyring *ring = keyring_load(path, 0, 0, &texts, &why);
    buf_printf(out, "%d ", keyring_reload(ring, &texts, &why));
    const char *name = keyring_find(ring, "sk-the-second", 13);
    keyring_take(ring, "two", 1000, &rate);
    buf_printf(out, "%zu %s %d\n", keyring_count(ring), name, (int)rate.remaining);
    keyring_free(ring);
    key_file_free(&file);
    free(path);
}

static void run_settings_file(struct buf *out)
{
    static const char text[] = "# settings\nPORT=0\n\nCODEX_MODEL=\"a\\\"b\\n\"\nPORT=1\n";
    struct settings_file file;
    char *path = path_of("settings");
    buf_printf(out, "%d ", file_replace(path, text, sizeof(text) - 1));
    buf_printf(out, "%d ", settings_file_read(&file, path, stderr));
    buf_printf(out, "%s %s", settings_file_get(&file, "PORT"),
               settings_file_get(&file, "CODEX_MODEL"));
    settings_file_free(&file);
    free(path);
}

/* ---- the worker's side ---- */

static struct rpc *rpc;
static struct turns *turns;

static bool on_write(void *ctx, char *bytes, size_t len)
{
    buf_puts(ctx, "> ");
    buf_append(ctx, bytes, len);
    free(bytes);
    return true;
}

static void on_notification(void *ctx, const struct rpc_message *note)
{
    if (turns == NULL || !turns_notification(turns, note))
        buf_printf(ctx, "note %s\n", note->method);
}

static void on_request(void *ctx, const struct rpc_message *request)
{
    if (turns != NULL && turns_request(turns, request))
        return;
    buf_printf(ctx, "request %s\n", request->method);
    rpc_refuse(rpc, request->id, "no");
}

static void on_reply(void *ctx, const struct rpc_reply *reply)
{
    buf_printf(ctx, "reply %d %s\n", (int)reply->status,
               reply->message != NULL ? reply->message : "-");
}

static const struct rpc_handlers handlers = { on_write, on_notification, on_request };

static void begin_worker(struct buf *out)
{
    begin_loop();
    rpc = rpc_new(deadlines, 1, &handlers, out);
}

static void end_worker(struct buf *out)
{
    rpc_free(rpc);
    rpc = NULL;
    end_loop(out);
}

static void hear(const char *line)
{
    (void)rpc_receive(rpc, line, strlen(line));
}

static void run_rpc(struct buf *out)
{
    begin_worker(out);
    rpc_call(rpc, "first", json_pack("{s:i}", "a", 1), LATER_MS, on_reply, out, NULL);
    rpc_call(rpc, "second", NULL, LATER_MS, on_reply, out, NULL);
    rpc_call(rpc, "third", NULL, LATER_MS, on_reply, out, NULL);
    rpc_notify(rpc, "initialized");
    hear("{\"id\":2,\"error\":{\"code\":-1,\"message\":\"m\"}}");
    hear("{\"id\":1,\"result\":{}}");
    hear("{\"method\":\"n\",\"params\":{}}");
    hear("{\"method\":\"r\",\"id\":\"x\"}");
    hear("no JSON");
    end_worker(out);
}

static void on_listed(void *ctx, bool ok)
{
    buf_printf(ctx, "listed %d\n", ok);
}

static void run_models(struct buf *out)
{
    struct model_choice choice = { NULL, NULL };
    begin_worker(out);
    struct models *models = models_new("own-1, own-2", "fast=gpt-x:low,other=own-1", LATER_MS);
    models_refresh(models, rpc, on_listed, out);
    hear("{\"id\":1,\"result\":{\"data\":[{\"model\":\"gpt-x\",\"displayName\":\"X\","
         "\"supportedReasoningEfforts\":[{\"reasoningEffort\":\"low\"}]}],\"nextCursor\":\"2\"}}");
    hear("{\"id\":2,\"result\":{\"data\":[{\"model\":\"gpt-y\"}],\"nextCursor\":null}}");
    json_t *list = models_list_object(models);
    size_t i = 0;
    json_t *model = NULL;
    json_array_foreach(json_object_get(list, "data"), i, model)
    {
        json_object_del(model, "created");
    }
    put_json(out, list);
    buf_printf(out, "%d %s\n", models_resolve(models, "fast", &choice), choice.effort);
    models_free(models);
    end_worker(out);
}

static struct turn *running; /* linked */

static void on_text(void *ctx, const char *text, size_t len)
{
    buf_printf(ctx, "text %.*s\n", (int)len, text);
}

static void on_end(void *ctx, const struct turn_end *end)
{
    static const unsigned char digest[TURN_DIGEST_BYTES] = { 1 };
    running = NULL;
    buf_printf(ctx, "end %d %zu %s\n", (int)end->outcome, end->call_count,
               end->message != NULL ? end->message : "-");
    if (end->outcome == TURN_CALLS)
        turn_keep(end->turn, digest);
}

static const struct turn_events turn_events = { on_text, on_text, on_end };

static const struct turns_options turn_options = { .rpc_timeout_ms = LATER_MS,
                                                   .turn_timeout_ms = LATER_MS,
                                                   .first_event_timeout_ms = LATER_MS,
                                                   .silence_timeout_ms = LATER_MS,
                                                   .park_ttl_ms = LATER_MS,
                                                   .parked_max = 2 };

#define NOTE(method, members)                                                                      \
    "{\"method\":\"" method "\",\"params\":{\"threadId\":\"th\",\"turnId\":\"tu\"" members "}}"
#define COMPLETED(members)                                                                         \
    "{\"method\":\"turn/completed\",\"params\":{\"threadId\":\"th\",\"turn\":{\"id\":\"tu\","      \
    "\"status\":" members "}}}"
#define DELTA(text) NOTE("item/agentMessage/delta", ",\"itemId\":\"m1\",\"delta\":\"" text "\"")
#define CALLED(id, name)                                                                           \
    NOTE("rawResponseItem/completed", ",\"item\":{\"type\":\"function_call\",\"call_id\":\"" id    \
                                      "\",\"name\":\"" name "\",\"arguments\":\"{}\"}")

static void hear_start(void)
{
    hear("{\"id\":1,\"result\":{\"thread\":{\"id\":\"th\"}}}");
    hear("{\"id\":2,\"result\":{}}");
    hear("{\"id\":3,\"result\":{\"turn\":{\"id\":\"tu\"}}}");
}

static void run_turn(struct buf *out)
{
    static const unsigned char digest[TURN_DIGEST_BYTES] = { 1 };
    struct turn_plan plan = { parse("{\"model\":\"m\",\"dynamicTools\":[{\"name\":\"look\"}]}"),
                              parse("[{\"n\":1}]"), parse("{\"input\":[]}") };
    begin_worker(out);
    turns = turns_new(deadlines, &turn_options);
    turns_worker_ready(turns, rpc);
    running = turn_begin(turns, &plan, &turn_events, out, NULL);
    hear_start();
    hear(DELTA("Hello"));
    hear(NOTE("item/reasoning/summaryTextDelta", ",\"delta\":\"why\""));
    hear(CALLED("c1", "look"));
    hear(NOTE("rawResponse/completed", ",\"usage\":{\"totalTokens\":3}"));
    hear("{\"id\":\"q\",\"method\":\"item/tool/call\",\"params\":{\"threadId\":\"th\","
         "\"turnId\":\"tu\",\"callId\":\"c1\"}}");
    struct turn_result result = { "c1", parse("[{\"type\":\"inputText\",\"text\":\"r\"}]") };
    struct turn *kept = turns_find(turns, digest);
    if (kept != NULL && turn_waits_for(kept, &result, 1))
        running = turn_resume(kept, &result, 1, &turn_events, out, NULL);
    hear(NOTE("item/completed", ",\"item\":{\"type\":\"agentMessage\",\"id\":\"m2\",\"text\":"
                                "\"whole\"}"));
    hear(NOTE("error", ",\"willRetry\":false,\"error\":{\"message\":\"late\"}"));
    hear(COMPLETED("\"failed\""));
    turns_free(turns);
    turns = NULL;
    json_decref(result.content);
    end_worker(out);
}

/* ---- the client's side ---- */

#define SCHEMA                                                                                     \
    "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"minLength\":2,"             \
    "\"description\":\"d\"},\"b\":{\"oneOf\":[{\"type\":\"null\"},{\"$ref\":\"#/$defs/c\"}]}},"    \
    "\"required\":[\"a\"],\"$defs\":{\"c\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}}" \
    "}"
#define REQUEST(members)                                                                           \
    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"be brief\"},"               \
    "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"hi\"},{\"type\":"               \
    "\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iVBORw0KGgo=\"}}]},"             \
    "{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c1\",\"function\":{\"name\":\"look\","      \
    "\"arguments\":\"{\\\"x\\\":1}\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":"  \
    "\"seen\"}],\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"look\","                \
    "\"parameters\":{\"type\":\"object\"}}},{\"type\":\"function\",\"function\":{\"name\":"        \
    "\"shell\"}}]" members "}"
#define FORMAT(members)                                                                            \
    ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\"," members "}}"

static bool take_request(struct chat_request *ret, const char *body, struct buf *out)
{
    struct api_error error;
    bool ok = chat_request_parse(ret, body, strlen(body), &error);
    if (!ok)
        api_error_write(&error, out);
    return ok;
}

static void run_chat_request(struct buf *out)
{
    static const char *const bodies[] = {
        REQUEST(",\"stop\":[\"END\"],\"n\":2,\"user\":\"u\",\"tool_choice\":\"required\""),
        REQUEST(FORMAT("\"schema\":" SCHEMA)),
        REQUEST(FORMAT("\"schema\":{\"type\":\"object\"}")),
        REQUEST(FORMAT("\"strict\":true,\"schema\":" SCHEMA)),
        "{\"model\":\"m\",\"messages\":[{\"role\":\"user\"}]}",
        "{\"model\":",
        "",
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        struct chat_request request;
        if (take_request(&request, bodies[i], out))
            buf_printf(out, "ignored %s, emulated %s\n", buf_str(&request.ignored),
                       buf_str(&request.emulated));
        chat_request_free(&request);
    }
}

static void run_schema(struct buf *out)
{
    json_t *schema = parse(SCHEMA);
    put_json(out, schema_make_strict(schema));
    json_decref(schema);
}

static void run_plan(struct buf *out)
{
    struct chat_request request;
    struct turn_plan plan;
    unsigned char digest[TURN_DIGEST_BYTES];
    if (!take_request(&request, REQUEST(FORMAT("\"schema\":" SCHEMA)), out))
        return;
    plan_make(&plan, &request, &(struct plan_options){ "gpt-x", "low", "auto" });
    struct conversation *c = conversation_new("me", &plan);
    conversation_digest_seen(c, true, digest);
    put_hex(out, digest, sizeof(digest));
    json_t *items = json_array();
    message_append_items(items, json_array_get(request.messages, 2), 2);
    conversation_digest_after(c, items, false, digest);
    put_hex(out, digest, sizeof(digest));
    put_json(out, items);
    put_json(out, json_incref(plan.thread));
    put_json(out, json_incref(plan.items));
    put_json(out, json_incref(plan.start));
    conversation_free(c);
    turn_plan_free(&plan);
    chat_request_free(&request);
}

static void on_output(void *ctx)
{
    (void)ctx;
}

/* One answer, to a request that streams or not. */
static void answer(const char *body, struct buf *out)
{
    struct chat_request request;
    struct turn_plan plan;
    struct buf frames = BUF_INIT;
    if (!take_request(&request, body, out))
        return;
    begin_worker(out);
    turns = turns_new(deadlines, &turn_options);
    turns_worker_ready(turns, rpc);
    plan_make(&plan, &request, &(struct plan_options){ "gpt-x", NULL, "auto" });
    struct conversation *c = conversation_new("me", &plan);
    struct chat *chat = chat_new(&(struct chat_options){ .request = &request,
                                                         .id = "chatcmpl-1",
                                                         .fingerprint = "fp",
                                                         .created = 1,
                                                         .completion_max_bytes = 100000 },
                                 on_output, NULL);
    chat_set_plan(chat, &plan, c);
    buf_printf(out, "begun %d\n", chat_begin(chat, turns));
    chat_request_free(&request);
    hear_start();
    hear(NOTE("item/reasoning/summaryTextDelta", ",\"delta\":\"why\""));
    hear(DELTA("Hello E"));
    chat_pull(chat, &frames);
    hear(DELTA("N, \\u00e4 \\\"x\\\"\\n"));
    hear(CALLED("c1", "look"));
    hear(CALLED("c2", "shell__client"));
    hear(NOTE("rawResponse/completed", ",\"usage\":{\"totalTokens\":3,\"inputTokens\":2}"));
    hear(COMPLETED("\"completed\""));
    chat_pull(chat, &frames);
    buf_append(out, frames.data, frames.len);
    buf_printf(out, "\nstate %d\n", (int)chat_state(chat));
    chat_free(chat);
    buf_free(&frames);
    turns_free(turns);
    turns = NULL;
    end_worker(out);
}

static void run_chat_stream(struct buf *out)
{
    answer(REQUEST(",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"stop\":\"END\""),
           out);
}

static void run_chat_whole(struct buf *out)
{
    answer(REQUEST(""), out);
}

/* ---- settings, launch, catalog, child ---- */

static void set_environment(void)
{
    environment_empty();
    environment_set("PORT", "0");
    environment_set("CODEX_BIN", "./codex");
    environment_set("CODEX_HOME", folder_name);
    environment_set("CODEX_MODEL", "own-1");
    environment_set("WORKER_CONFIG", "a=1\nb=2");
    environment_set("WORKER_ENV", "PORT");
}

static void run_config(struct buf *out)
{
    struct config config;
    set_environment();
    int wrong = config_load(&config, stderr);
    buf_printf(out, "%d %s %s", wrong, config.codex_home, config.host);
    config_free(&config);
}

static void put_list(struct buf *out, char *const *list)
{
    for (; *list != NULL; list++)
        buf_printf(out, "%s\n", *list);
}

static void run_launch(struct buf *out)
{
    struct config config;
    struct launch launch;
    char *program = path_of("codex");
    set_environment();
    environment_set("CODEX_BIN", program);
    environment_set("OPENAI_API_KEY", "sk-test");
    buf_printf(out, "%d\n", file_replace(program, "x", 1));
    buf_printf(out, "%d\n", config_load(&config, stderr));
    enum launch_source source = launch_find_source(&config, folder_name);
    buf_printf(out, "%s\n", launch_source_name(source));
    launch_make(&launch, &config, folder_name, source, 0);
    buf_printf(out, "%s %s %s\n", launch.file, launch.working_dir, launch.catalog_path);
    put_list(out, launch.argv);
    put_list(out, launch.env);
    launch_free(&launch);
    config_free(&config);
    free(program);
}

static void run_catalog(struct buf *out)
{
    json_t *original = parse("{\"models\":[{\"slug\":\"gpt-x\",\"tool_mode\":\"code\"}]}");
    put_json(out, catalog_strip(original, false, "own-1,gpt-x"));
    put_json(out, catalog_strip(original, true, NULL));
    json_decref(original);
}

static void on_catalog(void *ctx, bool ok)
{
    buf_printf(ctx, "made %d\n", ok);
}

static void run_catalog_job(struct buf *out)
{
    char *path = path_of("catalog.json");
    char *stamp = path_of("catalog.json.stamp");
    char *env[] = { NULL };
    struct catalog_job *job = NULL;
    unlink(stamp);
    const struct catalog_options options = { .file = getenv("FAKE_WORKER_BIN"),
                                             .env = env,
                                             .path = path };
    begin_loop();
    buf_printf(out, "current %d\n", catalog_prepare(&loop, &options, on_catalog, out, &job));
    uv_run(&loop, UV_RUN_DEFAULT);
    buf_printf(out, "current %d\n", catalog_prepare(&loop, &options, on_catalog, out, &job));
    end_loop(out);
    free(stamp);
    free(path);
}

static struct process *child;

static void on_child_line(void *ctx, const char *line, size_t len)
{
    buf_printf(ctx, "said %.*s\n", (int)len, line);
    process_end_input(child);
}

static void on_child_lost(void *ctx, enum process_loss why)
{
    (void)ctx, (void)why; /* before or after the exit */
}

static void on_child_exit(void *ctx, int64_t status, int signal_number)
{
    buf_printf(ctx, "exit %d %d\n", (int)status, signal_number);
    process_release(child);
}

static void run_process(struct buf *out)
{
    static const struct process_events events = { on_child_line, on_child_line, on_child_lost,
                                                  on_child_exit };
    char *argv[] = { (char *)(uintptr_t) "cat", NULL };
    char *env[] = { NULL };
    int error = 0;
    begin_loop();
    child = process_spawn(&loop,
                          &(struct process_options){ .file = "/bin/cat", .argv = argv, .env = env },
                          &events, out, &error);
    buf_printf(out, "spawned %d\n", error);
    if (child != NULL)
        buf_printf(out, "written %d\n", process_write(child, xstrdup("a line\n"), 7));
    uv_run(&loop, UV_RUN_DEFAULT);
    end_loop(out);
}

/* ---- the driver ---- */

struct result { /* in memory that parent and child share */
    size_t made;
    size_t len;
    char bytes[OUTPUT_MAX];
};

static struct result *shared;
static int words; /* what a child says on stderr */

static _Noreturn void be_child(void (*run)(struct buf *out))
{
    struct buf out = BUF_INIT;
    const struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    signal(SIGABRT, SIG_DFL); /* cmocka has handlers of its own */
    signal(SIGSEGV, SIG_DFL);
    alarm(CHILD_MAX_S);
    int log = memfd_create("stdout", 0);
    if (log < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(words, STDERR_FILENO) < 0)
        _exit(1);
    made = 0;
    run(&out);
    shared->made = made;
    fail_at = 0;
    shared->len = out.len < OUTPUT_MAX ? out.len : OUTPUT_MAX;
    memcpy(shared->bytes, out.data, shared->len);
    _exit(0);
}

/* Runs the scenario with its n-th allocation failing; the status of the child. */
static int run_child(void (*run)(struct buf *out), size_t n)
{
    int status = 0;
    shared->made = 0;
    shared->len = 0;
    assert_int_equal(ftruncate(words, 0), 0);
    lseek(words, 0, SEEK_SET);
    fail_at = n;
    pid_t pid = fork();
    if (pid == 0)
        be_child(run);
    fail_at = 0;
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void read_words(char *ret, size_t size)
{
    ssize_t n = pread(words, ret, size - 1, 0);
    ret[n > 0 ? n : 0] = '\0';
}

static void check_scenario(const char *name, void (*run)(struct buf *out))
{
    static char said[8192];
    static char wanted[OUTPUT_MAX];
    size_t died = 0;
    size_t went_on = 0;
    if (run_child(run, 0) != 0) {
        read_words(said, sizeof(said));
        fail_msg("%s: does not even run: %s", name, said);
    }
    size_t total = shared->made;
    size_t wanted_len = shared->len;
    memcpy(wanted, shared->bytes, wanted_len);
    assert_true(total != 0 && wanted_len != 0);
    size_t step = total / FAILURES_MAX + 1;
    for (size_t n = 1; n <= total; n += step) {
        int status = run_child(run, n);
        bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
        read_words(said, sizeof(said));
        if (aborted && strcmp(said, LAST_WORDS) == 0) {
            died++;
            continue;
        }
        bool same = status == 0 && shared->len == wanted_len &&
                    memcmp(shared->bytes, wanted, wanted_len) == 0;
        if (!same)
            fail_msg("%s: allocation %zu of %zu fails: status %d, %s\n%.*s\ninstead of\n%.*s", name,
                     n, total, status, said, (int)shared->len, shared->bytes, (int)wanted_len,
                     wanted);
        went_on++;
    }
    print_message("%-13s %5zu allocations, %5zu failed: %5zu ended it, %zu did not\n", name, total,
                  died + went_on, died, went_on);
}

static const struct scenario {
    const char *name;
    void (*run)(struct buf *out);
} scenarios[] = {
    { "buf", run_buf },
    { "lines", run_lines },
    { "json", run_json },
    { "api_error", run_api_error },
    { "file", run_file },
    { "log", run_log },
    { "redact", run_redact },
    { "access_key", run_access_key },
    { "keyring", run_keyring },
    { "settings_file", run_settings_file },
    { "rpc", run_rpc },
    { "models", run_models },
    { "turn", run_turn },
    { "chat_request", run_chat_request },
    { "schema", run_schema },
    { "plan", run_plan },
    { "chat_stream", run_chat_stream },
    { "chat_whole", run_chat_whole },
    { "config", run_config },
    { "launch", run_launch },
    { "catalog", run_catalog },
    { "catalog_job", run_catalog_job },
    { "process", run_process },
};

static void test_whichever_allocation_fails_it_ends_with_words_or_changes_nothing(void **state)
{
    const struct folder *folder = *state;
    snprintf(folder_name, sizeof(folder_name), "%s", folder->path);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    words = memfd_create("stderr", MFD_CLOEXEC);
    assert_ptr_not_equal(shared, MAP_FAILED);
    assert_true(words >= 0);
    for (size_t i = 0; i < COUNT_OF(scenarios); i++)
        check_scenario(scenarios[i].name, scenarios[i].run);
    close(words);
    munmap(shared, sizeof(*shared));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_whichever_allocation_fails_it_ends_with_words_or_changes_nothing),
    };
    if (access("/dev/shm", W_OK) == 0) /* thousands of small files are written: not to a disk */
        environment_set("TMPDIR", "/dev/shm");
    json_setup();
    uv_replace_allocator(xmalloc, xrealloc, xcalloc, free);
    log_set_level(LOG_SILENCE);
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What of a message of JSON-RPC may be shown. */
#include "trace_allow.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 64 /* characters */
#define CALL_PREFIX "call_"
#define ARRAY_LOOK_MAX 1000 /* items of an array that are looked at */

static int by_name(const void *key, const void *entry)
{
    return strcmp(key, *(const char *const *)entry);
}

static const char *find_name(const char *const *names, size_t count, const char *name)
{
    const char *const *found = bsearch(name, names, count, sizeof(*names), by_name);
    return found != NULL ? *found : NULL;
}

#define FIND(names, name) find_name(names, sizeof(names) / sizeof((names)[0]), name)

/* ---- words ---- */

/* What the app-server asks and tells, and what we ask it. Sorted. */
static const char *const methods[] = {
    "account/chatgptAuthTokens/refresh",
    "account/gatewayOAuth/changed",
    "account/login/completed",
    "account/rateLimits/read",
    "account/rateLimits/updated",
    "account/read",
    "account/updated",
    "app/list/updated",
    "applyPatchApproval",
    "attestation/generate",
    "autoApprovalReview/strictReviewRequired",
    "command/exec/outputDelta",
    "configWarning",
    "currentTime/read",
    "deprecationNotice",
    "error",
    "execCommandApproval",
    "externalAgentConfig/import/completed",
    "externalAgentConfig/import/progress",
    "fs/changed",
    "fuzzyFileSearch/sessionCompleted",
    "fuzzyFileSearch/sessionUpdated",
    "guardianWarning",
    "hook/completed",
    "hook/started",
    "initialize",
    "initialized",
    "item/agentMessage/delta",
    "item/autoApprovalReview/completed",
    "item/autoApprovalReview/started",
    "item/commandExecution/outputDelta",
    "item/commandExecution/requestApproval",
    "item/commandExecution/terminalInteraction",
    "item/completed",
    "item/fileChange/outputDelta",
    "item/fileChange/patchUpdated",
    "item/fileChange/requestApproval",
    "item/mcpToolCall/progress",
    "item/permissions/requestApproval",
    "item/plan/delta",
    "item/reasoning/summaryPartAdded",
    "item/reasoning/summaryTextDelta",
    "item/reasoning/textDelta",
    "item/started",
    "item/tool/call",
    "item/tool/requestUserInput",
    "mcpServer/elicitation/request",
    "mcpServer/event/stream/notification",
    "mcpServer/oauthLogin/completed",
    "mcpServer/startupStatus/updated",
    "model/list",
    "model/rerouted",
    "model/safetyBuffering/updated",
    "model/verification",
    "modelProvider/authRecoveryCompleted",
    "modelProvider/authRecoveryStarted",
    "process/exited",
    "process/outputDelta",
    "project/changed",
    "rawResponse/completed",
    "rawResponseItem/completed",
    "remoteControl/status/changed",
    "server/diagnostics",
    "serverRequest/resolved",
    "skills/changed",
    "thread/archived",
    "thread/attachment/updated",
    "thread/closed",
    "thread/compacted",
    "thread/deleted",
    "thread/environment/connected",
    "thread/environment/disconnected",
    "thread/goal/cleared",
    "thread/goal/updated",
    "thread/inject_items",
    "thread/loaded/list",
    "thread/name/updated",
    "thread/prediction/updated",
    "thread/project/updated",
    "thread/queue/changed",
    "thread/readState/changed",
    "thread/realtime/closed",
    "thread/realtime/error",
    "thread/realtime/item/completed",
    "thread/realtime/item/started",
    "thread/realtime/item/transcript/delta",
    "thread/realtime/itemAdded",
    "thread/realtime/outputAudio/delta",
    "thread/realtime/sdp",
    "thread/realtime/started",
    "thread/realtime/transcript/delta",
    "thread/realtime/transcript/done",
    "thread/reverted",
    "thread/section/changed",
    "thread/settings/updated",
    "thread/start",
    "thread/started",
    "thread/status/changed",
    "thread/tokenUsage/updated",
    "thread/unarchived",
    "thread/unsubscribe",
    "turn/completed",
    "turn/diff/updated",
    "turn/interrupt",
    "turn/moderationMetadata",
    "turn/plan/updated",
    "turn/start",
    "turn/started",
    "warning",
    "windows/worldWritableWarning",
    "windowsSandbox/setupCompleted",
};

/* Those of them that come for each piece of a text, an output or a file. Sorted. */
static const char *const pieces[] = {
    "command/exec/outputDelta",
    "externalAgentConfig/import/progress",
    "item/agentMessage/delta",
    "item/commandExecution/outputDelta",
    "item/fileChange/outputDelta",
    "item/mcpToolCall/progress",
    "item/plan/delta",
    "item/reasoning/summaryTextDelta",
    "item/reasoning/textDelta",
    "other",
    "process/outputDelta",
    "thread/realtime/item/transcript/delta",
    "thread/realtime/outputAudio/delta",
    "thread/realtime/transcript/delta",
};

/* Values of types, roles, phases, states, options and errors. Sorted. */
static const char *const words[] = {
    "active",
    "activeTurnNotSteerable",
    "agentMessage",
    "assistant",
    "auto",
    "badRequest",
    "collabAgentToolCall",
    "commandExecution",
    "commentary",
    "completed",
    "concise",
    "contextCompaction",
    "contextWindowExceeded",
    "custom_tool_call",
    "custom_tool_call_output",
    "cyberPolicy",
    "danger-full-access",
    "default",
    "detailed",
    "developer",
    "dynamicToolCall",
    "enteredReviewMode",
    "exitedReviewMode",
    "failed",
    "fast",
    "fileChange",
    "final_answer",
    "flex",
    "flexUnavailable",
    "functionCallOutput",
    "function_call",
    "function_call_output",
    "high",
    "hookPrompt",
    "httpConnectionFailed",
    "idle",
    "imageGeneration",
    "imageView",
    "inProgress",
    "in_progress",
    "incomplete",
    "inferenceHookDenied",
    "internalServerError",
    "interrupted",
    "local_shell_call",
    "low",
    "mcpToolCall",
    "medium",
    "message",
    "minimal",
    "misalignmentPolicyViolation",
    "modelNotFound",
    "never",
    "none",
    "notLoaded",
    "on-failure",
    "on-request",
    "other",
    "plan",
    "policyCapacityUnavailable",
    "priority",
    "rateLimitExceeded",
    "read-only",
    "reasoning",
    "responseStreamConnectionFailed",
    "responseStreamDisconnected",
    "responseTooManyFailedAttempts",
    "sandboxError",
    "serverOverloaded",
    "sessionBudgetExceeded",
    "sleep",
    "subAgentActivity",
    "system",
    "systemError",
    "threadRollbackFailed",
    "tooManyDenials",
    "tool",
    "unauthorized",
    "untrusted",
    "usageLimitExceeded",
    "user",
    "userMessage",
    "webSearch",
    "web_search_call",
    "workspace-write",
    "xhigh",
};

const char *trace_allow_method(const char *method)
{
    const char *known = FIND(methods, method);
    return known != NULL ? known : "other";
}

bool trace_allow_is_piece(const char *known_method)
{
    return FIND(pieces, known_method) != NULL;
}

/* ---- ids ---- */

static bool is_uuid(const char *text, size_t len)
{
    if (len != 36)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool hex = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
        if (dash ? text[i] != '-' : !hex)
            return false;
    }
    return true;
}

static bool is_id_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

bool trace_allow_is_id(const char *text, size_t len)
{
    static const char *const prefixes[] = {
        "call_", "fc_", "fco_",    "item-",   "item_", "msg_",
        "resp_", "rs_", "thread-", "thread_", "turn-", "turn_"
    };
    size_t prefix = 0;
    if (is_uuid(text, len))
        return true;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]) && prefix == 0; i++)
        if (len > strlen(prefixes[i]) && memcmp(text, prefixes[i], strlen(prefixes[i])) == 0)
            prefix = strlen(prefixes[i]);
    for (size_t i = prefix; i < len; i++)
        if (!is_id_char(text[i]))
            return false;
    return prefix != 0 && len <= ID_MAX;
}

/* ---- members ---- */

enum place { CONTENT, ITEM, THREAD, TURN, USAGE, ERROR, CAUSE, NOWHERE };

enum kind {
    ID,      /* shown if it has the form of one */
    CALL_ID, /* its mark is shown, if it has the form of an id */
    WORD,    /* shown if it is one of `words` */
    NUMBER,  /* an integer */
    BOOL,    /* a boolean */
    COUNT,   /* of an array */
    ITEMS,   /* its count, and how many there are of each role and type */
    SIZE,    /* of a string, by its name */
    VARIANT, /* a word, or an object whose one member has a word for a name */
    INSIDE   /* an object whose members have rows of their own */
};

static const struct row {
    enum place place;
    const char *member;
    enum kind kind;
    const char *name;   /* as it is shown */
    enum place members; /* of INSIDE and VARIANT */
} rows[] = {
    { CONTENT, "threadId", ID, "thread_id", NOWHERE },
    { CONTENT, "turnId", ID, "turn_id", NOWHERE },
    { CONTENT, "itemId", ID, "item_id", NOWHERE },
    { CONTENT, "callId", CALL_ID, "call_id", NOWHERE },
    { CONTENT, "responseId", ID, "response_id", NOWHERE },
    { CONTENT, "delta", SIZE, NULL, NOWHERE },
    { CONTENT, "item", INSIDE, NULL, ITEM },
    { CONTENT, "turn", INSIDE, NULL, TURN },
    { CONTENT, "thread", INSIDE, NULL, THREAD },
    { CONTENT, "usage", INSIDE, NULL, USAGE },
    { CONTENT, "error", INSIDE, NULL, ERROR },
    { CONTENT, "items", ITEMS, "items", NOWHERE },
    { CONTENT, "input", COUNT, "input", NOWHERE },
    { CONTENT, "dynamicTools", COUNT, "tools", NOWHERE },
    { CONTENT, "contentItems", COUNT, "content_items", NOWHERE },
    { CONTENT, "success", BOOL, "success", NOWHERE },
    { CONTENT, "willRetry", BOOL, "will_retry", NOWHERE },
    { CONTENT, "effort", WORD, "effort", NOWHERE },
    { CONTENT, "summary", WORD, "summary", NOWHERE },
    { CONTENT, "serviceTier", WORD, "service_tier", NOWHERE },
    { CONTENT, "approvalPolicy", WORD, "approval_policy", NOWHERE },
    { CONTENT, "sandbox", WORD, "sandbox", NOWHERE },
    { CONTENT, "ephemeral", BOOL, "ephemeral", NOWHERE },
    { CONTENT, "status", VARIANT, "thread_status", NOWHERE },
    { CONTENT, "tool", SIZE, "tool", NOWHERE },
    { CONTENT, "arguments", SIZE, "arguments", NOWHERE },
    { CONTENT, "message", SIZE, "message", NOWHERE },
    { ITEM, "type", WORD, "item_type", NOWHERE },
    { ITEM, "id", ID, "item_id", NOWHERE },
    { ITEM, "call_id", CALL_ID, "call_id", NOWHERE },
    { ITEM, "phase", WORD, "phase", NOWHERE },
    { ITEM, "role", WORD, "role", NOWHERE },
    { ITEM, "status", WORD, "item_status", NOWHERE },
    { ITEM, "success", BOOL, "success", NOWHERE },
    { ITEM, "name", SIZE, "name", NOWHERE },
    { ITEM, "arguments", SIZE, "arguments", NOWHERE },
    { ITEM, "text", SIZE, "text", NOWHERE },
    { ITEM, "content", COUNT, "content", NOWHERE },
    { THREAD, "id", ID, "thread_id", NOWHERE },
    { TURN, "id", ID, "turn_id", NOWHERE },
    { TURN, "status", WORD, "turn_status", NOWHERE },
    { TURN, "items", COUNT, "turn_items", NOWHERE },
    { TURN, "error", INSIDE, NULL, ERROR },
    { USAGE, "inputTokens", NUMBER, "tokens_prompt", NOWHERE },
    { USAGE, "cachedInputTokens", NUMBER, "tokens_cached", NOWHERE },
    { USAGE, "outputTokens", NUMBER, "tokens_completion", NOWHERE },
    { USAGE, "reasoningOutputTokens", NUMBER, "tokens_reasoning", NOWHERE },
    { ERROR, "message", SIZE, "message", NOWHERE },
    { ERROR, "codexErrorInfo", VARIANT, "error_kind", CAUSE },
    { CAUSE, "httpStatusCode", NUMBER, "http_status", NOWHERE },
};

static const struct row *find_row(enum place place, const char *member)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].place == place && rows[i].member[0] == member[0] &&
            strcmp(rows[i].member, member) == 0)
            return &rows[i];
    return NULL;
}

/* ---- values ---- */

struct description {
    struct buf *out;   /* borrowed; NULL: only what is withheld is of interest */
    uint64_t withheld; /* bytes */
};

static void put_name(struct buf *out, const char *name, const char *suffix)
{
    buf_puts(out, ",\"");
    buf_puts(out, name);
    buf_puts(out, suffix);
    buf_puts(out, "\":");
}

static void put_number(struct description *d, const char *name, const char *suffix,
                       json_int_t value)
{
    if (d->out == NULL)
        return;
    put_name(d->out, name, suffix);
    buf_put_int(d->out, value);
}

/* A word or an id: there is nothing to escape in them. */
static void put_word(struct description *d, const char *name, const char *value)
{
    if (d->out == NULL)
        return;
    put_name(d->out, name, "");
    buf_putc(d->out, '"');
    buf_puts(d->out, value);
    buf_putc(d->out, '"');
}

/* A string of which only the length is told: under its name, if it has one, else together with others. */
static void withhold(struct description *d, const char *name, const json_t *value)
{
    size_t len = json_string_length(value);
    if (name != NULL)
        put_number(d, name, "_bytes", (json_int_t)len);
    else
        d->withheld += len;
}

/* Clients and models make up the ids of calls, so what such a one says is not shown, but which are the same. */
static void put_mark(struct description *d, const char *name, const json_t *value)
{
    static unsigned char key[crypto_shorthash_KEYBYTES]; /* of this process: nobody can try texts */
    static bool has_key;
    unsigned char hash[crypto_shorthash_BYTES];
    char mark[sizeof(CALL_PREFIX) + 2 * sizeof(hash)] = CALL_PREFIX;
    if (!has_key)
        crypto_shorthash_keygen(key);
    has_key = true;
    crypto_shorthash(hash, (const unsigned char *)json_string_value(value),
                     json_string_length(value), key);
    sodium_bin2hex(mark + strlen(CALL_PREFIX), 2 * sizeof(hash) + 1, hash, sizeof(hash));
    put_word(d, name, mark);
}

static void put_id(struct description *d, const char *name, const json_t *value, bool of_call)
{
    const char *text = json_string_value(value);
    if (!trace_allow_is_id(text, json_string_length(value)))
        withhold(d, name, value);
    else if (of_call || strncmp(text, CALL_PREFIX, strlen(CALL_PREFIX)) == 0)
        put_mark(d, name, value);
    else
        put_word(d, name, text);
}

static void put_enum(struct description *d, const char *name, const json_t *value)
{
    const char *word = FIND(words, json_string_value(value));
    if (word != NULL)
        put_word(d, name, word);
    else
        withhold(d, name, value);
}

/* How many members of the array are of each of these kinds. */
static void put_counts(struct description *d, const json_t *array, const char *member,
                       const char *name, const char *const *kinds, size_t kind_count)
{
    size_t counts[8] = { 0 };
    char mark = '{';
    for (size_t i = 0; i < json_array_size(array) && i < ARRAY_LOOK_MAX; i++) {
        const char *value = json_string_value(json_object_get(json_array_get(array, i), member));
        for (size_t k = 0; value != NULL && k < kind_count; k++)
            counts[k] += strcmp(value, kinds[k]) == 0;
    }
    for (size_t k = 0; k < kind_count; k++) {
        if (counts[k] == 0)
            continue;
        if (mark == '{')
            put_name(d->out, name, "");
        buf_printf(d->out, "%c\"%s\":%zu", mark, kinds[k], counts[k]);
        mark = ',';
    }
    if (mark == ',')
        buf_putc(d->out, '}');
}

static void put_items(struct description *d, const char *name, const json_t *array)
{
    static const char *const roles[] = { "developer", "user", "assistant" };
    static const char *const types[] = { "message", "function_call", "function_call_output" };
    put_number(d, name, "", (json_int_t)json_array_size(array));
    if (d->out == NULL)
        return;
    put_counts(d, array, "role", "roles", roles, sizeof(roles) / sizeof(roles[0]));
    put_counts(d, array, "type", "item_types", types, sizeof(types) / sizeof(types[0]));
}

static void put_string(struct description *d, const struct row *row, const json_t *value)
{
    if (row->kind == ID || row->kind == CALL_ID)
        put_id(d, row->name, value, row->kind == CALL_ID);
    else if (row->kind == WORD || row->kind == VARIANT)
        put_enum(d, row->name, value);
    else
        withhold(d, row->kind == SIZE ? row->name : NULL, value);
}

static void put_scalar(struct description *d, const struct row *row, const json_t *value)
{
    if (row->kind == NUMBER && json_is_integer(value))
        put_number(d, row->name, "", json_integer_value(value));
    else if (row->kind == BOOL && json_is_boolean(value) && d->out != NULL) {
        put_name(d->out, row->name, "");
        buf_puts(d->out, json_is_true(value) ? "true" : "false");
    }
}

static void put_array(struct description *d, const struct row *row, const json_t *value)
{
    if (row->kind == ITEMS)
        put_items(d, row->name, value);
    else if (row->kind == COUNT)
        put_number(d, row->name, "", (json_int_t)json_array_size(value));
}

/* The first level below the content, the members in it, an error of a turn, its cause: no deeper. The rows have no circle. */
static void put_members(struct description *d, enum place place, const json_t *object)
{
    const char *member = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)object, member, value)
    {
        const struct row *row = find_row(place, member);
        if (row == NULL) {
            withhold(d, NULL, value);
        } else if (json_is_string(value)) {
            put_string(d, row, value);
        } else if (json_is_array(value)) {
            put_array(d, row, value);
        } else if (json_is_object(value) && row->kind == INSIDE) {
            put_members(d, row->members, value);
        } else if (json_is_object(value) && row->kind == VARIANT) {
            void *first = json_object_iter(value);
            const char *word = first != NULL ? FIND(words, json_object_iter_key(first)) : NULL;
            if (word != NULL) {
                put_word(d, row->name, word);
                put_members(d, row->members, json_object_iter_value(first));
            }
        } else {
            put_scalar(d, row, value);
        }
    }
}

uint64_t trace_allow_describe(struct buf *out, const json_t *content)
{
    struct description d = { .out = out };
    put_members(&d, CONTENT, content);
    return d.withheld;
}

void trace_allow_rpc_id(struct buf *out, const json_t *id)
{
    struct description d = { .out = out };
    if (json_is_integer(id))
        put_number(&d, "id", "", json_integer_value(id));
    else if (json_is_string(id))
        withhold(&d, "id", id);
}

/* What of a message of JSON-RPC may be shown. */
#include "trace_allow.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define ID_MAX 64 /* characters */
#define CALL_PREFIX "call_"
#define ARRAY_LOOK_MAX 1000 /* items of an array that are looked at */

/* ---- words ---- */

/* What the app-server asks and tells, and what we ask it; those that come for each piece of a text, an output or a file. Sorted. */
static const struct trace_method methods[] = {
    { "account/chatgptAuthTokens/refresh", false },
    { "account/gatewayOAuth/changed", false },
    { "account/login/completed", false },
    { "account/rateLimits/read", false },
    { "account/rateLimits/updated", false },
    { "account/read", false },
    { "account/updated", false },
    { "app/list/updated", false },
    { "applyPatchApproval", false },
    { "attestation/generate", false },
    { "autoApprovalReview/strictReviewRequired", false },
    { "command/exec/outputDelta", true },
    { "configWarning", false },
    { "currentTime/read", false },
    { "deprecationNotice", false },
    { "error", false },
    { "execCommandApproval", false },
    { "externalAgentConfig/import/completed", false },
    { "externalAgentConfig/import/progress", true },
    { "fs/changed", false },
    { "fuzzyFileSearch/sessionCompleted", false },
    { "fuzzyFileSearch/sessionUpdated", false },
    { "guardianWarning", false },
    { "hook/completed", false },
    { "hook/started", false },
    { "initialize", false },
    { "initialized", false },
    { "item/agentMessage/delta", true },
    { "item/autoApprovalReview/completed", false },
    { "item/autoApprovalReview/started", false },
    { "item/commandExecution/outputDelta", true },
    { "item/commandExecution/requestApproval", false },
    { "item/commandExecution/terminalInteraction", false },
    { "item/completed", false },
    { "item/fileChange/outputDelta", true },
    { "item/fileChange/patchUpdated", false },
    { "item/fileChange/requestApproval", false },
    { "item/mcpToolCall/progress", true },
    { "item/permissions/requestApproval", false },
    { "item/plan/delta", true },
    { "item/reasoning/summaryPartAdded", false },
    { "item/reasoning/summaryTextDelta", true },
    { "item/reasoning/textDelta", true },
    { "item/started", false },
    { "item/tool/call", false },
    { "item/tool/requestUserInput", false },
    { "mcpServer/elicitation/request", false },
    { "mcpServer/event/stream/notification", false },
    { "mcpServer/oauthLogin/completed", false },
    { "mcpServer/startupStatus/updated", false },
    { "model/list", false },
    { "model/rerouted", false },
    { "model/safetyBuffering/updated", false },
    { "model/verification", false },
    { "modelProvider/authRecoveryCompleted", false },
    { "modelProvider/authRecoveryStarted", false },
    { "process/exited", false },
    { "process/outputDelta", true },
    { "project/changed", false },
    { "rawResponse/completed", false },
    { "rawResponseItem/completed", false },
    { "remoteControl/status/changed", false },
    { "server/diagnostics", false },
    { "serverRequest/resolved", false },
    { "skills/changed", false },
    { "thread/archived", false },
    { "thread/attachment/updated", false },
    { "thread/closed", false },
    { "thread/compacted", false },
    { "thread/deleted", false },
    { "thread/environment/connected", false },
    { "thread/environment/disconnected", false },
    { "thread/goal/cleared", false },
    { "thread/goal/updated", false },
    { "thread/inject_items", false },
    { "thread/loaded/list", false },
    { "thread/name/updated", false },
    { "thread/prediction/updated", false },
    { "thread/project/updated", false },
    { "thread/queue/changed", false },
    { "thread/readState/changed", false },
    { "thread/realtime/closed", false },
    { "thread/realtime/error", false },
    { "thread/realtime/item/completed", false },
    { "thread/realtime/item/started", false },
    { "thread/realtime/item/transcript/delta", true },
    { "thread/realtime/itemAdded", false },
    { "thread/realtime/outputAudio/delta", true },
    { "thread/realtime/sdp", false },
    { "thread/realtime/started", false },
    { "thread/realtime/transcript/delta", true },
    { "thread/realtime/transcript/done", false },
    { "thread/reverted", false },
    { "thread/section/changed", false },
    { "thread/settings/updated", false },
    { "thread/start", false },
    { "thread/started", false },
    { "thread/status/changed", false },
    { "thread/tokenUsage/updated", false },
    { "thread/unarchived", false },
    { "thread/unsubscribe", false },
    { "turn/completed", false },
    { "turn/diff/updated", false },
    { "turn/interrupt", false },
    { "turn/moderationMetadata", false },
    { "turn/plan/updated", false },
    { "turn/start", false },
    { "turn/started", false },
    { "warning", false },
    { "windows/worldWritableWarning", false },
    { "windowsSandbox/setupCompleted", false },
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

static int by_name(const void *key, const void *entry)
{
    return strcmp(key, *(const char *const *)entry);
}

/* What the array, whose members begin with their names, has of that name. */
#define FIND(array, name)                                                                          \
    bsearch(name, array, sizeof(array) / sizeof((array)[0]), sizeof((array)[0]), by_name)

const struct trace_method *trace_allow_method(const char *method)
{
    static const struct trace_method other = { "other", true };
    const struct trace_method *known = FIND(methods, method);
    return known != NULL ? known : &other;
}

static const char *find_word(const char *text)
{
    const char *const *word = FIND(words, text);
    return word != NULL ? *word : NULL;
}

/* ---- ids ---- */

static bool is_hex(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
            return false;
    return true;
}

static bool is_uuid(const char *text, size_t len)
{
    return len == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' &&
           is_hex(text, 8) && is_hex(text + 9, 4) && is_hex(text + 14, 4) && is_hex(text + 19, 4) &&
           is_hex(text + 24, 12);
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
        if (text[0] == prefixes[i][0] && len > strlen(prefixes[i]) &&
            memcmp(text, prefixes[i], strlen(prefixes[i])) == 0)
            prefix = strlen(prefixes[i]);
    for (size_t i = prefix; i < len; i++)
        if (!is_id_char(text[i]))
            return false;
    return prefix != 0 && len <= ID_MAX;
}

/* ---- members ---- */

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

/* Members of an object. What is in most messages stands first. */
struct row {
    const char *member; /* NULL: the end */
    enum kind kind;
    const char *name;          /* as it is shown */
    const char *size_name;     /* as its length is */
    const struct row *members; /* of INSIDE and VARIANT; NULL: none that may be shown */
};

#define NAMED(name) name, name "_bytes"
#define NAMELESS NULL, NULL

static const struct row cause_rows[] = {
    { "httpStatusCode", NUMBER, NAMED("http_status"), NULL },
    { NULL, ID, NAMELESS, NULL },
};

static const struct row error_rows[] = {
    { "message", SIZE, NAMED("message"), NULL },
    { "codexErrorInfo", VARIANT, NAMED("error_kind"), cause_rows },
    { NULL, ID, NAMELESS, NULL },
};

static const struct row usage_rows[] = {
    { "inputTokens", NUMBER, NAMED("tokens_prompt"), NULL },
    { "cachedInputTokens", NUMBER, NAMED("tokens_cached"), NULL },
    { "outputTokens", NUMBER, NAMED("tokens_completion"), NULL },
    { "reasoningOutputTokens", NUMBER, NAMED("tokens_reasoning"), NULL },
    { NULL, ID, NAMELESS, NULL },
};

static const struct row turn_rows[] = {
    { "id", ID, NAMED("turn_id"), NULL },
    { "status", WORD, NAMED("turn_status"), NULL },
    { "items", COUNT, NAMED("turn_items"), NULL },
    { "error", INSIDE, NAMELESS, error_rows },
    { NULL, ID, NAMELESS, NULL },
};

static const struct row thread_rows[] = {
    { "id", ID, NAMED("thread_id"), NULL },
    { NULL, ID, NAMELESS, NULL },
};

static const struct row item_rows[] = {
    { "type", WORD, NAMED("item_type"), NULL },      { "id", ID, NAMED("item_id"), NULL },
    { "call_id", CALL_ID, NAMED("call_id"), NULL },  { "phase", WORD, NAMED("phase"), NULL },
    { "role", WORD, NAMED("role"), NULL },           { "status", WORD, NAMED("item_status"), NULL },
    { "success", BOOL, NAMED("success"), NULL },     { "name", SIZE, NAMED("name"), NULL },
    { "arguments", SIZE, NAMED("arguments"), NULL }, { "text", SIZE, NAMED("text"), NULL },
    { "content", COUNT, NAMED("content"), NULL },    { NULL, ID, NAMELESS, NULL },
};

static const struct row content_rows[] = {
    { "threadId", ID, NAMED("thread_id"), NULL },
    { "turnId", ID, NAMED("turn_id"), NULL },
    { "itemId", ID, NAMED("item_id"), NULL },
    { "callId", CALL_ID, NAMED("call_id"), NULL },
    { "responseId", ID, NAMED("response_id"), NULL },
    { "delta", SIZE, NAMELESS, NULL },
    { "item", INSIDE, NAMELESS, item_rows },
    { "turn", INSIDE, NAMELESS, turn_rows },
    { "thread", INSIDE, NAMELESS, thread_rows },
    { "usage", INSIDE, NAMELESS, usage_rows },
    { "error", INSIDE, NAMELESS, error_rows },
    { "items", ITEMS, NAMED("items"), NULL },
    { "input", COUNT, NAMED("input"), NULL },
    { "dynamicTools", COUNT, NAMED("tools"), NULL },
    { "contentItems", COUNT, NAMED("content_items"), NULL },
    { "success", BOOL, NAMED("success"), NULL },
    { "willRetry", BOOL, NAMED("will_retry"), NULL },
    { "effort", WORD, NAMED("effort"), NULL },
    { "summary", WORD, NAMED("summary"), NULL },
    { "serviceTier", WORD, NAMED("service_tier"), NULL },
    { "approvalPolicy", WORD, NAMED("approval_policy"), NULL },
    { "sandbox", WORD, NAMED("sandbox"), NULL },
    { "ephemeral", BOOL, NAMED("ephemeral"), NULL },
    { "status", VARIANT, NAMED("thread_status"), NULL },
    { "tool", SIZE, NAMED("tool"), NULL },
    { "arguments", SIZE, NAMED("arguments"), NULL },
    { "message", SIZE, NAMED("message"), NULL },
    { NULL, ID, NAMELESS, NULL },
};

static const struct row *find_row(const struct row *rows, const char *member)
{
    for (const struct row *row = rows; row != NULL && row->member != NULL; row++)
        if (row->member[0] == member[0] && row->member[1] == member[1] &&
            strcmp(row->member, member) == 0)
            return row;
    return NULL;
}

/* ---- values ---- */

/* A string of which only the length is told: under a name, if it has one, else together with others. */
static void withhold(struct trace_facts *facts, const char *size_name, const json_t *value)
{
    size_t len = json_string_length(value);
    if (size_name != NULL)
        trace_fact_number(facts, TRACE_FACT_NUMBER, size_name, (int64_t)len);
    else
        facts->withheld += len;
}

/* Clients and models make up the ids of calls, so what such a one says is not shown, but which are the same. */
static void put_mark(struct trace_facts *facts, const char *name, const json_t *value)
{
    static unsigned char key[crypto_shorthash_KEYBYTES]; /* of this process: nobody can try texts */
    static bool has_key;
    int64_t mark = 0;
    _Static_assert(sizeof(mark) == crypto_shorthash_BYTES, "a mark is a hash");
    if (!has_key)
        crypto_shorthash_keygen(key);
    has_key = true;
    crypto_shorthash((unsigned char *)&mark, (const unsigned char *)json_string_value(value),
                     json_string_length(value), key);
    trace_fact_number(facts, TRACE_FACT_MARK, name, mark);
}

static void put_id(struct trace_facts *facts, const struct row *row, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    bool known =
        trace_fact_is_known(facts, row->name, text, len); /* then it was put as it is before */
    if (!known && !trace_allow_is_id(text, len))
        withhold(facts, row->size_name, value);
    else if (!known &&
             (row->kind == CALL_ID || strncmp(text, CALL_PREFIX, strlen(CALL_PREFIX)) == 0))
        put_mark(facts, row->name, value);
    else
        trace_fact_text(facts, row->name, text, len);
}

static void put_enum(struct trace_facts *facts, const struct row *row, const json_t *value)
{
    const char *word = find_word(json_string_value(value));
    if (word != NULL)
        trace_fact_text(facts, row->name, word, strlen(word));
    else
        withhold(facts, row->size_name, value);
}

/* How many members of the array are of each of these kinds. */
static void put_counts(struct trace_facts *facts, const json_t *array, const char *member,
                       const char *name, const char *const *kinds, size_t kind_count)
{
    size_t counts[8] = { 0 };
    bool any = false;
    for (size_t i = 0; i < json_array_size(array) && i < ARRAY_LOOK_MAX; i++) {
        const char *value = json_string_value(json_object_get(json_array_get(array, i), member));
        for (size_t k = 0; value != NULL && k < kind_count; k++)
            counts[k] += strcmp(value, kinds[k]) == 0;
    }
    for (size_t k = 0; k < kind_count; k++) {
        if (counts[k] == 0)
            continue;
        if (!any)
            trace_fact_number(facts, TRACE_FACT_BEGIN, name, 0);
        any = true;
        trace_fact_number(facts, TRACE_FACT_NUMBER, kinds[k], (int64_t)counts[k]);
    }
    if (any)
        trace_fact_number(facts, TRACE_FACT_END, NULL, 0);
}

static void put_items(struct trace_facts *facts, const char *name, const json_t *array)
{
    static const char *const roles[] = { "developer", "user", "assistant" };
    static const char *const types[] = { "message", "function_call", "function_call_output" };
    trace_fact_number(facts, TRACE_FACT_NUMBER, name, (int64_t)json_array_size(array));
    put_counts(facts, array, "role", "roles", roles, sizeof(roles) / sizeof(roles[0]));
    put_counts(facts, array, "type", "item_types", types, sizeof(types) / sizeof(types[0]));
}

static void put_string(struct trace_facts *facts, const struct row *row, const json_t *value)
{
    if (row->kind == ID || row->kind == CALL_ID)
        put_id(facts, row, value);
    else if (row->kind == WORD || row->kind == VARIANT)
        put_enum(facts, row, value);
    else
        withhold(facts, row->kind == SIZE ? row->size_name : NULL, value);
}

static void put_scalar(struct trace_facts *facts, const struct row *row, const json_t *value)
{
    if (row->kind == NUMBER && json_is_integer(value))
        trace_fact_number(facts, TRACE_FACT_NUMBER, row->name, json_integer_value(value));
    else if (row->kind == BOOL && json_is_boolean(value))
        trace_fact_number(facts, TRACE_FACT_BOOL, row->name, json_is_true(value));
}

static void put_array(struct trace_facts *facts, const struct row *row, const json_t *value)
{
    if (row->kind == ITEMS)
        put_items(facts, row->name, value);
    else if (row->kind == COUNT)
        trace_fact_number(facts, TRACE_FACT_NUMBER, row->name, (int64_t)json_array_size(value));
}

/* The first level below the content, the members in it, an error of a turn, its cause: no deeper. The rows have no circle. */
static void put_members(struct trace_facts *facts, const struct row *rows, const json_t *object)
{
    const char *member = NULL;
    json_t *value = NULL;
    json_object_foreach((json_t *)(uintptr_t)object, member, value)
    {
        const struct row *row = find_row(rows, member);
        if (row == NULL) {
            withhold(facts, NULL, value);
        } else if (json_is_string(value)) {
            put_string(facts, row, value);
        } else if (json_is_array(value)) {
            put_array(facts, row, value);
        } else if (json_is_object(value) && row->kind == INSIDE) {
            put_members(facts, row->members, value);
        } else if (json_is_object(value) && row->kind == VARIANT) {
            void *first = json_object_iter(value);
            const char *word = first != NULL ? find_word(json_object_iter_key(first)) : NULL;
            if (word != NULL) {
                trace_fact_text(facts, row->name, word, strlen(word));
                put_members(facts, row->members, json_object_iter_value(first));
            }
        } else {
            put_scalar(facts, row, value);
        }
    }
}

void trace_allow_describe(struct trace_facts *facts, const json_t *content)
{
    put_members(facts, content_rows, content);
}

void trace_allow_rpc_id(struct trace_facts *facts, const json_t *id)
{
    if (json_is_integer(id))
        trace_fact_number(facts, TRACE_FACT_NUMBER, "id", json_integer_value(id));
    else if (json_is_string(id))
        withhold(facts, "id_bytes", id);
}

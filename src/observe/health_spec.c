/* The settings HEALTH_CHECKS and HEALTH_REQUIRED. */
#include "health_spec.h"

#include <stdlib.h>
#include <string.h>

#define HOST_MAX 253
#define PATH_LEN_MAX 4095
#define PORT_MAX 65535
#define AGE_MAX_S INT64_C(315360000) /* ten years */

#define NAME_LETTERS "abcdefghijklmnopqrstuvwxyz0123456789_"
#define HOST_LETTERS                                                                               \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_" /* of a name or IPv4 */
#define IPV6_LETTERS "0123456789abcdefABCDEF:.%"

/* A piece of the text, not NUL-terminated. */
struct piece {
    const char *at;
    size_t len;
};

static struct piece trimmed(struct piece p)
{
    while (p.len > 0 && (*p.at == ' ' || *p.at == '\t')) {
        p.at++;
        p.len--;
    }
    while (p.len > 0 && (p.at[p.len - 1] == ' ' || p.at[p.len - 1] == '\t'))
        p.len--;
    return p;
}

/* The next of what commas separate; false behind the last. `*rest` is NULL then. */
static bool next_piece(const char **rest, struct piece *ret)
{
    if (*rest == NULL)
        return false;
    size_t len = strcspn(*rest, ",");
    *ret = trimmed((struct piece){ *rest, len });
    *rest = (*rest)[len] == ',' ? *rest + len + 1 : NULL;
    return true;
}

static bool consists_of(struct piece p, const char *letters)
{
    for (size_t i = 0; i < p.len; i++)
        if (p.at[i] == '\0' || strchr(letters, p.at[i]) == NULL)
            return false;
    return p.len > 0;
}

static bool starts_with(struct piece *p, const char *word)
{
    size_t len = strlen(word);
    if (p->len < len || memcmp(p->at, word, len) != 0)
        return false;
    *p = (struct piece){ p->at + len, p->len - len };
    return true;
}

static bool parse_number(struct piece p, int64_t max, int64_t *ret)
{
    int64_t number = 0;
    if (p.len == 0 || p.len > 10 || !consists_of(p, "0123456789"))
        return false;
    for (size_t i = 0; i < p.len; i++)
        number = number * 10 + (p.at[i] - '0');
    *ret = number;
    return number >= 1 && number <= max;
}

/* Takes the number behind the last colon off. */
static bool take_number(struct piece *p, int64_t max, int64_t *ret)
{
    const char *colon = memrchr(p->at, ':', p->len);
    if (colon == NULL)
        return false;
    size_t before = (size_t)(colon - p->at);
    bool ok = parse_number((struct piece){ colon + 1, p->len - before - 1 }, max, ret);
    p->len = before;
    return ok;
}

static const char *parse_tcp(struct piece p, struct health_spec *ret)
{
    int64_t port = 0;
    const char *letters = HOST_LETTERS;
    if (!take_number(&p, PORT_MAX, &port))
        return "must be tcp:host:port with a port from 1 to 65535";
    if (p.len > 2 && p.at[0] == '[' && p.at[p.len - 1] == ']') {
        p = (struct piece){ p.at + 1, p.len - 2 };
        letters = IPV6_LETTERS;
    }
    if (p.len > HOST_MAX || !consists_of(p, letters))
        return "must be tcp:host:port with a name, an IPv4 address or an IPv6 address in brackets";
    ret->kind = HEALTH_TCP;
    ret->port = (int)port;
    ret->target = xstrndup(p.at, p.len);
    return NULL;
}

static bool is_printable(struct piece p)
{
    for (size_t i = 0; i < p.len; i++)
        if ((unsigned char)p.at[i] < ' ' || p.at[i] == '\x7f')
            return false;
    return true;
}

static const char *parse_file(struct piece p, struct health_spec *ret)
{
    int64_t age_s = 0;
    if (!take_number(&p, AGE_MAX_S, &age_s))
        return "must be file:/path:seconds with 1 to 315360000 seconds";
    if (p.len == 0 || p.at[0] != '/' || p.len > PATH_LEN_MAX || !is_printable(p))
        return "must be file:/path:seconds with a path from the root on";
    ret->kind = HEALTH_FILE;
    ret->max_age_s = age_s;
    ret->target = xstrndup(p.at, p.len);
    return NULL;
}

static bool is_known(const struct health_specs *specs, const char *name)
{
    for (size_t i = 0; i < specs->count; i++)
        if (strcmp(specs->items[i].name, name) == 0)
            return true;
    return false;
}

static bool is_builtin(const char *name)
{
    for (int i = 0; i < HEALTH_BUILTIN_COUNT; i++)
        if (strcmp(health_builtin_name((enum health_builtin)i), name) == 0)
            return true;
    return false;
}

/* Why this is no check, or NULL. */
static const char *parse_one(struct piece p, const struct health_specs *before,
                             struct health_spec *ret)
{
    const char *equals = memchr(p.at, '=', p.len);
    struct piece name = trimmed((struct piece){ p.at, equals ? (size_t)(equals - p.at) : 0 });
    if (equals == NULL)
        return "must be name=tcp:host:port or name=file:/path:seconds";
    if (name.len > HEALTH_NAME_MAX || !consists_of(name, NAME_LETTERS))
        return "a name has 1 to 32 characters, each one of a-z, 0-9 and _";
    memcpy(ret->name, name.at, name.len);
    if (is_builtin(ret->name))
        return "the name is that of a built-in check";
    if (is_known(before, ret->name))
        return "the name was given to another one before";
    struct piece rest = trimmed((struct piece){ equals + 1, p.len - (size_t)(equals + 1 - p.at) });
    if (starts_with(&rest, "tcp:"))
        return parse_tcp(rest, ret);
    if (starts_with(&rest, "file:"))
        return parse_file(rest, ret);
    return "must be name=tcp:host:port or name=file:/path:seconds";
}

const char *health_builtin_name(enum health_builtin check)
{
    static const char *const names[] = {
        [HEALTH_WORKER] = "worker",
        [HEALTH_WORKER_RPC] = "worker_rpc",
        [HEALTH_MEMORY] = "memory",
        [HEALTH_DISK] = "disk",
        [HEALTH_LOG] = "log",
        [HEALTH_TRACES] = "traces",
        [HEALTH_INTERACTIONS] = "interactions",
    };
    return names[check];
}

bool health_specs_parse(const char *text, struct health_specs *ret, char **ret_why)
{
    struct health_specs specs = { .count = 0 };
    struct piece p;
    const char *why = NULL;
    while (why == NULL && next_piece(&text, &p)) {
        struct health_spec spec = { .port = 0 };
        why = specs.count == HEALTH_SPECS_MAX ? "16 checks are as many as there can be"
                                              : parse_one(p, &specs, &spec);
        if (why == NULL)
            specs.items[specs.count++] = spec;
    }
    if (why == NULL) {
        *ret = specs;
        return true;
    }
    *ret_why = xasprintf("HEALTH_CHECKS: check %zu: %s", specs.count + 1, why);
    health_specs_free(&specs);
    return false;
}

void health_specs_free(struct health_specs *specs)
{
    for (size_t i = 0; i < specs->count; i++)
        free(specs->items[i].target);
    specs->count = 0;
}

bool health_spec_equal(const struct health_spec *a, const struct health_spec *b)
{
    return strcmp(a->name, b->name) == 0 && a->kind == b->kind &&
           strcmp(a->target, b->target) == 0 && a->port == b->port && a->max_age_s == b->max_age_s;
}

bool health_required_has(const char *required, const char *name)
{
    struct piece p;
    while (next_piece(&required, &p))
        if (p.len == strlen(name) && memcmp(p.at, name, p.len) == 0)
            return true;
    return false;
}

static bool check_required(const char *required, const struct health_specs *specs, char **ret_why)
{
    struct piece p;
    for (size_t number = 1; next_piece(&required, &p); number++) {
        char name[HEALTH_NAME_MAX + 1] = "";
        if (p.len <= HEALTH_NAME_MAX)
            memcpy(name, p.at, p.len);
        if (!is_builtin(name) && !is_known(specs, name)) {
            *ret_why = xasprintf("HEALTH_REQUIRED: name %zu: there is no such check", number);
            return false;
        }
    }
    return true;
}

bool health_settings_check(const char *checks, const char *required, char **ret_why)
{
    struct health_specs specs;
    if (!health_specs_parse(checks, &specs, ret_why))
        return false;
    bool ok = check_required(required, &specs, ret_why);
    health_specs_free(&specs);
    return ok;
}

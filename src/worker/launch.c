/* How the worker is launched: its command line, its environment, and whose credentials it uses. */
#include "launch.h"

#include "config.h"
#include "entries.h"
#include "file.h"
#include "mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_FILE_MAX (1024 * 1024)

/* The pure chat worker: no tools, no prompts and no context of codex's own. */
static const char *const chat_profile[] = {
    "web_search=\"disabled\"",
    "thread_unload_delay_secs=0", /* else every thread stays in memory: 1.1-1.4 MB each */
    "include_environment_context=false",
    "include_permissions_instructions=false",
    "include_apps_instructions=false",
    "include_collaboration_mode_instructions=false",
    "project_doc_max_bytes=0",
    "skills.include_instructions=false",
    "skills.bundled.enabled=false",
    "agents.enabled=false",
    "analytics.enabled=false",
    "tools.experimental_request_user_input.enabled=false",
    "features.shell_tool=false",
    "features.unified_exec=false",
    "features.goals=false",
    "features.apps=false",
    "features.hooks=false",
    "features.plugins=false",
    "features.tool_search=false",
    "features.image_generation=false",
    "features.view_image=false",
    "features.computer_use=false",
    "features.browser_use=false",
    "features.guardian_approval=false",
    "features.shell_snapshot=false",
    "features.memories=false",
    "features.skill_mcp_dependency_install=false",
    "features.code_mode_host=false",
};

/* What the worker may see of our environment: never our own settings, which hold keys. */
static const char *const env_allowed[] = {
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "CODEX_CA_CERTIFICATE",
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- a growing NULL-terminated list of strings ---- */

struct list {
    char **items; /* owned, as are the strings */
    size_t count;
};

static void add(struct list *l, char *text)
{
    l->items = xrealloc(l->items, (l->count + 2) * sizeof(*l->items));
    l->items[l->count++] = text;
    l->items[l->count] = NULL;
}

static void add_config(struct list *argv, const char *entry)
{
    add(argv, xstrdup("-c"));
    add(argv, xstrdup(entry));
}

/* Calls `take` for each piece of `text` between any of the `separators`, without blanks around it. */
static void each_piece(const char *text, const char *separators,
                       void (*take)(struct list *, char *), struct list *list)
{
    const char *entry = NULL;
    size_t len = 0;
    while ((entry = entries_next(&text, separators, " \t\r", &len)) != NULL)
        take(list, xstrndup(entry, len));
}

/* ---- the source ---- */

const char *launch_source_name(enum launch_source source)
{
    static const char *const names[] = { "login", "api_key", "provider", "none", "demo" };
    return names[source];
}

/* Whether a line of the text sets `model_provider`, the switch between providers: a top-level key, so it stands before
 * the first table. */
static bool names_provider(const char *toml)
{
    const char *line = toml;
    while (line != NULL) {
        line += *line == '\n';
        line += strspn(line, " \t");
        size_t len = strlen("model_provider");
        if (*line == '[')
            return false;
        if (strncmp(line, "model_provider", len) == 0 && line[len] != '\0' &&
            strchr(" \t=", line[len]) != NULL)
            return true;
        line = strchr(line, '\n');
    }
    return false;
}

static bool has_file(const char *home, const char *name)
{
    char *path = xasprintf("%s/%s", home, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

static bool has_provider(const struct config *config, const char *home)
{
    if (config->worker_config != NULL && names_provider(config->worker_config))
        return true;
    char *path = xasprintf("%s/config.toml", home);
    struct buf text = BUF_INIT;
    bool found = file_read(path, &text, CONFIG_FILE_MAX) && names_provider(buf_str(&text));
    buf_free(&text);
    free(path);
    return found;
}

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0';
}

enum launch_source launch_find_source(const struct config *config, const char *home)
{
    if (config->demo_mode == DEMO_ON)
        return LAUNCH_DEMO;
    if (has_provider(config, home))
        return LAUNCH_PROVIDER;
    if (has_file(home, "auth.json"))
        return LAUNCH_LOGIN;
    if (is_set("OPENAI_API_KEY"))
        return LAUNCH_API_KEY;
    return config->demo_mode == DEMO_AUTO ? LAUNCH_DEMO : LAUNCH_NONE;
}

/* ---- can a turn act on anything? ---- */

/* Settings of the worker that give it hands: an operator who uses them has turns that are not to be run twice. */
static bool gives_tools(const char *toml)
{
    static const char *const names[] = { "mcp_servers",   "features",     "tools",
                                         "web_search",    "agents",       "hooks",
                                         "notify",        "apps",         "plugins",
                                         "experimental_", "sandbox_mode", "profile" };
    for (const char *line = toml; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        line += strspn(line, " \t\r[\"");
        for (size_t i = 0; i < COUNT(names); i++)
            if (strncmp(line, names[i], strlen(names[i])) == 0)
                return true;
    }
    return false;
}

static bool adds_tools(const struct config *config, const char *home)
{
    if (config->worker_config != NULL && gives_tools(config->worker_config))
        return true;
    char *path = xasprintf("%s/config.toml", home);
    struct buf text = BUF_INIT;
    bool found = file_read(path, &text, CONFIG_FILE_MAX) && gives_tools(buf_str(&text));
    buf_free(&text);
    free(path);
    return found;
}

/* ---- the command line ---- */

/* Takes `entry`; a line of comment is none. */
static void add_worker_config(struct list *argv, char *entry)
{
    if (*entry == '#') {
        free(entry);
        return;
    }
    add(argv, xstrdup("-c"));
    add(argv, entry);
}

/* A basic string of TOML escapes as a JSON string does. */
static void put_toml_string(struct buf *out, const char *text)
{
    json_quote(out, text, strlen(text));
}

static void add_loopback_provider(struct list *argv, int port)
{
    add_config(argv, "model_provider=\"codex_demo\"");
    add_config(argv, "model=\"" CATALOG_DEMO_MODEL "\"");
    add(argv, xstrdup("-c"));
    add(argv, xasprintf("model_providers.codex_demo={name=\"Codex demo\", "
                        "base_url=\"http://127.0.0.1:%d/v1\", wire_api=\"responses\", "
                        "requires_openai_auth=false, request_max_retries=0, stream_max_retries=0}",
                        port));
}

/* The key itself stays in the environment: a command line is readable by everyone on the machine. */
static void add_api_key_provider(struct list *argv)
{
    const char *url = getenv("OPENAI_BASE_URL");
    if (url == NULL || *url == '\0')
        url = "https://api.openai.com/v1";
    add_config(argv, "model_provider=\"openai_api_key\"");
    struct buf entry = BUF_INIT;
    buf_puts(&entry, "model_providers.openai_api_key={name=\"OpenAI\", base_url=");
    put_toml_string(&entry, url);
    buf_puts(&entry, ", env_key=\"OPENAI_API_KEY\", wire_api=\"responses\"}");
    add_worker_config(argv, buf_detach(&entry));
}

static char **make_argv(const struct launch *launch, const struct config *config, int demo_port)
{
    struct list argv = { NULL, 0 };
    add(&argv, xstrdup(config->codex_bin));
    add(&argv, xstrdup("app-server"));
    for (size_t i = 0; i < COUNT(chat_profile); i++)
        add_config(&argv, chat_profile[i]);
    if (launch->catalog_path != NULL) {
        struct buf entry = BUF_INIT;
        buf_puts(&entry, "model_catalog_json=");
        put_toml_string(&entry, launch->catalog_path);
        add_worker_config(&argv, buf_detach(&entry));
    }
    if (launch->source == LAUNCH_DEMO)
        add_loopback_provider(&argv, demo_port);
    else if (launch->source == LAUNCH_API_KEY)
        add_api_key_provider(&argv);
    each_piece(config->worker_config, "\n", add_worker_config, &argv);
    return argv.items;
}

/* ---- the environment ---- */

/* A name that stands twice would be read as its first value. */
static void set_variable(struct list *env, const char *name, const char *value)
{
    char *entry = xasprintf("%s=%s", name, value);
    size_t len = strlen(name) + 1;
    for (size_t i = 0; i < env->count; i++) {
        if (strncmp(env->items[i], entry, len) != 0)
            continue;
        free(env->items[i]);
        env->items[i] = entry;
        return;
    }
    add(env, entry);
}

static void add_variable(struct list *env, char *name)
{
    const char *value = getenv(name);
    if (value != NULL)
        set_variable(env, name, value);
    free(name);
}

static char **make_env(const struct launch *launch, const struct config *config, const char *home)
{
    struct list env = { NULL, 0 };
    for (size_t i = 0; i < COUNT(env_allowed); i++)
        add_variable(&env, xstrdup(env_allowed[i]));
    if (launch->source == LAUNCH_API_KEY)
        add_variable(&env, xstrdup("OPENAI_API_KEY"));
    set_variable(&env, "NO_COLOR", "1"); /* its stderr may go into logs */
    each_piece(config->worker_env, ",", add_variable, &env);
    set_variable(&env, "CODEX_HOME", home);
    if (launch->source == LAUNCH_DEMO) {
        /* The demo model is on this machine: no proxy of the environment may come between. */
        set_variable(&env, "NO_PROXY", "127.0.0.1");
        set_variable(&env, "no_proxy", "127.0.0.1");
    }
    return env.items;
}

/* The file that a name without a slash means, as execvp would find it, so that a change of it can be seen; or the name. */
static char *find_in_path(const char *name)
{
    const char *path = getenv("PATH");
    /* The worker is started in a folder of its own: a relative path is meant from here. */
    char absolute[PATH_MAX];
    if (strchr(name, '/') != NULL && realpath(name, absolute) != NULL)
        return xstrdup(absolute);
    while (strchr(name, '/') == NULL && path != NULL && *path != '\0') {
        size_t len = strcspn(path, ":");
        char *file = xasprintf("%.*s/%s", (int)len, path, name);
        if (len != 0 && access(file, X_OK) == 0)
            return file;
        free(file);
        path += len;
        path += *path == ':';
    }
    return xstrdup(name);
}

void launch_make(struct launch *ret, const struct config *config, const char *home,
                 enum launch_source source, int demo_port)
{
    *ret = (struct launch){ .source = source };
    ret->file = find_in_path(config->codex_bin);
    ret->working_dir = xasprintf("%s/workspace", home);
    if (source == LAUNCH_DEMO || config->catalog_mode == CATALOG_STRIPPED)
        ret->catalog_path = xasprintf("%s/model-catalog.json", home);
    ret->extra_models = config->codex_model != NULL ? xstrdup(config->codex_model) : NULL;
    ret->pure_chat = !adds_tools(config, home);
    ret->argv = make_argv(ret, config, demo_port);
    ret->env = make_env(ret, config, home);
}

static void free_list(char **items)
{
    for (char **item = items; item != NULL && *item != NULL; item++)
        free(*item);
    free(items);
}

void launch_free(struct launch *launch)
{
    free(launch->file);
    free(launch->working_dir);
    free(launch->catalog_path);
    free(launch->extra_models);
    free_list(launch->argv);
    free_list(launch->env);
    *launch = (struct launch){ .source = LAUNCH_NONE };
}

/* `codex-api key add|list|remove`: changes the file of named keys. */
#include "key_command.h"

#include "access_key.h"
#include "config.h"
#include "file.h"
#include "key_file.h"
#include "rate_limit.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define EXIT_USAGE 64

struct command {
    const char *path; /* borrowed: of the file */
    const char *name; /* borrowed: of the key; NULL where none is wanted */
    int64_t rpm;      /* -1: not given */
    int64_t burst;    /* -1: not given */
    FILE *out;        /* borrowed */
    FILE *err;        /* borrowed */
};

char *key_command_path(const struct config *config, const char *home)
{
    return config->keys_file != NULL ? xstrdup(config->keys_file) : xasprintf("%s/keys", home);
}

static int fail(const struct command *c, const char *what, const char *why)
{
    fprintf(c->err, "codex-api: %s: %s\n", what, why);
    return 1;
}

static int fail_why(const struct command *c, char *why)
{
    fprintf(c->err, "codex-api: %s\n", why);
    free(why);
    return 1;
}

/* ---- the commands, on a file that is locked and read ---- */

static int add(const struct command *c, struct key_file *file)
{
    struct key_entry entry = { .rpm = c->rpm, .burst = c->burst };
    struct buf key = BUF_INIT;
    char *why = NULL;
    if (key_file_find(file, c->name) >= 0)
        return fail(c, c->name, "there is a key of that name; remove it first");
    if (file->count == KEY_FILE_KEYS_MAX)
        return fail(c, c->path, "it holds as many keys as it can");
    access_key_make(&key);
    memcpy(entry.name, c->name, strlen(c->name) + 1);
    key_hash(file->salt, key.data, key.len, entry.hash);
    key_file_add(file, &entry);
    bool ok = key_file_save(c->path, file, &why);
    if (ok)
        fprintf(c->out, "%s\n", buf_str(&key));
    ok = ok && fflush(c->out) == 0;
    sodium_memzero(key.data, key.cap);
    sodium_memzero(&entry, sizeof(entry));
    buf_free(&key);
    if (why != NULL)
        return fail_why(c, why);
    if (!ok)
        return fail(c, "the key could not be printed; remove it", strerror(errno));
    fprintf(
        c->err,
        "This is the only time that the key '%s' is shown. A codex-api that runs knows it after "
        "a SIGHUP.\n",
        c->name);
    return 0;
}

static int remove_key(const struct command *c, struct key_file *file)
{
    char *why = NULL;
    int at = key_file_find(file, c->name);
    if (at < 0)
        return fail(c, c->name, "there is no key of that name");
    key_file_remove(file, (size_t)at);
    if (!key_file_save(c->path, file, &why))
        return fail_why(c, why);
    fprintf(c->err, "The key '%s' is removed. A codex-api that runs takes it until a SIGHUP.\n",
            c->name);
    return 0;
}

static int list(const struct command *c, struct key_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        const struct key_entry *entry = &file->entries[i];
        fputs(entry->name, c->out);
        if (entry->rpm >= 0)
            fprintf(c->out, " rpm=%lld", (long long)entry->rpm);
        if (entry->burst >= 0)
            fprintf(c->out, " burst=%lld", (long long)entry->burst);
        fputc('\n', c->out);
    }
    return 0;
}

static const struct verb {
    const char *name;
    bool wants_name;
    bool wants_limits;
    int (*run)(const struct command *c, struct key_file *file);
} verbs[] = {
    { "add", true, true, add },
    { "list", false, false, list },
    { "remove", true, false, remove_key },
};

/* ---- arguments ---- */

static int usage(FILE *err, const char *what)
{
    fprintf(err,
            "codex-api: %s\n"
            "usage: codex-api key add NAME [--rpm N] [--burst N]\n"
            "       codex-api key list\n"
            "       codex-api key remove NAME\n"
            "See codex-api --help.\n",
            what);
    return EXIT_USAGE;
}

static bool take_number(const char *text, int64_t least, int64_t *ret)
{
    size_t len = text != NULL ? strlen(text) : 0;
    if (len == 0 || len > 9 || strspn(text, "0123456789") != len)
        return false;
    *ret = strtoll(text, NULL, 10);
    return *ret >= least && *ret <= RATE_RPM_MAX;
}

/* Returns what is wrong, or NULL. */
static const char *take_arguments(struct command *c, const struct verb *verb, char **args)
{
    for (; *args != NULL; args++) {
        if (verb->wants_limits && strcmp(*args, "--rpm") == 0) {
            if (!take_number(*++args, 0, &c->rpm))
                return "--rpm wants a whole number of requests a minute; 0: no limit";
        } else if (verb->wants_limits && strcmp(*args, "--burst") == 0) {
            if (!take_number(*++args, 1, &c->burst))
                return "--burst wants a whole number of requests, at least 1";
        } else if (verb->wants_name && c->name == NULL && (*args)[0] != '-') {
            c->name = *args;
        } else {
            return "an argument too many";
        }
    }
    if (!verb->wants_name)
        return NULL;
    if (c->name == NULL)
        return "which key? a NAME is wanted";
    return key_name_ok(c->name) ? NULL
                                : "a NAME is 1 to 32 of a-z, 0-9, _ and -; 'default' is taken, by "
                                  "PROXY_API_KEY";
}

static int run(const struct command *c, const struct verb *verb)
{
    struct key_file file;
    char *why = NULL;
    int lock = key_file_lock(c->path, &why);
    if (lock < 0)
        return fail_why(c, why);
    if (!key_file_load(c->path, &file, &why)) {
        key_file_unlock(lock);
        return fail_why(c, why);
    }
    int rc = verb->run(c, &file);
    key_file_free(&file);
    key_file_unlock(lock);
    return rc;
}

int key_command(const struct config *config, int argc, char **argv, FILE *out, FILE *err)
{
    struct command c = { .rpm = -1, .burst = -1, .out = out, .err = err };
    const struct verb *verb = NULL;
    for (size_t i = 0; argc > 1 && i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            verb = &verbs[i];
    if (verb == NULL)
        return usage(err, "key wants add, list or remove");
    const char *wrong = take_arguments(&c, verb, argv + 2);
    if (wrong != NULL)
        return usage(err, wrong);
    umask(077);
    if (!file_make_folder(config->codex_home))
        return fail(&c, config->codex_home, strerror(errno));
    char *path = key_command_path(config, config->codex_home);
    c.path = path;
    int rc = run(&c, verb);
    free(path);
    return rc;
}

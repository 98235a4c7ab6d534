/* `codex-api traces [ID [--json]]`: shows the trace files. */
#include "trace_command.h"

#include "clock.h"
#include "config.h"
#include "file.h"
#include "json.h"
#include "terminal.h"
#include "trace_buffer.h"
#include "trace_index.h"
#include "trace_seal.h"
#include "trace_timeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE 64
#define EXIT_CONFIG 78
#define CANDIDATES_MAX 10 /* of a prefix that more than one trace has */

struct command {
    char *folder;               /* owned */
    struct trace_seal_key *key; /* owned; NULL: none */
    struct trace_index index;
    const char *id; /* borrowed: or the beginning of one; NULL: the table */
    bool json;
    FILE *out; /* borrowed */
    FILE *err; /* borrowed */
};

static int fail(const struct command *c, const char *what, const char *why)
{
    struct buf text = BUF_INIT;
    terminal_put(&text, what, strlen(what), false);
    fprintf(c->err, "codex-api: %s: %s\n", buf_str(&text), why);
    buf_free(&text);
    return 1;
}

/* Shows the text, whole or not at all as far as we can tell. */
static int show(const struct command *c, struct buf *text)
{
    bool ok = fwrite(text->data, 1, text->len, c->out) == text->len && fflush(c->out) == 0;
    int error = errno;
    buf_free(text);
    return ok ? 0 : fail(c, "cannot write", strerror(error));
}

/* ---- the table ---- */

static void add_row(const struct command *c, const struct trace_name *name, struct buf *out)
{
    struct buf text = BUF_INIT;
    json_t *trace = NULL;
    char time[CLOCK_ISO_SIZE];
    clock_iso8601(name->wall_ms, time);
    enum trace_read result = trace_file_read(c->folder, name, c->key, &text);
    if (result == TRACE_READ_OK)
        trace = json_parse(text.data, text.len, NULL);
    const struct trace_row row = { .timestamp = time,
                                   .req_id = name->req_id,
                                   .trace = trace,
                                   .wrong = trace == NULL ? trace_read_words(result) : NULL,
                                   .bytes = text.len };
    if (result != TRACE_READ_NONE) /* removed since we looked */
        trace_table_add(out, &row);
    json_decref(trace);
    buf_free(&text);
}

static int show_table(const struct command *c)
{
    struct buf out = BUF_INIT;
    const struct trace_entry *entry = NULL;
    if (c->index.count == 0) {
        fprintf(c->err, "No traces in %s: see PROXY_TRACE_BUFFER.\n", c->folder);
        return 0;
    }
    trace_table_begin(&out);
    for (size_t i = 0; (entry = trace_index_newest(&c->index, i)) != NULL; i++)
        add_row(c, &entry->name, &out);
    return show(c, &out);
}

/* ---- one trace ---- */

/* The one trace whose id begins so; NULL after a complaint. */
static const struct trace_name *find(const struct command *c)
{
    const struct trace_entry *entry = NULL;
    const struct trace_entry *found = NULL;
    size_t count = 0;
    for (size_t i = 0; (entry = trace_index_newest(&c->index, i)) != NULL; i++) {
        if (strncmp(entry->name.req_id, c->id, strlen(c->id)) != 0)
            continue;
        count++;
        if (count == 2)
            fprintf(c->err, "codex-api: more than one trace begins so:\n%s\n", found->name.req_id);
        if (count >= 2 && count <= CANDIDATES_MAX)
            fprintf(c->err, "%s\n", entry->name.req_id);
        found = entry;
    }
    if (count == 0)
        (void)fail(c, c->id, "there is no trace of that request; see codex-api traces");
    return count == 1 ? &found->name : NULL;
}

static int show_one(const struct command *c)
{
    struct buf text = BUF_INIT;
    struct buf out = BUF_INIT;
    const struct trace_name *name = find(c);
    if (name == NULL)
        return 1;
    enum trace_read result = trace_file_read(c->folder, name, c->key, &text);
    json_t *trace = result == TRACE_READ_OK ? json_parse(text.data, text.len, NULL) : NULL;
    if (trace == NULL) {
        int error = errno;
        buf_free(&text);
        return fail(c, name->text,
                    result == TRACE_READ_FAILED ? strerror(error) : trace_read_words(result));
    }
    if (c->json)
        terminal_put(&out, text.data, text.len, true);
    else
        trace_timeline_write(&out, trace);
    if (c->json)
        buf_putc(&out, '\n');
    json_decref(trace);
    buf_free(&text);
    return show(c, &out);
}

/* ---- arguments and surroundings ---- */

static int usage(FILE *err, const char *what)
{
    fprintf(err,
            "codex-api: %s\n"
            "usage: codex-api traces\n"
            "       codex-api traces ID [--json]\n"
            "ID is the x-request-id of an answer, or the beginning of one.\n"
            "See codex-api --help.\n",
            what);
    return EXIT_USAGE;
}

/* Returns what is wrong, or NULL. */
static const char *take_arguments(struct command *c, char **args)
{
    for (; *args != NULL; args++) {
        if (strcmp(*args, "--json") == 0)
            c->json = true;
        else if (c->id == NULL && (*args)[0] != '-' && (*args)[0] != '\0')
            c->id = *args;
        else
            return "traces takes one ID and --json";
    }
    return c->json && c->id == NULL ? "--json wants the ID of a trace" : NULL;
}

/* The key is never made here: what is not there has sealed nothing. */
static int read_key(struct command *c, const char *file)
{
    char *why = NULL;
    if (file == NULL || !file_exists(file))
        return 0;
    c->key = trace_seal_key_read(file, &why);
    if (c->key != NULL)
        return 0;
    fprintf(c->err, "codex-api: PROXY_TRACE_KEY_FILE: %s\n", why);
    free(why);
    return EXIT_CONFIG;
}

static int run(struct command *c)
{
    if (!trace_index_refresh(&c->index, c->folder, true))
        return fail(c, c->folder, strerror(errno));
    return c->id != NULL ? show_one(c) : show_table(c);
}

int trace_command(const struct config *config, int argc, char **argv, FILE *out, FILE *err)
{
    struct command c = { .out = out, .err = err };
    (void)argc;
    const char *wrong = take_arguments(&c, argv + 1);
    if (wrong != NULL)
        return usage(err, wrong);
    c.folder = xasprintf("%s/%s", config->codex_home, TRACE_FOLDER);
    int rc = read_key(&c, config->trace_key_file);
    if (rc == 0)
        rc = run(&c);
    trace_index_free(&c.index);
    trace_seal_key_free(c.key);
    free(c.folder);
    return rc;
}

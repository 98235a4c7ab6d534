/* How the worker is launched: its command line, its environment, and whose credentials it uses. */
#ifndef LAUNCH_H
#define LAUNCH_H

#include "catalog.h"

#include <stdbool.h>

struct config;

/* Where the worker's answers come from. */
enum launch_source {
    LAUNCH_LOGIN,    /* auth.json in CODEX_HOME */
    LAUNCH_API_KEY,  /* OPENAI_API_KEY in our environment */
    LAUNCH_PROVIDER, /* a model provider of the operator's */
    LAUNCH_NONE,     /* none of these; the worker will refuse every turn */
    LAUNCH_DEMO      /* the embedded demo model */
};

const char *launch_source_name(enum launch_source source);

/* All owned. */
struct launch {
    enum launch_source source;
    char *file;
    char **argv;
    char **env;
    char *working_dir;
    char *catalog_path; /* NULL: the worker's own catalog is used */
    char *extra_models; /* for the catalog, with commas; NULL: none */
    bool pure_chat;     /* nothing but the model can act in a turn, so a turn can be run again */
};

/* What the settings and the files in CODEX_HOME (an absolute path) come to. */
enum launch_source launch_find_source(const struct config *config, const char *home);

/* Fills `ret`, to be freed with launch_free; `demo_port` is the embedded model's, when that is the source. */
void launch_make(struct launch *ret, const struct config *config, const char *home,
                 enum launch_source source, int demo_port);

void launch_free(struct launch *launch);

#endif

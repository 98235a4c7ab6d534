/* What is said on stderr at the start, for people. */
#ifndef HINT_H
#define HINT_H

#include "launch.h"

#include <stdbool.h>
#include <stdio.h>

/* The URL of the API behind that address, owned by the caller. */
char *hint_url(const char *host, int port);

/* What is to be known of where the answers come from; demo_wanted: DEMO_MODEL is on, whatever was found. */
void hint_source(FILE *out, enum launch_source source, bool demo_wanted);

/* A model to try, of those named in the setting CODEX_MODEL (may be NULL): static or borrowed from it. */
const char *hint_example_model(enum launch_source source, const char *codex_model);

/* The URL, the key and lines to be pasted. */
void hint_show(FILE *out, const char *url, const char *key, const char *model);

#endif

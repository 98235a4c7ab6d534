/* What is said on stderr at the start, for people. */
#include "hint.h"

#include "catalog.h"
#include "mem.h"

#include <string.h>

#define UNKNOWN_MODEL "MODEL"

/* A literal IPv6 address stands in brackets in a URL; one that means "all" is reached at the loopback. */
char *hint_url(const char *host, int port)
{
    if (strcmp(host, "0.0.0.0") == 0)
        host = "127.0.0.1";
    if (strcmp(host, "::") == 0)
        host = "::1";
    return strchr(host, ':') != NULL ? xasprintf("http://[%s]:%d/v1", host, port)
                                     : xasprintf("http://%s:%d/v1", host, port);
}

void hint_source(FILE *out, enum launch_source source, bool demo_wanted)
{
    switch (source) {
    case LAUNCH_DEMO:
        fprintf(out,
                "codex-api: %s: serving the embedded demo model '" CATALOG_DEMO_MODEL
                "' (canned answers, no real model)\n",
                demo_wanted ? "DEMO_MODEL is on" : "no credentials found");
        break;
    case LAUNCH_NONE:
        fputs(
            "codex-api: no login, no OPENAI_API_KEY and no model provider found: every request is "
            "answered 503; log in (scripts/login) and start again\n",
            out);
        break;
    case LAUNCH_LOGIN:
    case LAUNCH_API_KEY:
    case LAUNCH_PROVIDER:
        break;
    }
}

const char *hint_example_model(enum launch_source source, const char *codex_model)
{
    if (source == LAUNCH_DEMO)
        return CATALOG_DEMO_MODEL;
    return codex_model != NULL ? codex_model : UNKNOWN_MODEL;
}

void hint_show(FILE *out, const char *url, const char *key, const char *model)
{
    fprintf(out, "\n  URL    %s\n  key    %s\n  model  %s%s\n\nTry it:\n\n", url, key, model,
            strcmp(model, UNKNOWN_MODEL) == 0 ? " is one of those that GET /v1/models lists" : "");
    fprintf(out,
            "curl -N %s/chat/completions -H 'Authorization: Bearer %s' -H 'Content-Type: "
            "application/json' -d '{\"model\":\"%s\",\"stream\":true,\"messages\":[{\"role\":"
            "\"user\",\"content\":\"Say hello.\"}]}'\n\n",
            url, key, model);
}

/* codex-api-model-stub: the model stub as a program, the scripted model of the tests. */
#include "json.h"
#include "model_stub.h"
#include "scenario.h"

#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

struct app {
    uv_signal_t signals[2];
    struct model_stub *stub; /* owned; NULL once it is closing */
};

static void print_help(void)
{
    fputs(
        "usage: codex-api-model-stub [--port N]\n"
        "A loopback OpenAI Responses API without a model: POST http://127.0.0.1:N/v1/responses\n\n"
        "  --port N   listen here; 0, the default, takes a free port and says which on stderr\n"
        "  --help     this text\n"
        "  --version  the version\n\n",
        stdout);
    scenario_print_help(stdout);
    printf("\nFor tests:\n"
           "  GET /stub/requests     the last %d requests, oldest first, as a JSON array of {n, "
           "at_ms,\n"
           "                         method, path, query, headers, model, prompt_cache_key, "
           "body_bytes,\n"
           "                         body, state, closed_at_ms, sent_deltas}; state is open, "
           "completed,\n"
           "                         client_closed or dropped (by the scenario)\n"
           "  DELETE /stub/requests  forget them\n"
           "  POST /stub/usage       the body becomes the answer of GET /backend-api/wham/usage, "
           "with\n"
           "                         ?status=N instead of 200; DELETE makes it a 404 again\n",
           MODEL_STUB_JOURNAL_MAX);
}

static int usage_error(const char *what)
{
    fprintf(stderr, "codex-api-model-stub: %s; see --help\n", what);
    return EX_USAGE;
}

static bool parse_port(const char *text, int *ret_port)
{
    char *end;
    long port = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || port < 0 || port > 65535)
        return false;
    *ret_port = (int)port;
    return true;
}

static void on_signal(uv_signal_t *handle, int signum)
{
    (void)signum;
    struct app *app = handle->data;
    if (app->stub == NULL)
        return;
    model_stub_close(app->stub, NULL, NULL);
    app->stub = NULL;
    uv_close((uv_handle_t *)&app->signals[0], NULL);
    uv_close((uv_handle_t *)&app->signals[1], NULL);
}

static int serve(int port)
{
    static const int signums[] = { SIGTERM, SIGINT };
    const struct model_stub_options options = { .port = port,
                                                .journal_max = MODEL_STUB_JOURNAL_MAX };
    const char *why = NULL;
    struct app app;
    uv_loop_t loop;
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&loop);
    app.stub = model_stub_start(&loop, &options, &why);
    if (app.stub != NULL) {
        for (size_t i = 0; i < 2; i++) {
            uv_signal_init(&loop, &app.signals[i]);
            app.signals[i].data = &app;
            uv_signal_start(&app.signals[i], on_signal, signums[i]);
        }
        fprintf(stderr, "listening on http://127.0.0.1:%d/v1\n", model_stub_port(app.stub));
    } else {
        fprintf(stderr, "codex-api-model-stub: cannot listen on port %d: %s\n", port, why);
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return why == NULL ? EXIT_SUCCESS : EX_UNAVAILABLE;
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "port", required_argument, NULL, 'p' },
                                             { "help", no_argument, NULL, 'h' },
                                             { "version", no_argument, NULL, 'v' },
                                             { NULL, 0, NULL, 0 } };
    int port = 0;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, ":", options, NULL)) != -1;) {
        switch (c) {
        case 'p':
            if (!parse_port(optarg, &port))
                return usage_error("--port expects 0 to 65535");
            break;
        case 'h':
            print_help();
            return EXIT_SUCCESS;
        case 'v':
            puts("codex-api-model-stub " CODEX_API_VERSION);
            return EXIT_SUCCESS;
        case ':':
            return usage_error("an option lacks its value");
        default:
            return usage_error("unknown option");
        }
    }
    if (optind != argc)
        return usage_error("unexpected argument");
    json_setup();
    return serve(port);
}

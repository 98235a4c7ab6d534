/* The command line of codex-api. */
#include "app.h"
#include "chat_request.h"
#include "command_config.h"
#include "config.h"
#include "json.h"
#include "key_command.h"
#include "key_sources.h"
#include "mem.h"
#include "observatory.h"
#include "sentinel.h"
#include "status_command.h"
#include "trace_command.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#define EXIT_USAGE 64
#define EXIT_CONFIG 78

static void print_help(FILE *out)
{
    fputs(
        "codex-api " CODEX_API_VERSION
        ": an OpenAI-compatible endpoint in front of codex app-server\n"
        "\n"
        "usage: codex-api [--help | --version | --check-config | --fields]\n"
        "       codex-api key add NAME [--rpm N] [--burst N]\n"
        "       codex-api key list\n"
        "       codex-api key remove NAME\n"
        "       codex-api traces [ID [--json]]\n"
        "       codex-api status [--json] [--url URL]\n"
        "\n"
        "Without an option it serves until SIGTERM or SIGINT, then finishes what is in flight and "
        "exits 0.\n"
        "A second signal exits at once. SIGHUP reads SETTINGS_FILE and the keys again and starts a "
        "fresh worker.\n"
        "  --fields        prints how each field of a chat completion request is treated\n"
        "  --check-config  checks the settings and the key files and exits: 0, or 78 with a line "
        "for each wrong one\n"
        "  key add         prints a new key of that name, once; with a rate of its own: --rpm "
        "requests a\n"
        "                  minute (0: no limit), of which --burst may come at once\n"
        "  key list        prints the names and their rates\n"
        "  key remove      the key of that name opens no more\n"
        "  traces          lists the traces that requests have left, the newest first\n"
        "  traces ID       what went where when in the request of that id, or of the one id that "
        "begins so;\n"
        "                  --json: as it is in the file\n"
        "  status          asks the codex-api that runs with these settings, or at URL, how it is: "
        "0 "
        "ready,\n"
        "                  1 not ready, 69 nobody there, 78 wrong settings; --json prints its "
        "/status.json\n"
        "\n",
        out);
    config_help(out);
}

static int serve_or_check(bool check_only)
{
    struct config config;
    int wrong = config_load(&config, stderr);
    wrong += observatory_check_start(&config, stderr);
    if (check_only) /* a start makes the files that are missing */
        wrong += key_sources_check(&config, stderr);
    int rc = wrong == 0 ? 0 : EXIT_CONFIG;
    if (rc == 0 && !check_only)
        rc = app_run(&config);
    config_free(&config);
    return rc;
}

static const char *const key_needs[] = { "CODEX_HOME", "PROXY_KEYS_FILE", NULL };
static const char *const trace_needs[] = { "CODEX_HOME", "PROXY_TRACE_KEY_FILE", NULL };

static const struct command {
    const char *name;
    const char *const *needs; /* settings */
    int (*run)(const struct config *config, int argc, char **argv, FILE *out, FILE *err);
} commands[] = {
    { "key", key_needs, key_command },
    { "traces", trace_needs, trace_command },
};

static int run_command(const struct command *command, int argc, char **argv)
{
    struct config config;
    int rc = EXIT_CONFIG;
    if (command_config_load(&config, command->needs, stderr))
        rc = command->run(&config, argc, argv, stdout, stderr);
    config_free(&config);
    return rc;
}

/* A descriptor below 3 that is closed would be given to something else, and taken for stdin, stdout or stderr. */
static void open_standard_descriptors(void)
{
    int fd = 0;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    open_standard_descriptors();
    const char *option = argc == 2 ? argv[1] : NULL;
    if (argc == 1 && strcmp(argv[0], SENTINEL_NAME) == 0) /* started so by ourselves alone */
        return sentinel_main();
    json_setup();
    uv_replace_allocator(xmalloc, xrealloc, xcalloc, free); /* it would abort without a word */
    if (sodium_init() < 0) {
        fputs("codex-api: libsodium cannot be initialised\n", stderr);
        return 70;
    }
    if (argc <= 1)
        return serve_or_check(false);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return run_command(&commands[i], argc - 1, argv + 1);
    if (strcmp(argv[1], "status") == 0)
        return status_command(argc - 1, argv + 1, stdout, stderr);
    if (option != NULL && strcmp(option, "--check-config") == 0)
        return serve_or_check(true);
    if (option != NULL && strcmp(option, "--version") == 0) {
        puts("codex-api " CODEX_API_VERSION);
        return 0;
    }
    if (option != NULL && strcmp(option, "--fields") == 0) {
        chat_request_print_fields(stdout);
        return 0;
    }
    if (option != NULL && strcmp(option, "--help") == 0) {
        print_help(stdout);
        return 0;
    }
    fputs("codex-api: unknown arguments; see codex-api --help\n", stderr);
    return EXIT_USAGE;
}

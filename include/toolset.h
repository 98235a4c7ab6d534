/* The function tools of a request: what the worker is offered, and what its calls are called by the client. */
#ifndef TOOLSET_H
#define TOOLSET_H

#include "api_error.h"
#include "json.h"

#include <stdbool.h>

#define TOOLSET_DEPTH_MAX                                                                          \
    100                 /* of JSON values in a schema: the worker reads 128 in a whole message */
#define TOOLSET_MAX 128 /* tools of one request, as OpenAI has it */
#define TOOLSET_NAME_MAX 64  /* characters of a tool's name, as OpenAI has it */
#define TOOLSET_NAME_SIZE 96 /* room for a name, our suffix and a NUL */

enum tool_mode {
    TOOL_AUTO,
    TOOL_NONE,    /* no tool is offered */
    TOOL_REQUIRED /* the worker cannot force a call: the model is told to make one */
};

struct toolset {
    json_t *offered; /* owned: dynamicTools of the worker, or NULL */
    enum tool_mode mode;
    bool legacy;   /* asked for by the deprecated `functions`: answered by `function_call` */
    bool parallel; /* more than one call at once is welcome */
};

/* Reads `tools`, `tool_choice`, `parallel_tool_calls`, `functions` and `function_call` of a request. False with the error
 * filled in; `ret` must be freed with toolset_free in any case. */
CHECK_RESULT bool toolset_parse(struct toolset *ret, const json_t *request,
                                struct api_error *error);

void toolset_free(struct toolset *tools);

/* Some names are the worker's own and would be dropped without a word: those, and names made like their replacement, get
 * a suffix on the way in and lose it on the way out. Writes the worker's name of a client's tool. */
void toolset_worker_name(const char *name, char ret[TOOLSET_NAME_SIZE]);

/* The client's name of a worker's tool: writes it to `ret`, cut to its size. */
void toolset_client_name(const char *name, char ret[TOOLSET_NAME_SIZE]);

/* Whether a name is made of letters, digits, _ and - and not too long. */
bool toolset_name_ok(const char *name);

#endif

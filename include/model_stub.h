/* A model without a model: a loopback OpenAI Responses API for demos and tests.
 *
 * POST /v1/responses streams the demo answer or plays the scenario in the last user message (scenario.h;
 * `codex-api-model-stub --help` documents the language). With a journal, tests also have:
 *   GET, DELETE /stub/requests         what was asked, oldest first; forget it
 *   POST, DELETE /stub/usage[?status=N] what GET /backend-api/wham/usage answers; 404 again */
#ifndef MODEL_STUB_H
#define MODEL_STUB_H

#include "mem.h"

#include <stddef.h>
#include <uv.h>

#define MODEL_STUB_JOURNAL_MAX 256 /* requests that a test's stub remembers */

struct model_stub;

struct model_stub_options {
    int port;           /* on 127.0.0.1; 0 = a free one */
    size_t journal_max; /* requests remembered; 0 = none, and /stub/ answers 404: for a demo */
};

/* Listens on the loop, or returns NULL with the reason in *ret_why (static text); a failed start too needs
 * the loop to run once more before it can be closed. json_setup() must have run. */
CHECK_RESULT struct model_stub *
model_stub_start(uv_loop_t *loop, const struct model_stub_options *options, const char **ret_why);

int model_stub_port(const struct model_stub *stub);

/* Drops every connection and the listener; `on_closed` (may be NULL) is called from the loop when the last
 * handle is closed and the stub is freed. The stub must not be used after this call. Safe on NULL:
 * `on_closed` is then called before it returns. */
void model_stub_close(struct model_stub *stub, void (*on_closed)(void *ctx), void *ctx);

#endif

/* What the worker's errors say of a turn. */
#include "turn_error.h"

#include <string.h>

/* What the worker says of every turn that runs when its login comes, goes or becomes another one: nothing that the request
 * or the model has done. (codex 0.169: codexErrorInfo "other".) */
static const char login_changed[] = "Fatal error: application network permission was revoked";

/* codexErrorInfo is a bare name, or an object whose only key is the name. Both are open sets. */
void turn_error_describe(const json_t *error, struct turn_end *ret)
{
    ret->message = json_str_at(error, "message");
    json_t *info = json_object_get(error, "codexErrorInfo");
    ret->kind = json_string_value(info);
    if (ret->message != NULL &&
        strncmp(ret->message, login_changed, sizeof(login_changed) - 1) == 0)
        ret->outcome = TURN_LOST;
    if (json_is_object(info) && json_object_size(info) != 0) {
        void *only = json_object_iter(info);
        ret->kind = json_object_iter_key(only);
        ret->http_status = (int)json_int_at(json_object_iter_value(only), "httpStatusCode", 0);
    }
}

static const char *kind_of(int64_t code)
{
    switch (code) {
    case -32001:
        return "serverOverloaded";
    case -32600: /* invalid request */
    case -32602: /* invalid params */
        return "badRequest";
    default:
        return NULL;
    }
}

void turn_error_of_call(const struct rpc_reply *reply, struct turn_end *ret)
{
    static const enum turn_outcome outcomes[] = {
        [RPC_ERROR] = TURN_FAILED, [RPC_TIMEOUT] = TURN_TIMED_OUT, [RPC_LOST] = TURN_LOST
    };
    ret->outcome = outcomes[reply->status];
    ret->message = reply->message;
    if (reply->status == RPC_ERROR)
        ret->kind = kind_of(reply->code);
}

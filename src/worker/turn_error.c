/* What the worker's errors say of a turn. */
#include "turn_error.h"

/* codexErrorInfo is a bare name, or an object whose only key is the name. Both are open sets. */
void turn_error_describe(const json_t *error, struct turn_end *ret)
{
    ret->message = json_str_at(error, "message");
    json_t *info = json_object_get(error, "codexErrorInfo");
    ret->kind = json_string_value(info);
    if (json_is_object(info) && json_object_size(info) != 0) {
        void *only = json_object_iter(info);
        ret->kind = json_object_iter_key(only);
        ret->http_status = (int)json_int_at(json_object_iter_value(only), "httpStatusCode", 0);
    }
}

const char *turn_error_kind(int64_t code)
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

/* The body of a request as JSON, with the errors that clients are told. */
#include "json_body.h"

json_t *json_body_parse(const char *body, size_t len, struct api_error *ret)
{
    json_t *root = json_parse(body, len, NULL);
    if (root == NULL) {
        /* The parser's own words may quote the body, so they are not passed on. */
        api_error_bad(ret, NULL, NULL, "%s",
                      len == 0 ? "The request has no body: expected a JSON object."
                               : "We could not parse the JSON body of your request: it must be one "
                                 "complete JSON object in UTF-8.");
        return NULL;
    }
    if (json_is_object(root))
        return root;
    json_decref(root);
    api_error_bad(ret, "invalid_type", NULL, "Invalid body: expected a JSON object.");
    return NULL;
}

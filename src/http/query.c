/* The query of a URL. */
#include "query.h"

#include <stdlib.h>
#include <string.h>

#define NAME_MAX_SHOWN 32
#define DIGITS_MAX 9

/* An answer says only names that are harmless whoever made them up. */
static bool refuse(const char *name, size_t len, const char *what, struct api_error *error)
{
    char shown[NAME_MAX_SHOWN + 1] = "query";
    static const char harmless[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    bool ok = len >= 1 && len <= NAME_MAX_SHOWN;
    for (size_t i = 0; ok && i < len; i++)
        ok = memchr(harmless, name[i], sizeof(harmless) - 1) != NULL;
    if (ok) {
        memcpy(shown, name, len);
        shown[len] = '\0';
    }
    api_error_bad(error, "invalid_value", shown, "Invalid '%s': %s.", shown, what);
    return false;
}

static struct query_param *find(struct query_param *params, size_t count, const char *name,
                                size_t len)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(params[i].name) == len && memcmp(params[i].name, name, len) == 0)
            return &params[i];
    return NULL;
}

/* "name=value" */
static bool take(const char *piece, size_t len, struct query_param *params, size_t count,
                 struct api_error *error)
{
    const char *equals = memchr(piece, '=', len);
    size_t name_len = equals != NULL ? (size_t)(equals - piece) : len;
    struct query_param *param = find(params, count, piece, name_len);
    if (param == NULL)
        return refuse(piece, name_len, "unknown parameter", error);
    if (param->value != NULL)
        return refuse(piece, name_len, "it is there twice", error);
    param->value = equals != NULL ? equals + 1 : piece + len;
    param->len = len - (size_t)(param->value - piece);
    return true;
}

bool query_parse(const char *query, size_t len, struct query_param *params, size_t count,
                 struct api_error *error)
{
    while (len != 0) {
        const char *end = memchr(query, '&', len);
        size_t piece = end != NULL ? (size_t)(end - query) : len;
        if (piece != 0 && !take(query, piece, params, count, error))
            return false;
        query += piece + (end != NULL);
        len -= piece + (end != NULL);
    }
    return true;
}

bool query_number(const struct query_param *param, int64_t min, int64_t max, int64_t fallback,
                  int64_t *ret, struct api_error *error)
{
    int64_t number = 0;
    bool ok = param->len >= 1 && param->len <= DIGITS_MAX;
    if (param->value == NULL) {
        *ret = fallback;
        return true;
    }
    for (size_t i = 0; ok && i < param->len; i++) {
        ok = param->value[i] >= '0' && param->value[i] <= '9';
        number = number * 10 + (param->value[i] - '0');
    }
    if (ok && number >= min && number <= max) {
        *ret = number;
        return true;
    }
    api_error_bad(error, "invalid_value", param->name,
                  "Invalid '%s': expected a number from %lld to %lld.", param->name, (long long)min,
                  (long long)max);
    return false;
}

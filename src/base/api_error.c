/* Errors as OpenAI clients know them. */
#include "api_error.h"

#include "json.h"
#include "utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void api_error_set(struct api_error *ret, int status, const char *type, const char *code,
                   const char *param, const char *format, ...)
{
    char message[API_ERROR_MESSAGE_MAX + 1]; /* one more, to see where it would be cut */
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    *ret = (struct api_error){ .status = status, .type = type, .code = code };
    utf8_copy(ret->param, sizeof(ret->param), param != NULL ? param : "");
    utf8_copy(ret->message, sizeof(ret->message), message);
}

void api_error_place(char ret[API_ERROR_PARAM_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret, API_ERROR_PARAM_MAX, format, args);
    va_end(args);
}

bool api_error_retryable(const struct api_error *error)
{
    if (error->should_retry != 0)
        return error->should_retry > 0;
    return error->status == 408 || error->status == 409 || error->status == 429 ||
           error->status >= 500;
}

static void put_nullable(struct buf *out, const char *text)
{
    if (text == NULL || *text == '\0')
        buf_puts(out, "null");
    else
        json_quote(out, text, strlen(text));
}

void api_error_write(const struct api_error *error, struct buf *out)
{
    buf_puts(out, "{\"error\":{\"message\":");
    json_quote(out, error->message, strlen(error->message));
    buf_puts(out, ",\"type\":");
    put_nullable(out, error->type);
    buf_puts(out, ",\"param\":");
    put_nullable(out, error->param);
    buf_puts(out, ",\"code\":");
    put_nullable(out, error->code);
    buf_puts(out, api_error_retryable(error) ? ",\"retryable\":true}}" : ",\"retryable\":false}}");
}

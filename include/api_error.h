/* Errors as OpenAI clients know them: a status and the envelope {"error":{message,type,param,code,retryable}}. */
#ifndef API_ERROR_H
#define API_ERROR_H

#include "buf.h"

#include <stdbool.h>
#include <stdint.h>

#define API_ERROR_MESSAGE_MAX 2048 /* room for 500 characters of any kind: maintenance.h */
#define API_ERROR_PARAM_MAX 96

struct api_error {
    int status;                          /* HTTP; 0: no error */
    const char *type;                    /* static */
    const char *code;                    /* static; NULL is written as null */
    char param[API_ERROR_PARAM_MAX];     /* empty is written as null */
    char message[API_ERROR_MESSAGE_MAX]; /* valid UTF-8 */
    int64_t retry_after_s;               /* 0: no retry-after header */
    int should_retry;                    /* x-should-retry: 1 true, -1 false, 0 none */
};

/* Fills the error; a message that is too long is cut between characters. `param` may be NULL. */
void api_error_set(struct api_error *ret, int status, const char *type, const char *code,
                   const char *param, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* 400 invalid_request_error, with the code and the place of what is wrong. */
#define api_error_bad(ret, code, param, ...)                                                       \
    api_error_set(ret, 400, "invalid_request_error", code, param, __VA_ARGS__)

/* Writes where in a request something is, as clients read it ("messages[3].content"), cut to fit. */
void api_error_place(char ret[API_ERROR_PARAM_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Whether sending the same request again may help: what the openai package goes by, so that it says the same as the headers. It tries
 * again after 408, 409, 429 and from 500 on, unless x-should-retry says otherwise. */
bool api_error_retryable(const struct api_error *error);

/* Appends the envelope as JSON. */
void api_error_write(const struct api_error *error, struct buf *out);

#endif

/* A strict look at the raw head of an HTTP/1 request, byte by byte. h2o is lenient where a front proxy may read the same bytes
 * differently, and such a difference lets one request hide in another (RFC 9112, section 11.2). Pure: it knows bytes alone. */
#ifndef HEAD_CHECK_H
#define HEAD_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAD_BYTES_MAX ((size_t)32 * 1024) /* of a whole head; 431 above */
#define HEAD_TARGET_MAX ((size_t)8 * 1024) /* of what is between method and version; 414 above */
#define HEAD_FIELDS_MAX 100                /* h2o parses no more; 431 above */
#define HEAD_NAME_MAX sizeof("transfer-encoding")

enum head_verdict { HEAD_MORE, HEAD_OK, HEAD_BAD };

enum head_fault {
    HEAD_FINE,
    HEAD_BAD_METHOD,
    HEAD_BAD_TARGET,
    HEAD_BAD_VERSION,
    HEAD_BARE_LF,
    HEAD_BARE_CR,
    HEAD_FOLDED,
    HEAD_BAD_NAME,
    HEAD_BAD_VALUE,
    HEAD_NO_HOST,
    HEAD_MANY_HOSTS,
    HEAD_BAD_HOST,
    HEAD_MANY_LENGTHS,
    HEAD_BAD_LENGTH,
    HEAD_MANY_ENCODINGS,
    HEAD_BAD_ENCODING,
    HEAD_ENCODING_AND_LENGTH,
    HEAD_ENCODING_IN_1_0,
    HEAD_TARGET_TOO_LONG,
    HEAD_TOO_LARGE,
    HEAD_TOO_MANY_FIELDS,
    HEAD_FAULT_COUNT,
};

/* How far the look has come. All zero is the start of a head. */
struct head_check {
    int state;             /* of head_check.c */
    enum head_fault fault; /* once the verdict is HEAD_BAD */
    size_t at; /* bytes looked at; with HEAD_OK the length of the head with its empty line */
    size_t target_len;
    unsigned minor; /* of HTTP/1.x */
    unsigned fields;
    unsigned hosts;
    unsigned lengths;
    unsigned encodings;
    int field;        /* the kind of the field that is being read */
    bool value_ended; /* a blank has come after some of its value */
    size_t value_len; /* without the blanks around it */
    size_t name_len;
    char name[HEAD_NAME_MAX]; /* the start of it, in small letters */
    uint64_t content_length;  /* 0 without one */
};

/* Looks at the bytes of a head, of which `len` have come so far; `bytes` starts at the head, and what was looked at before
 * is not looked at again. What follows the head is left alone. The verdict stays once it is not HEAD_MORE. */
enum head_verdict head_check(struct head_check *h, const char *bytes, size_t len);

/* What the last call of head_check returned. */
enum head_verdict head_verdict(const struct head_check *h);

/* Whether the body is chunked; after HEAD_OK. */
bool head_is_chunked(const struct head_check *h);

/* For logs: "many_hosts". */
const char *head_fault_name(enum head_fault fault);

/* The status that answers the fault: 400, 414 or 431, and what it says to people. */
int head_fault_status(enum head_fault fault);
const char *head_fault_message(enum head_fault fault);

#endif

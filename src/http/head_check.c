/* A strict look at the raw head of an HTTP/1 request. */
#include "head_check.h"

#include <string.h>

enum state {
    START,    /* one empty line may come before a request: some clients end a body with one */
    START_CR, /* ... after its CR */
    METHOD,
    TARGET,
    VERSION, /* "HTTP/1." so far */
    MINOR,
    LINE_CR, /* the CR that must end the request line */
    LINE_LF,
    NAME_START, /* a field, or the end of the head */
    NAME,
    VALUE,
    VALUE_LF,
    END_LF,
    DONE,
    FAULTY,
};

enum field { OTHER, HOST, CONTENT_LENGTH, TRANSFER_ENCODING };

static const char version_start[] = "HTTP/1.";
static const char only_encoding[] = "chunked";

static const struct {
    int status;
    const char *name;
    const char *message;
} faults[HEAD_FAULT_COUNT] = {
    [HEAD_FINE] = { 200, "none", "" },
    [HEAD_BAD_METHOD] = { 400, "bad_method", "The request does not start with a method." },
    [HEAD_BAD_TARGET] = { 400, "bad_target", "The URL of the request holds a forbidden byte." },
    [HEAD_BAD_VERSION] = { 400, "bad_version", "Only HTTP/1.1 and HTTP/1.0 are served here." },
    [HEAD_BARE_LF] = { 400, "bare_lf", "A line of the head does not end with CR LF." },
    [HEAD_BARE_CR] = { 400, "bare_cr", "A CR in the head is not followed by LF." },
    [HEAD_FOLDED] = { 400, "folded_header", "A header is folded over several lines." },
    [HEAD_BAD_NAME] = { 400, "bad_header_name", "The name of a header is not well-formed." },
    [HEAD_BAD_VALUE] = { 400, "bad_header_value", "The value of a header holds a control byte." },
    [HEAD_NO_HOST] = { 400, "no_host", "An HTTP/1.1 request must have a Host header." },
    [HEAD_MANY_HOSTS] = { 400, "many_hosts", "There is more than one Host header." },
    [HEAD_BAD_HOST] = { 400, "bad_host", "The Host header does not name a host." },
    [HEAD_MANY_LENGTHS] = { 400, "many_lengths", "There is more than one Content-Length header." },
    [HEAD_BAD_LENGTH] = { 400, "bad_length", "Content-Length must be a decimal number." },
    [HEAD_MANY_ENCODINGS] = { 400, "many_encodings",
                              "There is more than one Transfer-Encoding header." },
    [HEAD_BAD_ENCODING] = { 400, "bad_encoding", "Transfer-Encoding can only be chunked." },
    [HEAD_ENCODING_AND_LENGTH] = { 400, "encoding_and_length",
                                   "Transfer-Encoding and Content-Length exclude each other." },
    [HEAD_ENCODING_IN_1_0] = { 400, "encoding_in_1_0", "HTTP/1.0 has no Transfer-Encoding." },
    [HEAD_TARGET_TOO_LONG] = { 414, "target_too_long", "The URL is longer than 8 KiB." },
    [HEAD_TOO_LARGE] = { 431, "head_too_large", "The head of the request is over 32 KiB." },
    [HEAD_TOO_MANY_FIELDS] = { 431, "too_many_headers", "There are more than 100 headers." },
};

/* ---- classes of bytes ---- */

static bool is_digit(unsigned char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_one_of(unsigned char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* RFC 9110, section 5.6.2. */
static bool is_token(unsigned char c)
{
    return is_letter(c) || is_digit(c) || is_one_of(c, "!#$%&'*+-.^_`|~");
}

/* Of uri-host and port, RFC 3986; letters, digits and percent signs stand for more than they may. */
static bool is_host(unsigned char c)
{
    return is_letter(c) || is_digit(c) || is_one_of(c, "-._~%!$&'()*+;=:[]");
}

static char lower(unsigned char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* ---- the machine: each function takes a byte and returns the next state ---- */

static enum state fail(struct head_check *h, enum head_fault fault)
{
    h->fault = fault;
    return FAULTY;
}

/* A line must not end here: says in which way it does, or `fault` when it does not end at all. */
static enum state fail_at(struct head_check *h, unsigned char c, enum head_fault fault)
{
    return fail(h, c == '\n' ? HEAD_BARE_LF : fault);
}

static enum state take_start(struct head_check *h, unsigned char c)
{
    if (c == '\r' && h->at == 0)
        return START_CR;
    return is_token(c) ? METHOD : fail(h, HEAD_BAD_METHOD);
}

static enum state take_method(struct head_check *h, unsigned char c)
{
    if (c == ' ')
        return TARGET;
    return is_token(c) ? METHOD : fail(h, HEAD_BAD_METHOD);
}

static enum state take_target(struct head_check *h, unsigned char c)
{
    if (c == ' ' && h->target_len != 0) {
        h->value_len = 0; /* counts the bytes of the version */
        return VERSION;
    }
    if (c == '\r' || c == '\n')
        return fail(h, HEAD_BAD_VERSION); /* HTTP/0.9 has none */
    if (c <= ' ' || c >= 0x7f)
        return fail(h, HEAD_BAD_TARGET);
    return ++h->target_len > HEAD_TARGET_MAX ? fail(h, HEAD_TARGET_TOO_LONG) : TARGET;
}

static enum state take_version(struct head_check *h, unsigned char c)
{
    if (c != (unsigned char)version_start[h->value_len])
        return fail(h, HEAD_BAD_VERSION);
    return version_start[++h->value_len] == '\0' ? MINOR : VERSION;
}

static enum state take_minor(struct head_check *h, unsigned char c)
{
    if (c != '0' && c != '1')
        return fail(h, HEAD_BAD_VERSION);
    h->minor = (unsigned)(c - '0');
    return LINE_CR;
}

static enum state take_name_start(struct head_check *h, unsigned char c)
{
    if (c == '\r')
        return END_LF;
    if (c == ' ' || c == '\t')
        return fail(h, HEAD_FOLDED);
    if (!is_token(c))
        return fail_at(h, c, HEAD_BAD_NAME);
    if (++h->fields > HEAD_FIELDS_MAX)
        return fail(h, HEAD_TOO_MANY_FIELDS);
    h->name[0] = lower(c);
    h->name_len = 1;
    return NAME;
}

static bool name_is(const struct head_check *h, const char *name)
{
    return h->name_len == strlen(name) && memcmp(h->name, name, h->name_len) == 0;
}

/* The name is complete: counts what may come once only. */
static enum state start_value(struct head_check *h)
{
    h->field = OTHER;
    h->value_len = 0;
    h->value_ended = false;
    if (name_is(h, "host")) {
        h->field = HOST;
        return ++h->hosts > 1 ? fail(h, HEAD_MANY_HOSTS) : VALUE;
    }
    if (name_is(h, "content-length")) {
        h->field = CONTENT_LENGTH;
        return ++h->lengths > 1 ? fail(h, HEAD_MANY_LENGTHS) : VALUE;
    }
    if (name_is(h, "transfer-encoding")) {
        h->field = TRANSFER_ENCODING;
        return ++h->encodings > 1 ? fail(h, HEAD_MANY_ENCODINGS) : VALUE;
    }
    return VALUE;
}

static enum state take_name(struct head_check *h, unsigned char c)
{
    if (c == ':')
        return start_value(h);
    if (!is_token(c))
        return fail_at(h, c, HEAD_BAD_NAME); /* also a blank before the colon */
    if (h->name_len < HEAD_NAME_MAX)
        h->name[h->name_len] = lower(c);
    h->name_len++;
    return NAME;
}

static bool take_digit(struct head_check *h, unsigned char c)
{
    if (!is_digit(c) || h->content_length > (UINT64_MAX - 9) / 10)
        return false;
    h->content_length = h->content_length * 10 + (uint64_t)(c - '0');
    return true;
}

/* A byte of a value that is no blank, of a field that frames the request. */
static enum state take_framing(struct head_check *h, unsigned char c)
{
    size_t at = h->value_len++;
    switch ((enum field)h->field) {
    case HOST:
        return is_host(c) && !h->value_ended ? VALUE : fail(h, HEAD_BAD_HOST);
    case CONTENT_LENGTH:
        return !h->value_ended && take_digit(h, c) ? VALUE : fail(h, HEAD_BAD_LENGTH);
    case TRANSFER_ENCODING:
        return !h->value_ended && at < strlen(only_encoding) && lower(c) == only_encoding[at]
                   ? VALUE
                   : fail(h, HEAD_BAD_ENCODING);
    case OTHER:
        break;
    }
    return VALUE;
}

static enum state end_value(struct head_check *h)
{
    if (h->field == CONTENT_LENGTH && h->value_len == 0)
        return fail(h, HEAD_BAD_LENGTH);
    if (h->field == TRANSFER_ENCODING && h->value_len != strlen(only_encoding))
        return fail(h, HEAD_BAD_ENCODING);
    return VALUE_LF;
}

static enum state take_value(struct head_check *h, unsigned char c)
{
    if (c == '\r')
        return end_value(h);
    if (c == ' ' || c == '\t') {
        h->value_ended = h->value_len != 0;
        return VALUE;
    }
    if (c < ' ' || c == 0x7f)
        return fail_at(h, c, HEAD_BAD_VALUE);
    return take_framing(h, c);
}

/* What only the whole head tells. */
static enum state end_head(struct head_check *h)
{
    if (h->encodings != 0 && h->lengths != 0)
        return fail(h, HEAD_ENCODING_AND_LENGTH);
    if (h->encodings != 0 && h->minor == 0)
        return fail(h, HEAD_ENCODING_IN_1_0);
    if (h->hosts == 0 && h->minor != 0)
        return fail(h, HEAD_NO_HOST);
    return DONE;
}

static enum state expect(struct head_check *h, unsigned char c, unsigned char wanted,
                         enum state next, enum head_fault fault)
{
    return c == wanted ? next : fail_at(h, c, fault);
}

static enum state take(struct head_check *h, unsigned char c)
{
    switch ((enum state)h->state) {
    case START:
        return take_start(h, c);
    case START_CR:
        return expect(h, c, '\n', START, HEAD_BARE_CR);
    case METHOD:
        return take_method(h, c);
    case TARGET:
        return take_target(h, c);
    case VERSION:
        return take_version(h, c);
    case MINOR:
        return take_minor(h, c);
    case LINE_CR:
        return expect(h, c, '\r', LINE_LF, HEAD_BAD_VERSION);
    case LINE_LF:
    case VALUE_LF:
        return expect(h, c, '\n', NAME_START, HEAD_BARE_CR);
    case NAME_START:
        return take_name_start(h, c);
    case NAME:
        return take_name(h, c);
    case VALUE:
        return take_value(h, c);
    case END_LF:
        return c == '\n' ? end_head(h) : fail(h, HEAD_BARE_CR);
    case DONE:
    case FAULTY:
        break;
    }
    return (enum state)h->state;
}

enum head_verdict head_check(struct head_check *h, const char *bytes, size_t len)
{
    while (h->at < len && h->state != DONE && h->state != FAULTY) {
        if (h->at >= HEAD_BYTES_MAX) {
            h->state = (int)fail(h, HEAD_TOO_LARGE);
            break;
        }
        h->state = (int)take(h, (unsigned char)bytes[h->at]);
        h->at++;
    }
    return head_verdict(h);
}

enum head_verdict head_verdict(const struct head_check *h)
{
    if (h->state == FAULTY)
        return HEAD_BAD;
    return h->state == DONE ? HEAD_OK : HEAD_MORE;
}

bool head_is_chunked(const struct head_check *h)
{
    return h->encodings != 0;
}

const char *head_fault_name(enum head_fault fault)
{
    return faults[fault].name;
}

int head_fault_status(enum head_fault fault)
{
    return faults[fault].status;
}

const char *head_fault_message(enum head_fault fault)
{
    return faults[fault].message;
}

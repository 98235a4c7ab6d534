/* Input: what a client writes, heads of requests right behind each other. In whatever pieces they come the verdict is the
 * same, and a head that passes is read by h2o's own parser just as it was checked. */
#include "fuzz.h"
#include "head_check.h"

#include <strings.h>

#define HEADS_MAX 8 /* of one input */

/* picohttpparser, which h2o brings along without its header. */
struct phr_header {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len,
                      const char **path, size_t *path_len, int *minor_version,
                      struct phr_header *headers, size_t *num_headers, size_t last_len);

/* What h2o's parser reads. */
struct parsed {
    int len; /* -1: an error; -2: not all has come */
    int minor;
    size_t count;
    struct phr_header headers[HEAD_FIELDS_MAX];
};

static void parse(const char *bytes, size_t len, struct parsed *ret)
{
    const char *method = NULL;
    const char *path = NULL;
    size_t method_len = 0;
    size_t path_len = 0;
    ret->count = HEAD_FIELDS_MAX;
    ret->len = phr_parse_request(bytes, len, &method, &method_len, &path, &path_len, &ret->minor,
                                 ret->headers, &ret->count, 0);
}

static bool is(const char *bytes, size_t len, const char *word)
{
    return len == strlen(word) && strncasecmp(bytes, word, len) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The only value of the headers of that name, without the blanks around it; how many there are. */
static size_t find(const struct parsed *p, const char *name, const char **ret_value,
                   size_t *ret_len)
{
    size_t count = 0;
    for (size_t i = 0; i < p->count; i++) {
        const struct phr_header *header = &p->headers[i];
        FUZZ_CHECK(header->name != NULL && header->name_len != 0); /* else it is folded */
        if (!is(header->name, header->name_len, name))
            continue;
        *ret_value = header->value;
        *ret_len = header->value_len;
        count++;
    }
    while (count != 0 && *ret_len != 0 && is_blank(**ret_value))
        ++*ret_value, --*ret_len;
    while (count != 0 && *ret_len != 0 && is_blank((*ret_value)[*ret_len - 1]))
        --*ret_len;
    return count;
}

static void check_bytes(const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\r')
            FUZZ_CHECK(i + 1 < len && bytes[i + 1] == '\n');
        else if (c == '\n')
            FUZZ_CHECK(i != 0 && bytes[i - 1] == '\r');
        else
            FUZZ_CHECK(c == '\t' || (c >= ' ' && c != 0x7f));
    }
    FUZZ_CHECK(len >= 4 && memcmp(bytes + len - 4, "\r\n\r\n", 4) == 0);
}

/* `all` bytes have come, of which the head is the first `h->at`. */
static void check_passed(const struct head_check *h, const char *bytes, size_t all)
{
    struct parsed p;
    const char *value = NULL;
    size_t len = 0;
    check_bytes(bytes, h->at);
    parse(bytes, h->at - 1, &p);
    FUZZ_CHECK(p.len == -2);
    parse(bytes, all, &p);
    FUZZ_CHECK(p.len > 0 && (size_t)p.len == h->at);
    FUZZ_CHECK(p.minor == (int)h->minor && p.count == h->fields);
    FUZZ_CHECK(h->at <= HEAD_BYTES_MAX && h->target_len <= HEAD_TARGET_MAX);
    size_t hosts = find(&p, "host", &value, &len);
    FUZZ_CHECK(hosts == 1 || (hosts == 0 && p.minor == 0));
    size_t lengths = find(&p, "content-length", &value, &len);
    FUZZ_CHECK(lengths <= 1 && (lengths != 0 || h->content_length == 0));
    if (lengths == 1) {
        uint64_t number = 0;
        for (size_t i = 0; i < len; i++) {
            FUZZ_CHECK(value[i] >= '0' && value[i] <= '9');
            FUZZ_CHECK(!__builtin_mul_overflow(number, 10U, &number));
            FUZZ_CHECK(!__builtin_add_overflow(number, (uint64_t)(value[i] - '0'), &number));
        }
        FUZZ_CHECK(len != 0 && number == h->content_length);
    }
    size_t encodings = find(&p, "transfer-encoding", &value, &len);
    FUZZ_CHECK((encodings == 1) == head_is_chunked(h) && encodings + lengths <= 1);
    FUZZ_CHECK(encodings == 0 || (is(value, len, "chunked") && p.minor == 1));
}

static void check_refused(const struct head_check *h)
{
    int status = head_fault_status(h->fault);
    FUZZ_CHECK(h->fault > HEAD_FINE && h->fault < HEAD_FAULT_COUNT);
    FUZZ_CHECK(status == 400 || status == 414 || status == 431);
    FUZZ_CHECK(*head_fault_name(h->fault) != '\0' && *head_fault_message(h->fault) != '\0');
}

/* The same bytes, more and more of them. */
static void check_pieces(const struct head_check *whole, enum head_verdict wanted,
                         const char *bytes, size_t size)
{
    struct head_check h = { .state = 0 };
    uint64_t random = fuzz_hash(bytes, size);
    size_t most = 1 + fuzz_below(&random, 40);
    enum head_verdict verdict = HEAD_MORE;
    for (size_t come = 0; come < size;) {
        size_t piece = 1 + fuzz_below(&random, most);
        come = size - come < piece ? size : come + piece;
        char *copy = malloc(come); /* so that reading past it shows */
        FUZZ_CHECK(copy != NULL);
        memcpy(copy, bytes, come);
        enum head_verdict now = head_check(&h, copy, come);
        free(copy);
        FUZZ_CHECK(verdict == HEAD_MORE || now == verdict);
        FUZZ_CHECK(now == head_verdict(&h) && h.at <= come);
        verdict = now;
    }
    FUZZ_CHECK(verdict == wanted && h.at == whole->at && h.fault == whole->fault);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    for (int i = 0; i < HEADS_MAX && size != 0; i++) {
        struct head_check h = { .state = 0 };
        enum head_verdict verdict = head_check(&h, bytes, size);
        check_pieces(&h, verdict, bytes, size);
        if (verdict == HEAD_BAD)
            check_refused(&h);
        if (verdict == HEAD_OK)
            check_passed(&h, bytes, size);
        if (verdict == HEAD_MORE) { /* h2o must not see an end that was not seen here */
            struct parsed p;
            parse(bytes, size, &p);
            FUZZ_CHECK(h.at == size && p.len < 0);
        }
        if (verdict != HEAD_OK)
            break;
        bytes += h.at;
        size -= h.at;
    }
    return 0;
}

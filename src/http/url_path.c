/* The path of a request, as it was written. */
#include "url_path.h"

#include <sodium.h>
#include <string.h>

/* The byte at `*at`, decoded once as h2o does; moves behind it. A percent sign without two digits stands for itself. */
static unsigned char next_byte(const char *path, size_t len, size_t *at)
{
    unsigned char byte = (unsigned char)path[*at];
    unsigned char decoded = 0;
    size_t count = 0;
    (*at)++;
    if (byte != '%' || len - *at < 2)
        return byte;
    if (sodium_hex2bin(&decoded, 1, path + *at, 2, NULL, &count, NULL) != 0 || count != 1)
        return byte;
    *at += 2;
    return decoded;
}

static bool is_dots(size_t bytes, bool others)
{
    return !others && (bytes == 1 || bytes == 2);
}

bool url_path_has_dots(const char *path, size_t len)
{
    size_t bytes = 0;    /* of the segment so far */
    bool others = false; /* they are not all dots */
    const char *query = memchr(path, '?', len);
    size_t end = query != NULL ? (size_t)(query - path) : len;
    for (size_t at = 0; at < end;) {
        unsigned char byte = next_byte(path, end, &at);
        if (byte == '/' && is_dots(bytes, others))
            return true;
        others = byte != '/' && (others || byte != '.');
        bytes = byte == '/' ? 0 : bytes + 1;
    }
    return is_dots(bytes, others);
}

bool url_path_is_of_api(const char *path, size_t len)
{
    static const char api[] = "/v1/";
    return len >= sizeof(api) - 1 && memcmp(path, api, sizeof(api) - 1) == 0;
}

/* Stop sequences: finds the first of them in a text that comes in pieces. */
#include "stop.h"

#include <string.h>

void stop_add(struct stop *stop, const char *sequence, size_t len)
{
    stop->sequences[stop->count] = sequence;
    stop->lengths[stop->count++] = len;
}

void stop_free(struct stop *stop)
{
    buf_free(&stop->held);
}

/* Where the text is cut: before the sequence that is complete first, so that the outcome does not depend on the pieces in
 * which the text came. NULL: none is complete. */
static const char *find(const struct stop *stop, const char *text, size_t len)
{
    const char *cut = NULL;
    const char *first_end = NULL;
    for (size_t i = 0; i < stop->count; i++) {
        const char *at = memmem(text, len, stop->sequences[i], stop->lengths[i]);
        const char *end = at != NULL ? at + stop->lengths[i] : NULL;
        if (at == NULL || (first_end != NULL && end > first_end) || (end == first_end && at > cut))
            continue;
        cut = at;
        first_end = end;
    }
    return cut;
}

/* Length of the longest end of the text that is the start of a sequence. */
static size_t open_end(const struct stop *stop, const char *text, size_t len)
{
    size_t longest = 0;
    for (size_t i = 0; i < stop->count; i++) {
        size_t most = stop->lengths[i] - 1 < len ? stop->lengths[i] - 1 : len;
        for (size_t n = most; n > longest; n--)
            if (memcmp(text + len - n, stop->sequences[i], n) == 0)
                longest = n;
    }
    return longest;
}

bool stop_take(struct stop *stop, const char *text, size_t len, struct buf *out)
{
    if (stop->count == 0 || len == 0) {
        buf_append(out, text, len);
        return false;
    }
    buf_append(&stop->held, text, len);
    const char *found = find(stop, stop->held.data, stop->held.len);
    size_t free_len = found != NULL
                          ? (size_t)(found - stop->held.data)
                          : stop->held.len - open_end(stop, stop->held.data, stop->held.len);
    buf_append(out, stop->held.data, free_len);
    if (found != NULL)
        buf_clear(&stop->held);
    else
        buf_consume(&stop->held, free_len);
    return found != NULL;
}

void stop_end(struct stop *stop, struct buf *out)
{
    buf_append(out, stop->held.data, stop->held.len);
    buf_clear(&stop->held);
}

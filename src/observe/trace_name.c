/* The name of a trace file. */
#include "trace_name.h"

#include "clock.h"
#include "id.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define STAMP_LEN 20                         /* "20261122T060102.345Z" */
#define ID_LEN 28                            /* "req_" and 24 letters and digits */
#define WALL_MS_MAX INT64_C(253402300799999) /* the end of the year 9999 */

static const char plain_end[] = ".json";
static const char sealed_end[] = ".json.sealed";

bool trace_id_ok(const char *text, size_t len)
{
    return id_ok(text, len, TRACE_ID_PREFIX);
}

/* ISO 8601 in its basic form: no colons, which some file systems do not take. */
static void write_stamp(char ret[STAMP_LEN + 1], int64_t wall_ms)
{
    char iso[CLOCK_ISO_SIZE];
    size_t len = 0;
    clock_iso8601(wall_ms, iso);
    for (const char *at = iso; *at != '\0'; at++)
        if (*at != '-' && *at != ':')
            ret[len++] = *at;
    assert(len == STAMP_LEN);
    ret[len] = '\0';
}

void trace_name_make(struct trace_name *ret, int64_t wall_ms, const char *req_id, bool sealed)
{
    char stamp[STAMP_LEN + 1];
    size_t len = strlen(req_id);
    assert(trace_id_ok(req_id, len));
    *ret = (struct trace_name){ .wall_ms = wall_ms, .sealed = sealed };
    if (wall_ms < 0 || wall_ms > WALL_MS_MAX) /* no clock that anybody could mean */
        ret->wall_ms = 0;
    memcpy(ret->req_id, req_id, len + 1);
    write_stamp(stamp, ret->wall_ms);
    snprintf(ret->text, sizeof(ret->text), "%s-%s%s", stamp, req_id,
             sealed ? sealed_end : plain_end);
}

/* Digits in wrong places and days that do not exist are found later: the name that belongs to this time is another one. */
static int64_t parse_stamp(const char *text)
{
    struct tm tm = {
        .tm_year = clock_parse_digits(text, 4) - 1900,
        .tm_mon = clock_parse_digits(text + 4, 2) - 1,
        .tm_mday = clock_parse_digits(text + 6, 2),
        .tm_hour = clock_parse_digits(text + 9, 2),
        .tm_min = clock_parse_digits(text + 11, 2),
        .tm_sec = clock_parse_digits(text + 13, 2),
    };
    return (int64_t)timegm(&tm) * 1000 + clock_parse_digits(text + 16, 3);
}

bool trace_name_parse(const char *text, struct trace_name *ret)
{
    char req_id[TRACE_ID_SIZE] = "";
    struct trace_name name;
    size_t len = strlen(text);
    size_t start = STAMP_LEN + 1;
    if (len < start + ID_LEN || !trace_id_ok(text + start, ID_LEN))
        return false;
    memcpy(req_id, text + start, ID_LEN);
    bool sealed = strcmp(text + start + ID_LEN, sealed_end) == 0;
    trace_name_make(&name, parse_stamp(text), req_id, sealed);
    if (strcmp(name.text, text) != 0)
        return false;
    *ret = name;
    return true;
}

bool trace_name_is_leftover(const char *text)
{
    static const char end[] = ".tmp";
    char start[TRACE_NAME_SIZE];
    struct trace_name name;
    const char *json = strstr(text, plain_end);
    if (json == NULL)
        return false;
    size_t len = (size_t)(json - text) + sizeof(plain_end) - 1;
    if (strncmp(json, sealed_end, sizeof(sealed_end) - 1) == 0)
        len += sizeof(sealed_end) - sizeof(plain_end);
    if (len >= sizeof(start) || text[len] != '.')
        return false;
    memcpy(start, text, len);
    start[len] = '\0';
    size_t digits = strspn(text + len + 1, "0123456789");
    return trace_name_parse(start, &name) && digits > 0 &&
           strcmp(text + len + 1 + digits, end) == 0;
}

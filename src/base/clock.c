/* Time of day for people, monotonic time for deadlines. */
#include "clock.h"

#include <string.h>
#include <time.h>

uint64_t clock_mono_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int64_t clock_wall_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The number in so many digits, and what stands behind it; returns the place behind that. */
static char *put_digits(char *at, int number, int digits, char behind)
{
    for (int i = digits - 1; i >= 0; i--, number /= 10)
        at[i] = (char)('0' + number % 10);
    at[digits] = behind;
    return at + digits + 1;
}

/* By hand: each line of the log has one, and strftime takes as long as the rest of the line. */
void clock_iso8601(int64_t wall_ms, char ret_text[CLOCK_ISO_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char *at = put_digits(ret_text, tm.tm_year + 1900, 4, '-');
    at = put_digits(at, tm.tm_mon + 1, 2, '-');
    at = put_digits(at, tm.tm_mday, 2, 'T');
    at = put_digits(at, tm.tm_hour, 2, ':');
    at = put_digits(at, tm.tm_min, 2, ':');
    at = put_digits(at, tm.tm_sec, 2, '.');
    at = put_digits(at, (int)(wall_ms % 1000), 3, 'Z');
    *at = '\0';
}

void clock_date(int64_t wall_ms, char ret_text[CLOCK_DATE_SIZE])
{
    char text[CLOCK_ISO_SIZE];
    clock_iso8601(wall_ms, text);
    memcpy(ret_text, text, CLOCK_DATE_SIZE - 1);
    ret_text[CLOCK_DATE_SIZE - 1] = '\0';
}

int clock_parse_digits(const char *text, size_t len)
{
    int number = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

bool clock_parse_date(const char *text, size_t len, int64_t *ret_day)
{
    char again[CLOCK_DATE_SIZE];
    if (len != CLOCK_DATE_SIZE - 1 || text[4] != '-' || text[7] != '-')
        return false;
    int year = clock_parse_digits(text, 4);
    int month = clock_parse_digits(text + 5, 2);
    int day = clock_parse_digits(text + 8, 2);
    if (year < 1970 || month < 1 || day < 1)
        return false;
    struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day };
    int64_t found = (int64_t)timegm(&tm) / (CLOCK_DAY_MS / 1000);
    clock_date(found * CLOCK_DAY_MS, again); /* timegm makes a March of the 30th of February */
    if (memcmp(again, text, len) != 0)
        return false;
    *ret_day = found;
    return true;
}

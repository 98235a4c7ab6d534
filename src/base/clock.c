/* Time of day for people, monotonic time for deadlines. */
#include "clock.h"

#include <stdio.h>
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

void clock_iso8601(int64_t wall_ms, char ret_text[CLOCK_ISO_SIZE])
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char date[20];
    strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret_text, CLOCK_ISO_SIZE, "%s.%03uZ", date, (unsigned)(wall_ms % 1000) % 1000u);
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

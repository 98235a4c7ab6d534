/* codex-api with a wall clock that jumps: ten times a second the time of day is another one, by up to an hour to and fro.
 *
 * What reads the time of day in this program, in libuv, h2o or another library, reads it here, for the names that an
 * executable defines come before those of the C library. Whoever measures a timeout by it is found out. */
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define JUMP_S 3600
#define EVERY_MS 100

static int real_time(clockid_t id, struct timespec *ret)
{
    return (int)syscall(SYS_clock_gettime, id, ret);
}

static time_t jump_s(void)
{
    static const int hours[] = { 0, 1, 0, -1 };
    struct timespec t = { .tv_sec = 0 };
    (void)real_time(CLOCK_MONOTONIC, &t);
    int64_t now_ms = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    return (time_t)hours[now_ms / EVERY_MS % 4] * JUMP_S;
}

int clock_gettime(clockid_t clock_id, struct timespec *tp)
{
    if (real_time(clock_id, tp) != 0)
        return -1;
    if (clock_id == CLOCK_REALTIME || clock_id == CLOCK_REALTIME_COARSE)
        tp->tv_sec += jump_s();
    return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    (void)tz;
    struct timespec t = { .tv_sec = 0 };
    (void)clock_gettime(CLOCK_REALTIME, &t);
    tv->tv_sec = t.tv_sec;
    tv->tv_usec = t.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *timer)
{
    struct timespec t = { .tv_sec = 0 };
    (void)clock_gettime(CLOCK_REALTIME, &t);
    if (timer != NULL)
        *timer = t.tv_sec;
    return t.tv_sec;
}

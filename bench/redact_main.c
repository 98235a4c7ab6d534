/* codex-api-redact-bench: how long the scrubber takes for texts that are made to be slow, and that it stays linear. */
#include "hostile_text.h"

#include "redact.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KIB 1024
#define MIB (1024.0 * 1024.0)

static const size_t sizes[] = { 64 * KIB, 256 * KIB, 1024 * KIB, 4096 * KIB };

#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* The best of some runs, for the machine may be busy: ms for a MiB. */
static double measure(const struct buf *text, size_t len, long runs)
{
    double best = 0;
    for (long i = 0; i < runs; i++) {
        struct buf out = BUF_INIT;
        double begin = cpu_ms();
        redact_text(&out, text->data, len);
        double ms = cpu_ms() - begin;
        best = i == 0 || ms < best ? ms : best;
        buf_free(&out);
    }
    return best * MIB / (double)len;
}

static void print_name(const char *name)
{
    putchar('"');
    for (; *name != '\0'; name++) {
        if (isprint((unsigned char)*name))
            putchar(*name);
        else
            printf("\\x%02x", (unsigned char)*name);
    }
    puts("\"");
}

/* Returns the time of 1 MiB. */
static double print_text(size_t i, long runs)
{
    struct buf text = BUF_INIT;
    double ms[SIZES];
    hostile_text_write(&text, i, sizes[SIZES - 1]);
    for (size_t s = 0; s < SIZES; s++) {
        ms[s] = measure(&text, sizes[s], runs);
        printf("%8.1f", ms[s]);
    }
    printf("%8.2f  ", ms[SIZES - 1] / ms[0]);
    print_name(hostile_text_name(i));
    buf_free(&text);
    return ms[2];
}

int main(int argc, char **argv)
{
    long runs = argc > 1 ? strtol(argv[1], NULL, 10) : 5;
    double worst = 0;
    size_t worst_text = 0;
    if (argc > 2 || runs < 1) {
        fputs("usage: codex-api-redact-bench [RUNS]\n", stderr);
        return 64;
    }
    puts("ms of CPU for a MiB, of texts of 64 KiB, 256 KiB, 1 MiB and 4 MiB; the last against the "
         "first");
    for (size_t i = 0; i < hostile_text_count(); i++) {
        double ms = print_text(i, runs);
        worst_text = ms > worst ? i : worst_text;
        worst = ms > worst ? ms : worst;
    }
    printf("slowest: %.1f ms for 1 MiB of ", worst);
    print_name(hostile_text_name(worst_text));
    return 0;
}

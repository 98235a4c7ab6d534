/* Feeds a fuzz target with a folder of inputs and with some hundred changed copies of each, always the same ones:
 * what a build without libFuzzer can do.
 *
 *     fuzz_NAME FOLDER [VARIANTS]    variants of each file, 300 if not said
 *     fuzz_NAME FILE                 that file alone, as it is */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define VARIANTS 300
#define GROWTH_MAX 4096 /* bytes that a variant may be longer than its file */
#define CHANGES_MAX 6   /* in one variant */

struct input {
    char *name;          /* owned */
    unsigned char *data; /* owned */
    size_t len;
};

/* What is being tried. Words and path are made before, for a signal handler may not make them. */
static struct {
    char words[4600];
    char path[32];
    const unsigned char *data; /* NULL: nothing */
    size_t len;
} current;

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static _Noreturn void give_up(const char *what, const char *name)
{
    fprintf(stderr, "replay: %s: %s\n", what, name);
    exit(1);
}

/* ---- a death says of what ---- */

static void put(int fd, const void *bytes, size_t len)
{
    if (write(fd, bytes, len) < 0)
        return; /* it dies anyway */
}

static void say_current(void)
{
    if (current.data == NULL)
        return;
    put(STDERR_FILENO, current.words, strlen(current.words));
    int fd = open(current.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        put(fd, current.data, current.len);
        close(fd);
    }
    current.data = NULL;
}

static void on_signal(int number)
{
    say_current();
    signal(number, SIG_DFL);
    raise(number);
}

static void watch_deaths(void)
{
    static const int numbers[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        signal(numbers[i], on_signal);
    if (__sanitizer_set_death_callback != NULL) {
        __sanitizer_set_death_callback(say_current);
        signal(SIGSEGV, SIG_DFL);
    }
}

/* ---- inputs ---- */

static struct input read_input(const char *path)
{
    struct input in = { .name = strdup(path) };
    FILE *file = fopen(path, "re");
    if (file == NULL || in.name == NULL)
        give_up("cannot read", path);
    size_t got = 0;
    do {
        in.data = realloc(in.data, in.len + 65536);
        if (in.data == NULL)
            give_up("out of memory", path);
        got = fread(in.data + in.len, 1, 65536, file);
        in.len += got;
    } while (got != 0);
    fclose(file);
    return in;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

static size_t read_folder(const char *folder, struct input **ret)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        give_up("cannot read the folder", folder);
    struct input *all = NULL;
    size_t count = 0;
    const struct dirent *entry = NULL;
    while ((entry = readdir(dir)) != NULL) {
        char path[4096];
        struct stat st;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        all = realloc(all, (count + 1) * sizeof(*all));
        if (all == NULL)
            give_up("out of memory", folder);
        all[count++] = read_input(path);
    }
    closedir(dir);
    if (count == 0)
        give_up("no files in", folder);
    qsort(all, count, sizeof(*all), by_name);
    *ret = all;
    return count;
}

/* ---- variants ---- */

struct variant {
    unsigned char *data;
    size_t len;
    size_t cap;
    uint64_t random;
};

/* Puts the bytes in the place of `removed` of them at `at`; too many are not taken. */
static void put_in(struct variant *v, size_t at, size_t removed, const void *bytes, size_t len)
{
    if (v->len - removed + len > v->cap)
        return;
    memmove(v->data + at + len, v->data + at + removed, v->len - at - removed);
    if (len != 0)
        memcpy(v->data + at, bytes, len);
    v->len = v->len - removed + len;
}

static const char *const words[] = {
    "\"",
    "\\",
    "{}",
    "[]",
    "null",
    "\\u0000",
    "\\ud800",
    "-1",
    "1e999",
    "\n",
    ": ",
    "true",
    "[[[[[[",
    ",",
    "\xff",
    "\xc3",
    "\r\n",
    "18446744073709551615",
    "\xe2\x82\xac",
    "{\"",
    "\"\"",
    "0",
    ":",
    " ",
    "}",
    "]",
    "\t",
};

static void change_once(struct variant *v, const struct input *other)
{
    size_t at = fuzz_below(&v->random, v->len + 1);
    size_t most = v->len - at < 32 ? v->len - at : 32;
    size_t len = fuzz_below(&v->random, most + 1);
    unsigned char piece[64];
    switch (fuzz_below(&v->random, 7)) {
    case 0: /* one bit */
        if (at < v->len)
            v->data[at] ^= (unsigned char)(1U << fuzz_below(&v->random, 8));
        break;
    case 1: /* one byte */
        if (at < v->len)
            v->data[at] = (unsigned char)fuzz_next(&v->random);
        break;
    case 2: /* less */
        put_in(v, at, len, NULL, 0);
        break;
    case 3: /* twice */
        memcpy(piece, v->data + at, len);
        put_in(v, fuzz_below(&v->random, v->len + 1), 0, piece, len);
        break;
    case 4: { /* a word of JSON, in the place of something */
        const char *word = words[fuzz_below(&v->random, COUNT_OF(words))];
        put_in(v, at, fuzz_below(&v->random, 2) == 0 ? 0 : len, word, strlen(word));
        break;
    }
    case 5: { /* a piece of another file */
        size_t from = fuzz_below(&v->random, other->len + 1);
        size_t count = other->len - from < 200 ? other->len - from : 200;
        put_in(v, at, 0, other->data + from, count);
        break;
    }
    default: /* cut short */
        if (fuzz_below(&v->random, 4) == 0)
            v->len = at;
        break;
    }
}

static void run(const struct input *of, size_t variant, const unsigned char *data, size_t len)
{
    snprintf(current.path, sizeof(current.path), "crash-%ld", (long)getpid());
    snprintf(current.words, sizeof(current.words),
             "replay: died of %s, variant %zu (0: the file itself)\n"
             "replay: to repeat, run this program with the file %s of this folder\n",
             of->name, variant, current.path);
    current.data = data;
    current.len = len;
    alarm(60);
    (void)LLVMFuzzerTestOneInput(data, len);
    alarm(0);
    current.data = NULL;
}

static void run_variants(const struct input *all, size_t count, size_t which, size_t variants)
{
    const struct input *in = &all[which];
    struct variant v = { .cap = in->len + GROWTH_MAX, .random = fuzz_hash(in->data, in->len) };
    for (size_t i = 1; i <= variants; i++) {
        v.data = malloc(v.cap);
        if (v.data == NULL)
            give_up("out of memory", in->name);
        memcpy(v.data, in->data, in->len);
        v.len = in->len;
        for (size_t n = 1 + fuzz_below(&v.random, CHANGES_MAX); n > 0; n--)
            change_once(&v, &all[fuzz_below(&v.random, count)]);
        unsigned char *exact = malloc(v.len != 0 ? v.len : 1); /* so that reading past it shows */
        if (exact == NULL)
            give_up("out of memory", in->name);
        memcpy(exact, v.data, v.len);
        run(in, i, exact, v.len);
        free(exact);
        free(v.data);
    }
}

int main(int argc, char **argv)
{
    struct stat st;
    if (argc < 2 || stat(argv[1], &st) != 0)
        give_up("not a folder or a file", argc < 2 ? "" : argv[1]);
    watch_deaths();
    if (!S_ISDIR(st.st_mode)) {
        struct input one = read_input(argv[1]);
        run(&one, 0, one.data, one.len);
        free(one.data);
        free(one.name);
        return 0;
    }
    struct input *all = NULL;
    size_t count = read_folder(argv[1], &all);
    size_t variants = argc > 2 ? (size_t)strtoul(argv[2], NULL, 10) : VARIANTS;
    for (size_t i = 0; i < count; i++)
        run(&all[i], 0, all[i].data, all[i].len);
    for (size_t i = 0; i < count; i++)
        run_variants(all, count, i, variants);
    printf("replay: %zu files and %zu variants of them: %zu inputs\n", count, count * variants,
           count * (variants + 1));
    for (size_t i = 0; i < count; i++) {
        free(all[i].data);
        free(all[i].name);
    }
    free(all);
    return 0;
}

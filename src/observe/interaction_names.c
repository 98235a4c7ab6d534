/* The names of the files of the request log, and which there are. */
#include "interaction_names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NUMBER_DIGITS_MAX 9
#define ENDING ".jsonl"

char *interaction_folder(const char *home)
{
    return xasprintf("%s/interactions", home);
}

char *interaction_path(const char *folder, const struct interaction_name *name)
{
    return name->number == 0 ? xasprintf("%s/%s" ENDING, folder, name->date)
                             : xasprintf("%s/%s.%u" ENDING, folder, name->date, name->number);
}

/* ".12", or nothing. */
static bool parse_number(const char *text, size_t len, unsigned *ret)
{
    *ret = 0;
    if (len == 0)
        return true;
    if (len < 2 || len > 1 + NUMBER_DIGITS_MAX || text[0] != '.' || text[1] == '0')
        return false;
    for (size_t i = 1; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *ret = *ret * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

static bool parse_name(const char *text, struct interaction_name *ret)
{
    const size_t date = CLOCK_DATE_SIZE - 1;
    const size_t ending = strlen(ENDING);
    size_t len = strlen(text);
    struct interaction_name name = { .number = 0 };
    if (len < date + ending || strcmp(text + len - ending, ENDING) != 0 ||
        !clock_parse_date(text, date, &name.day) ||
        !parse_number(text + date, len - date - ending, &name.number))
        return false;
    memcpy(name.date, text, date);
    *ret = name;
    return true;
}

/* By day; of a day, the one that is written comes last. */
static int compare(const void *a, const void *b)
{
    const struct interaction_name *x = a;
    const struct interaction_name *y = b;
    if (x->day != y->day)
        return x->day < y->day ? -1 : 1;
    unsigned x_order = x->number - 1;
    unsigned y_order = y->number - 1;
    return (x_order > y_order) - (x_order < y_order);
}

static void take(struct interaction_names *names, DIR *dir, const char *text)
{
    struct stat st;
    struct interaction_name name;
    if (!parse_name(text, &name) || fstatat(dirfd(dir), text, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(st.st_mode))
        return;
    name.bytes = st.st_size;
    names->bytes += name.bytes;
    names->list = xrealloc(names->list, (names->count + 1) * sizeof(*names->list));
    names->list[names->count++] = name;
}

bool interaction_names_list(struct interaction_names *ret, const char *folder)
{
    struct interaction_names names = { .list = NULL };
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return false;
    const struct dirent *entry = NULL;
    while ((entry = readdir(dir)) != NULL)
        take(&names, dir, entry->d_name);
    closedir(dir);
    if (names.count != 0)
        qsort(names.list, names.count, sizeof(*names.list), compare);
    *ret = names;
    return true;
}

void interaction_names_free(struct interaction_names *names)
{
    free(names->list);
    *names = (struct interaction_names){ .list = NULL };
}

/* A folder of the test's own, gone with all that is in it when the test ends. */
#ifndef FOLDER_H
#define FOLDER_H

#include "unit.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

struct folder {
    char path[256];
};

static inline void folder_make(struct folder *f)
{
    const char *base = getenv("TMPDIR");
    snprintf(f->path, sizeof(f->path), "%s/codex-api-unit-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(f->path));
}

static inline int folder_remove_entry(const char *path, const struct stat *st, int type,
                                      struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

static inline void folder_remove(struct folder *f)
{
    assert_int_equal(nftw(f->path, folder_remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static inline int folder_setup(void **state)
{
    struct folder *f = calloc(1, sizeof(*f));
    folder_make(f);
    *state = f;
    return 0;
}

static inline int folder_teardown(void **state)
{
    folder_remove(*state);
    free(*state);
    return 0;
}

/* The path of a file in the folder; the caller frees it. */
static inline char *folder_path(const struct folder *f, const char *name)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/%s", f->path, name) > 0);
    return path;
}

static inline void folder_put(const struct folder *f, const char *name, const char *bytes,
                              size_t len)
{
    char *path = folder_path(f, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    free(path);
}

#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

#endif

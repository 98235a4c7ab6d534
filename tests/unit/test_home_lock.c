/* The lock of CODEX_HOME: who is warned. That processes have it, and no children, is tested from outside. */
#include "folder.h"
#include "home_lock.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

/* Whether taking it warns. */
static bool warns(const char *home, int *ret_lock)
{
    char *text = NULL;
    size_t len = 0;
    FILE *err = open_memstream(&text, &len);
    assert_non_null(err);
    log_set_level(LOG_SILENCE);
    *ret_lock = home_lock_take(home, err);
    assert_int_equal(fclose(err), 0);
    assert_true(len == 0 || strstr(text, home) != NULL);
    free(text);
    return len != 0;
}

static void test_who_comes_hears_of_any_that_is_there(void **state)
{
    const struct folder *f = *state;
    struct stat st;
    int first = -1;
    int second = -1;
    int third = -1;
    char *path = folder_path(f, "lock");
    assert_false(warns(f->path, &first));
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(fcntl(first, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_true(warns(f->path, &second));
    home_lock_release(first);
    assert_true(warns(f->path, &third)); /* of the second, which was not the first */
    home_lock_release(second);
    home_lock_release(third);
    assert_false(warns(f->path, &first)); /* all have gone, though the file is there */
    home_lock_release(first);
    free(path);
}

static void test_one_that_somebody_else_keeps_only_warns(void **state)
{
    const struct folder *f = *state;
    int lock = -1;
    char *path = folder_path(f, "lock");
    int other = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(other, LOCK_EX), 0);
    assert_true(warns(f->path, &lock));
    home_lock_release(lock);
    close(other);
    free(path);
}

static void test_a_home_that_cannot_be_locked_is_used_without_a_word(void **state)
{
    const struct folder *f = *state;
    int lock = -1;
    char *path = folder_path(f, "lock");
    char *target = folder_path(f, "target");
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(warns(f->path, &lock));
    assert_int_equal(lock, -1);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(symlink(target, path), 0);
    assert_false(warns(f->path, &lock));
    assert_int_equal(lock, -1);
    assert_int_equal(access(target, F_OK), -1);
    assert_false(warns("/nowhere/at/all", &lock));
    assert_int_equal(lock, -1);
    home_lock_release(-1);
    free(path);
    free(target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_who_comes_hears_of_any_that_is_there),
        FOLDER_TEST(test_one_that_somebody_else_keeps_only_warns),
        FOLDER_TEST(test_a_home_that_cannot_be_locked_is_used_without_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

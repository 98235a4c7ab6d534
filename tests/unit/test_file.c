/* Small files: all of the new content or all of the old, never a part. */
#include "file.h"
#include "folder.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned synced_files;
static unsigned synced_folders; /* after a file */

/* In the place of that of the C library. */
int fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    if (S_ISDIR(st.st_mode))
        synced_folders += synced_files != 0;
    else
        synced_files++;
    return (int)syscall(SYS_fsync, fd);
}

static size_t entries_of(const struct folder *f)
{
    DIR *dir = opendir(f->path);
    assert_non_null(dir);
    size_t count = 0;
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        count += e->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void assert_content(const char *path, const char *wanted, size_t len)
{
    struct buf text = BUF_INIT;
    assert_true(file_read(path, &text, 1024 * 1024));
    assert_int_equal(text.len, len);
    assert_memory_equal(buf_str(&text), wanted, len);
    buf_free(&text);
}

/* Only root can try: elsewhere there is nobody to give a file to. */
static void test_what_root_writes_belongs_to_the_owner_of_the_folder(void **state)
{
    const struct folder *f = *state;
    const uid_t nobody = 65534;
    struct stat file;
    char *path = folder_path(f, "keys");
    bool root = geteuid() == 0;
    if (root)
        assert_int_equal(chown(f->path, nobody, nobody), 0);
    assert_true(file_replace(path, LITERAL("x")));
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_uid, root ? nobody : geteuid());
    assert_int_equal(file.st_mode & 0777, 0600);
    free(path);
}

static void test_what_was_written_is_read_back(void **state)
{
    char *path = folder_path(*state, "x");
    assert_false(file_exists(path));
    assert_true(file_replace(path, LITERAL("a\0b\n")));
    assert_true(file_exists(path));
    assert_content(path, LITERAL("a\0b\n"));
    assert_true(file_replace(path, "", 0));
    assert_content(path, "", 0);
    free(path);
}

/* What was said to be on the disk must be there after a power failure, also under its name. */
static void test_a_name_is_synced_with_its_file(void **state)
{
    char *path = folder_path(*state, "x");
    synced_files = synced_folders = 0;
    assert_true(file_replace_unsynced(path, LITERAL("a")));
    assert_int_equal(synced_files + synced_folders, 0);
    assert_true(file_replace(path, LITERAL("b")));
    assert_int_equal(synced_files, 1);
    assert_int_equal(synced_folders, 1);
    free(path);
}

static void test_what_is_made_takes_the_place_of_nothing(void **state)
{
    char *path = folder_path(*state, "x");
    assert_true(file_make(path, LITERAL("first")));
    errno = 0;
    assert_false(file_make(path, LITERAL("second")));
    assert_int_equal(errno, EEXIST);
    assert_content(path, LITERAL("first"));
    assert_int_equal(entries_of(*state), 1);
    free(path);
}

static void test_reading_appends(void **state)
{
    char *path = folder_path(*state, "x");
    assert_true(file_replace(path, LITERAL("world")));
    struct buf text = BUF_INIT;
    buf_puts(&text, "hello ");
    assert_true(file_read(path, &text, 5));
    assert_string_equal(buf_str(&text), "hello world");
    buf_free(&text);
    free(path);
}

static void test_a_file_of_the_greatest_size_is_read_and_a_larger_one_is_not(void **state)
{
    static char bytes[20001];
    memset(bytes, 'x', sizeof(bytes));
    char *path = folder_path(*state, "x");
    for (size_t max = 0; max < sizeof(bytes); max += 4000) {
        struct buf text = BUF_INIT;
        buf_puts(&text, "before");
        assert_true(file_replace(path, bytes, max));
        assert_true(file_read(path, &text, max));
        assert_int_equal(text.len, 6 + max);
        text.len = 6;
        assert_true(file_replace(path, bytes, max + 1));
        errno = 0;
        assert_false(file_read(path, &text, max));
        assert_int_equal(errno, EFBIG);
        assert_string_equal(buf_str(&text), "before");
        buf_free(&text);
    }
    free(path);
}

static void test_what_cannot_be_read_says_why(void **state)
{
    const struct folder *f = *state;
    char *path = folder_path(f, "missing");
    struct buf text = BUF_INIT;
    assert_false(file_read(path, &text, 10));
    assert_int_equal(errno, ENOENT);
    assert_false(file_read(f->path, &text, 10));
    assert_int_equal(errno, EISDIR);
    assert_int_equal(text.len, 0);
    buf_free(&text);
    free(path);
}

static void test_only_the_owner_may_read_what_was_written(void **state)
{
    char *path = folder_path(*state, "x");
    mode_t mask = umask(0);
    folder_put(*state, "x", LITERAL("old"));
    assert_int_equal(chmod(path, 0666), 0);
    assert_true(file_replace(path, LITERAL("secret")));
    umask(mask);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    free(path);
}

static void test_replacing_leaves_nothing_beside_the_file(void **state)
{
    char *path = folder_path(*state, "x");
    assert_true(file_replace(path, LITERAL("a")));
    assert_true(file_replace(path, LITERAL("b")));
    assert_int_equal(entries_of(*state), 1);
    free(path);
}

/* A reader that had the old file open goes on reading the old file. */
static void test_a_reader_of_the_old_file_is_not_disturbed(void **state)
{
    char *path = folder_path(*state, "x");
    assert_true(file_replace(path, LITERAL("the old one")));
    FILE *old = fopen(path, "re");
    assert_non_null(old);
    assert_true(file_replace(path, LITERAL("new")));
    char text[32] = "";
    assert_int_equal(fread(text, 1, sizeof(text), old), 11);
    assert_memory_equal(text, "the old one", 11);
    fclose(old);
    free(path);
}

static void test_a_write_that_fails_leaves_the_old_file(void **state)
{
    static char bytes[100000];
    char *path = folder_path(*state, "x");
    assert_true(file_replace(path, LITERAL("old")));
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit tight = { .rlim_cur = 5000, .rlim_max = before.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    errno = 0;
    bool ok = file_replace(path, bytes, sizeof(bytes));
    int error = errno;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_false(ok);
    assert_int_equal(error, EFBIG);
    assert_content(path, LITERAL("old"));
    assert_int_equal(entries_of(*state), 1);
    free(path);
}

static void test_a_file_that_cannot_be_put_in_place_leaves_nothing(void **state)
{
    char *path = folder_path(*state, "x");
    char *inside = folder_path(*state, "x/y");
    assert_false(file_replace(inside, LITERAL("a")));
    assert_int_equal(errno, ENOENT);
    assert_true(file_make_folder(path));
    assert_false(file_replace(path, LITERAL("a"))); /* a folder is in the way */
    assert_int_equal(errno, EISDIR);
    assert_int_equal(entries_of(*state), 1);
    free(inside);
    free(path);
}

static void test_a_folder_is_made_once_and_for_its_owner(void **state)
{
    char *path = folder_path(*state, "sub");
    char *deep = folder_path(*state, "no/such");
    assert_true(file_make_folder(path));
    assert_true(file_make_folder(path));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_false(file_make_folder(deep));
    assert_int_equal(errno, ENOENT);
    free(deep);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_what_was_written_is_read_back),
        FOLDER_TEST(test_a_name_is_synced_with_its_file),
        FOLDER_TEST(test_what_is_made_takes_the_place_of_nothing),
        FOLDER_TEST(test_reading_appends),
        FOLDER_TEST(test_a_file_of_the_greatest_size_is_read_and_a_larger_one_is_not),
        FOLDER_TEST(test_what_cannot_be_read_says_why),
        FOLDER_TEST(test_only_the_owner_may_read_what_was_written),
        FOLDER_TEST(test_what_root_writes_belongs_to_the_owner_of_the_folder),
        FOLDER_TEST(test_replacing_leaves_nothing_beside_the_file),
        FOLDER_TEST(test_a_reader_of_the_old_file_is_not_disturbed),
        FOLDER_TEST(test_a_write_that_fails_leaves_the_old_file),
        FOLDER_TEST(test_a_file_that_cannot_be_put_in_place_leaves_nothing),
        FOLDER_TEST(test_a_folder_is_made_once_and_for_its_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

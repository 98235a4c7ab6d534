/* The access key: its file is made, read or refused with a reason. */
#include "access_key.h"
#include "folder.h"
#include "unit.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct folder *rival_in; /* NULL: there is none */

/* In the place of that of the C library: somebody is a moment faster. */
int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (rival_in != NULL)
        folder_put(rival_in, "api-key", LITERAL("rivals-key-01\n"));
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

static void test_a_missing_file_is_made_with_a_random_key(void **state)
{
    char *path = folder_path(*state, "api-key");
    struct buf first = BUF_INIT;
    struct buf second = BUF_INIT;
    char *why = NULL;
    mode_t mask = umask(0);
    assert_true(access_key_from_file(path, &first, &why));
    umask(mask);
    assert_null(why);
    assert_memory_equal(first.data, "sk-codex-api-", 13);
    assert_int_equal(first.len, 13 + 40);
    assert_int_equal(strspn(buf_str(&first) + 13,
                            "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
                     40);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(access_key_from_file(path, &second, &why));
    assert_string_equal(buf_str(&second), buf_str(&first));
    buf_free(&first);
    buf_free(&second);
    free(path);
}

static void test_two_files_get_two_keys(void **state)
{
    char *paths[] = { folder_path(*state, "a"), folder_path(*state, "b") };
    struct buf keys[2] = { BUF_INIT, BUF_INIT };
    char *why = NULL;
    for (int i = 0; i < 2; i++)
        assert_true(access_key_from_file(paths[i], &keys[i], &why));
    assert_string_not_equal(buf_str(&keys[0]), buf_str(&keys[1]));
    for (int i = 0; i < 2; i++) {
        buf_free(&keys[i]);
        free(paths[i]);
    }
}

static void test_of_two_that_make_it_at_once_both_have_the_same_key(void **state)
{
    char *path = folder_path(*state, "api-key");
    struct buf key = BUF_INIT;
    char *why = NULL;
    rival_in = *state;
    assert_true(access_key_from_file(path, &key, &why));
    rival_in = NULL;
    assert_string_equal(buf_str(&key), "rivals-key-01");
    buf_free(&key);
    free(path);
}

static void test_the_first_line_of_a_file_is_the_key(void **state)
{
    static const char *const texts[] = { "my-key-01", "my-key-01\n", "my-key-01\r\n",
                                         "my-key-01\n# from the vault\n" };
    char *path = folder_path(*state, "api-key");
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        folder_put(*state, "api-key", texts[i], strlen(texts[i]));
        struct buf key = BUF_INIT;
        char *why = NULL;
        assert_true(access_key_from_file(path, &key, &why));
        assert_int_equal(key.len, 9);
        assert_memory_equal(key.data, "my-key-01", 9);
        buf_free(&key);
    }
    free(path);
}

static void test_if_there_only_reads(void **state)
{
    const struct folder *f = *state;
    char *path = folder_path(f, "api-key");
    struct buf key = BUF_INIT;
    char *why = NULL;
    assert_true(access_key_if_there(path, &key, &why));
    assert_int_equal(key.len, 0);
    assert_int_equal(access(path, F_OK), -1);
    folder_put(f, "api-key", LITERAL("sk-of-a-file\nmore"));
    assert_true(access_key_if_there(path, &key, &why));
    assert_string_equal(buf_str(&key), "sk-of-a-file");
    folder_put(f, "api-key", "", 0);
    assert_false(access_key_if_there(path, &key, &why));
    assert_non_null(strstr(why, "no usable key"));
    free(why);
    buf_free(&key);
    free(path);
}

static void assert_refused(const struct folder *f, const char *bytes, size_t len)
{
    char *path = folder_path(f, "api-key");
    folder_put(f, "api-key", bytes, len);
    struct buf key = BUF_INIT;
    char *why = NULL;
    assert_false(access_key_from_file(path, &key, &why));
    assert_non_null(strstr(why, path));
    free(why);
    buf_free(&key);
    FILE *file = fopen(path, "re");
    char *now = malloc(len + 2);
    assert_int_equal(fread(now, 1, len + 2, file), len);
    assert_memory_equal(now, bytes, len);
    fclose(file);
    free(now);
    free(path);
}

static void test_a_file_without_a_usable_key_is_refused_and_left_alone(void **state)
{
    assert_refused(*state, LITERAL(""));
    assert_refused(*state, LITERAL("\n"));
    assert_refused(*state, LITERAL("\nmy-key-01\n"));
    assert_refused(*state, LITERAL("7-chars\n"));
    assert_refused(*state, LITERAL("two words\n"));
    assert_refused(*state, LITERAL(" my-key-01\n"));
    assert_refused(*state, LITERAL("my-key-01 \n"));
    assert_refused(*state, LITERAL("my\tkey-01\n"));
    assert_refused(*state, LITERAL("my-key\x7f"
                                   "01\n"));
    assert_refused(*state, LITERAL("my-k\xc3\xa9y-01\n"));
    assert_refused(*state, LITERAL("my-key\0-0123456\n"));
}

static void test_the_bounds_of_a_key_are_exact(void **state)
{
    char *path = folder_path(*state, "api-key");
    char text[ACCESS_KEY_MAX + 1];
    memset(text, 'k', sizeof(text));
    static const struct {
        size_t len;
        bool usable;
    } cases[] = { { ACCESS_KEY_MIN - 1, false },
                  { ACCESS_KEY_MIN, true },
                  { ACCESS_KEY_MAX, true },
                  { ACCESS_KEY_MAX + 1, false } };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        folder_put(*state, "api-key", text, cases[i].len);
        struct buf key = BUF_INIT;
        char *why = NULL;
        assert_int_equal(access_key_from_file(path, &key, &why), cases[i].usable);
        free(why);
        buf_free(&key);
    }
    free(path);
}

static void test_a_key_is_appended_and_what_stood_before_does_not_count(void **state)
{
    char *path = folder_path(*state, "api-key");
    struct buf line = BUF_INIT;
    char *why = NULL;
    buf_puts(&line, "Authorization: Bearer ");
    folder_put(*state, "api-key", LITERAL("short\n"));
    assert_false(access_key_from_file(path, &line, &why));
    free(why);
    why = NULL;
    buf_clear(&line);
    buf_puts(&line, "two words: ");
    folder_put(*state, "api-key", LITERAL("my-key-01\n"));
    assert_true(access_key_from_file(path, &line, &why));
    assert_string_equal(buf_str(&line), "two words: my-key-01");
    buf_free(&line);
    free(path);
}

static void test_a_file_that_cannot_be_read_or_made_is_named(void **state)
{
    const struct folder *f = *state;
    char *missing = folder_path(f, "no/such/folder");
    char *large = folder_path(f, "large");
    char bytes[5000];
    memset(bytes, 'k', sizeof(bytes));
    folder_put(f, "large", bytes, sizeof(bytes));
    const char *paths[] = { missing, f->path, large };
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct buf key = BUF_INIT;
        char *why = NULL;
        assert_false(access_key_from_file(paths[i], &key, &why));
        assert_non_null(strstr(why, paths[i]));
        free(why);
        buf_free(&key);
    }
    free(large);
    free(missing);
}

static void test_a_file_that_strangers_may_use_is_told(void **state)
{
    static const struct {
        mode_t mode;
        unsigned told;
    } cases[] = { { 0600, 0 },    { 0400, 0 },    { 0640, 0 },    { 0440, 0 },
                  { 0644, 0644 }, { 0604, 0604 }, { 0602, 0602 }, { 0620, 0620 },
                  { 0660, 0660 }, { 0666, 0666 }, { 0601, 0601 } };
    const struct folder *f = *state;
    char *path = folder_path(f, "api-key");
    assert_int_equal(access_key_exposed(path), 0);
    folder_put(f, "api-key", LITERAL("my-key-01\n"));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(chmod(path, cases[i].mode), 0);
        assert_int_equal(access_key_exposed(path), cases[i].told);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0666), 0);
    assert_int_equal(chmod(path, 0666), 0);
    assert_int_equal(access_key_exposed(path), 0);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_a_missing_file_is_made_with_a_random_key),
        FOLDER_TEST(test_two_files_get_two_keys),
        FOLDER_TEST(test_of_two_that_make_it_at_once_both_have_the_same_key),
        FOLDER_TEST(test_the_first_line_of_a_file_is_the_key),
        FOLDER_TEST(test_a_file_without_a_usable_key_is_refused_and_left_alone),
        FOLDER_TEST(test_if_there_only_reads),
        FOLDER_TEST(test_the_bounds_of_a_key_are_exact),
        FOLDER_TEST(test_a_key_is_appended_and_what_stood_before_does_not_count),
        FOLDER_TEST(test_a_file_that_cannot_be_read_or_made_is_named),
        FOLDER_TEST(test_a_file_that_strangers_may_use_is_told),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

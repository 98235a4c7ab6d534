/* The seal of trace files: only the key, only whole, only under its own name; and a key file that others may read is none. */
#include "trace_seal.h"
#include "file.h"
#include "folder.h"
#include "unit.h"

#include <sodium.h>

static const char text[] = "{\"v\":1,\"events\":[]}";

static struct trace_seal_key *make_key(const struct folder *f, const char *name)
{
    char *why = NULL;
    char *path = folder_path(f, name);
    assert_true(trace_seal_key_make(path, &why));
    struct trace_seal_key *key = trace_seal_key_read(path, &why);
    assert_non_null(key);
    assert_null(why);
    free(path);
    return key;
}

static void test_what_was_sealed_is_opened_by_its_key_and_name_alone(void **state)
{
    struct buf sealed = BUF_INIT;
    struct buf opened = BUF_INIT;
    struct trace_seal_key *key = make_key(*state, "a");
    struct trace_seal_key *other = make_key(*state, "b");
    trace_seal(key, "name", LITERAL(text), &sealed);
    assert_int_equal(sealed.len, sizeof(text) - 1 + TRACE_SEAL_BYTES);
    assert_null(memmem(sealed.data, sealed.len, "events", 6));
    buf_puts(&opened, "before ");
    assert_int_equal(trace_unseal(key, "name", sealed.data, sealed.len, &opened), TRACE_UNSEAL_OK);
    assert_string_equal(buf_str(&opened), "before {\"v\":1,\"events\":[]}");
    assert_int_equal(trace_unseal(key, "nama", sealed.data, sealed.len, &opened),
                     TRACE_UNSEAL_DAMAGED);
    assert_int_equal(trace_unseal(other, "name", sealed.data, sealed.len, &opened),
                     TRACE_UNSEAL_OTHER_KEY);
    assert_int_equal(opened.len, strlen("before ") + sizeof(text) - 1);
    buf_free(&sealed);
    buf_free(&opened);
    trace_seal_key_free(key);
    trace_seal_key_free(other);
    trace_seal_key_free(NULL);
}

static void test_no_two_records_are_alike(void **state)
{
    struct buf a = BUF_INIT;
    struct buf b = BUF_INIT;
    struct trace_seal_key *key = make_key(*state, "a");
    trace_seal(key, "name", LITERAL(text), &a);
    trace_seal(key, "name", LITERAL(text), &b);
    assert_int_equal(a.len, b.len);
    assert_memory_not_equal(a.data + 16, b.data + 16, 24);
    buf_free(&a);
    buf_free(&b);
    trace_seal_key_free(key);
}

static void test_any_changed_bit_and_any_missing_byte_is_damage(void **state)
{
    struct buf sealed = BUF_INIT;
    struct buf opened = BUF_INIT;
    struct trace_seal_key *key = make_key(*state, "a");
    trace_seal(key, "name", LITERAL(text), &sealed);
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.data[i] = (char)(sealed.data[i] ^ 1);
        enum trace_unseal wanted = i >= 8 && i < 16 ? TRACE_UNSEAL_OTHER_KEY : TRACE_UNSEAL_DAMAGED;
        assert_int_equal(trace_unseal(key, "name", sealed.data, sealed.len, &opened), wanted);
        sealed.data[i] = (char)(sealed.data[i] ^ 1);
        assert_int_equal(trace_unseal(key, "name", sealed.data, i, &opened), TRACE_UNSEAL_DAMAGED);
    }
    assert_int_equal(opened.len, 0);
    buf_free(&sealed);
    buf_free(&opened);
    trace_seal_key_free(key);
}

static void test_a_key_file_is_made_for_its_owner_and_never_twice_the_same(void **state)
{
    const struct folder *f = *state;
    struct buf a = BUF_INIT;
    struct buf b = BUF_INIT;
    struct stat st;
    trace_seal_key_free(make_key(f, "a"));
    trace_seal_key_free(make_key(f, "b"));
    char *path = folder_path(f, "a");
    char *path_b = folder_path(f, "b");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(file_read(path, &a, 100) && file_read(path_b, &b, 100));
    assert_int_equal(a.len, 65);
    assert_string_not_equal(buf_str(&a), buf_str(&b));
    buf_free(&a);
    buf_free(&b);
    free(path);
    free(path_b);
}

static void test_a_key_that_somebody_has_made_meanwhile_stays(void **state)
{
    struct buf sealed = BUF_INIT;
    struct buf opened = BUF_INIT;
    struct trace_seal_key *first = make_key(*state, "a");
    struct trace_seal_key *second = make_key(*state, "a");
    trace_seal(first, "name", LITERAL(text), &sealed);
    assert_int_equal(trace_unseal(second, "name", sealed.data, sealed.len, &opened),
                     TRACE_UNSEAL_OK);
    buf_free(&sealed);
    buf_free(&opened);
    trace_seal_key_free(first);
    trace_seal_key_free(second);
}

static void test_a_key_file_that_cannot_be_made_says_why(void **state)
{
    char *why = NULL;
    char *path = folder_path(*state, "missing/key");
    assert_false(trace_seal_key_make(path, &why));
    assert_non_null(strstr(why, "No such file"));
    free(why);
    why = NULL;
    assert_null(trace_seal_key_read(path, &why));
    assert_non_null(strstr(why, "No such file"));
    free(why);
    free(path);
}

#define HEX16 "0123456789abcdef"
#define HEX64 HEX16 HEX16 HEX16 HEX16

static char *read_refused(const struct folder *f, const char *bytes, size_t len, mode_t mode)
{
    char *why = NULL;
    char *path = folder_path(f, "key");
    folder_put(f, "key", bytes, len);
    assert_int_equal(chmod(path, mode), 0);
    struct trace_seal_key *key = trace_seal_key_read(path, &why);
    assert_true((key == NULL) == (why != NULL));
    trace_seal_key_free(key);
    free(path);
    return why;
}

static void test_garbage_in_a_key_file_is_refused(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } wrong[] = {
        { LITERAL("") },
        { LITERAL("\n") },
        { LITERAL(HEX16) },
        { LITERAL(HEX64 "0") },
        { LITERAL(HEX64 "00") },
        { LITERAL(HEX64 "\n\n") },
        { LITERAL(HEX64 "\r\n\n") },
        { LITERAL(HEX64 "\n" HEX64 "\n") },
        { LITERAL(" " HEX64) },
        { LITERAL(HEX16 HEX16 HEX16 "0123456789abcdeg\n") },
        { LITERAL(HEX16 HEX16 HEX16 "0123456789abcde\0") },
        { LITERAL("0123456789abcdef0123456789abcdef") },
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        char *why = read_refused(*state, wrong[i].bytes, wrong[i].len, 0600);
        assert_non_null(why);
        assert_non_null(strstr(why, "64 hex digits"));
        assert_null(strstr(why, "abcdef"));
        free(why);
    }
    assert_null(read_refused(*state, LITERAL(HEX64), 0600));
    assert_null(read_refused(*state, LITERAL(HEX64 "\r\n"), 0400));
}

static void test_a_key_file_that_others_may_use_is_refused(void **state)
{
    static const mode_t modes[] = { 0644, 0640, 0604, 0620, 0602, 0610, 0601, 0666 };
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        char *why = read_refused(*state, LITERAL(HEX64 "\n"), modes[i]);
        assert_non_null(why);
        assert_non_null(strstr(why, "chmod 600"));
        free(why);
    }
}

static void test_a_key_that_is_no_file_is_refused(void **state)
{
    const struct folder *f = *state;
    char *why = NULL;
    assert_null(trace_seal_key_read(f->path, &why));
    assert_non_null(strstr(why, "is not a file"));
    free(why);
    char *path = folder_path(f, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_null(trace_seal_key_read(path, &why)); /* and nobody waits for a writer */
    assert_non_null(strstr(why, "is not a file"));
    free(why);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_what_was_sealed_is_opened_by_its_key_and_name_alone),
        FOLDER_TEST(test_no_two_records_are_alike),
        FOLDER_TEST(test_any_changed_bit_and_any_missing_byte_is_damage),
        FOLDER_TEST(test_a_key_file_is_made_for_its_owner_and_never_twice_the_same),
        FOLDER_TEST(test_a_key_that_somebody_has_made_meanwhile_stays),
        FOLDER_TEST(test_a_key_file_that_cannot_be_made_says_why),
        FOLDER_TEST(test_garbage_in_a_key_file_is_refused),
        FOLDER_TEST(test_a_key_file_that_others_may_use_is_refused),
        FOLDER_TEST(test_a_key_that_is_no_file_is_refused),
    };
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

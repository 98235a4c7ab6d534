/* A file of settings: what a line means, and that a wrong one is named with its number. */
#include "folder.h"
#include "settings_file.h"

#include <sodium.h>

struct bench {
    struct folder folder;
    char *path; /* owned */
    struct settings_file file;
    int wrong;
    char *complaints; /* owned */
};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof(*b));
    folder_make(&b->folder);
    b->path = folder_path(&b->folder, "settings");
    *state = b;
    return 0;
}

static void forget(struct bench *b)
{
    settings_file_free(&b->file);
    free(b->complaints);
    b->complaints = NULL;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    forget(b);
    settings_file_free(&b->file); /* twice is once */
    free(b->path);
    folder_remove(&b->folder);
    free(b);
    return 0;
}

static void read_path(struct bench *b, const char *path)
{
    size_t len = 0;
    FILE *out = open_memstream(&b->complaints, &len);
    forget(b);
    b->wrong = settings_file_read(&b->file, path, out);
    fclose(out);
}

static void read_bytes(struct bench *b, const char *bytes, size_t len)
{
    folder_put(&b->folder, "settings", bytes, len);
    read_path(b, b->path);
}

static void read_text(struct bench *b, const char *text)
{
    read_bytes(b, text, strlen(text));
}

/* One line with the setting A. */
static void expect_a(struct bench *b, const char *line, const char *value)
{
    read_text(b, line);
    assert_int_equal(b->wrong, 0);
    assert_string_equal(b->complaints, "");
    assert_int_equal(b->file.count, 1);
    assert_string_equal(settings_file_get(&b->file, "A"), value);
}

/* ---- good lines ---- */

static void test_lines_are_names_with_values(void **state)
{
    struct bench *b = *state;
    read_text(b, "A=1\nLONG_NAME_2=text with = and # and blanks\nEMPTY=\n");
    assert_int_equal(b->wrong, 0);
    assert_int_equal(b->file.count, 3);
    assert_string_equal(settings_file_get(&b->file, "A"), "1");
    assert_string_equal(settings_file_get(&b->file, "LONG_NAME_2"), "text with = and # and blanks");
    assert_string_equal(settings_file_get(&b->file, "EMPTY"), "");
    assert_null(settings_file_get(&b->file, "a"));
    assert_null(settings_file_get(&b->file, "LONG"));
    assert_int_equal(b->file.lines[2].line, 3);
}

static void test_blank_lines_and_comments_mean_nothing_but_are_counted(void **state)
{
    struct bench *b = *state;
    read_text(b, "\n  \n# A=0\n\t# what follows counts\nA=1\n#\n\n");
    assert_int_equal(b->wrong, 0);
    assert_int_equal(b->file.count, 1);
    assert_int_equal(b->file.lines[0].line, 5);
    read_text(b, "");
    assert_int_equal(b->wrong, 0);
    assert_int_equal(b->file.count, 0);
    assert_null(settings_file_get(&b->file, "A"));
}

static void test_blanks_around_a_line_are_no_part_of_it(void **state)
{
    struct bench *b = *state;
    expect_a(b, "  \tA=1 \t ", "1");
    expect_a(b, "A= 1", " 1"); /* but those within are */
    expect_a(b, "A=\" 1 \"  ", " 1 ");
}

static void test_the_last_line_needs_no_newline_and_lines_may_end_in_crlf(void **state)
{
    struct bench *b = *state;
    expect_a(b, "A=1", "1");
    read_text(b, "A=1\r\n\r\n# x\r\nB=\"2\"\r\nC=3");
    assert_int_equal(b->wrong, 0);
    assert_string_equal(settings_file_get(&b->file, "A"), "1");
    assert_string_equal(settings_file_get(&b->file, "B"), "2");
    assert_string_equal(settings_file_get(&b->file, "C"), "3");
}

static void test_quotes_are_taken_off_and_escapes_resolved(void **state)
{
    struct bench *b = *state;
    expect_a(b, "A=\"\"", "");
    expect_a(b, "A=\"a b\"", "a b");
    expect_a(b, "A=\"# no comment\"", "# no comment");
    expect_a(b, "A=\"x=\\\"1\\\"\\ny=2\"", "x=\"1\"\ny=2");
    expect_a(b, "A=\"back\\\\slash\\\\\"", "back\\slash\\");
    expect_a(b, "A=\"'single'\"", "'single'");
    expect_a(b, "A='single'", "'single'"); /* only double ones are quotes */
    expect_a(b, "A=in \"the middle\"", "in \"the middle\"");
    expect_a(b, "A=no\\nescape", "no\\nescape"); /* without quotes */
}

static void test_of_two_lines_of_one_name_the_last_counts(void **state)
{
    struct bench *b = *state;
    read_text(b, "A=1\nB=2\nA=3\n");
    assert_int_equal(b->wrong, 0);
    assert_string_equal(settings_file_get(&b->file, "A"), "3");
    assert_string_equal(settings_file_get(&b->file, "B"), "2");
}

/* ---- bad ones ---- */

static void test_a_wrong_line_is_named_with_its_number_and_not_quoted(void **state)
{
    static const char *const lines[] = {
        "secret",
        "=secret",
        "a=secret",
        "A =secret",
        "export A=secret",
        "A-B=secret",
        "A: secret",
        "A=\"secret",
        "A=\"secret\\\"",
        "A=\"secret\" x",
        "A=\"secret\"\"",
        "\xef\xbb\xbf"
        "A=secret",
    };
    struct bench *b = *state;
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        char text[128];
        snprintf(text, sizeof(text), "# first\nGOOD=1\n%s\nAFTER=2\n", lines[i]);
        read_text(b, text);
        assert_int_equal(b->wrong, 1);
        assert_non_null(strstr(b->complaints, "line 3 of "));
        assert_non_null(strstr(b->complaints, b->path));
        assert_null(strstr(b->complaints, "secret"));
        assert_string_equal(settings_file_get(&b->file, "GOOD"), "1");
        assert_string_equal(settings_file_get(&b->file, "AFTER"), "2");
    }
}

static void test_every_wrong_line_is_named(void **state)
{
    struct bench *b = *state;
    read_text(b, "x\nA=1\ny\n\nz\n");
    assert_int_equal(b->wrong, 3);
    assert_non_null(strstr(b->complaints, "line 1 of "));
    assert_non_null(strstr(b->complaints, "line 3 of "));
    assert_non_null(strstr(b->complaints, "line 5 of "));
    assert_null(strstr(b->complaints, "line 2 of "));
}

static void test_a_file_that_cannot_be_read_is_one_wrong_setting(void **state)
{
    struct bench *b = *state;
    read_path(b, "/no/such/file");
    assert_int_equal(b->wrong, 1);
    assert_non_null(strstr(b->complaints, "/no/such/file"));
    assert_non_null(strstr(b->complaints, "No such file"));
    assert_int_equal(b->file.count, 0);
    read_path(b, b->folder.path); /* a folder */
    assert_int_equal(b->wrong, 1);
    assert_non_null(strstr(b->complaints, "directory"));
}

static void test_a_file_that_is_too_large_is_refused(void **state)
{
    struct bench *b = *state;
    size_t len = SETTINGS_FILE_MAX + 8192;
    char *bytes = malloc(len);
    memset(bytes, '\n', len);
    read_bytes(b, bytes, len);
    assert_int_equal(b->wrong, 1);
    assert_non_null(strstr(b->complaints, "too large"));
    read_bytes(b, bytes, SETTINGS_FILE_MAX);
    assert_int_equal(b->wrong, 0);
    free(bytes);
}

static void test_a_file_with_a_zero_byte_is_refused_as_a_whole(void **state)
{
    struct bench *b = *state;
    read_bytes(b, LITERAL("A=1\n\0\nB=2\n"));
    assert_int_equal(b->wrong, 1);
    assert_non_null(strstr(b->complaints, b->path));
    assert_int_equal(b->file.count, 0);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_lines_are_names_with_values),
        FILE_TEST(test_blank_lines_and_comments_mean_nothing_but_are_counted),
        FILE_TEST(test_blanks_around_a_line_are_no_part_of_it),
        FILE_TEST(test_the_last_line_needs_no_newline_and_lines_may_end_in_crlf),
        FILE_TEST(test_quotes_are_taken_off_and_escapes_resolved),
        FILE_TEST(test_of_two_lines_of_one_name_the_last_counts),
        FILE_TEST(test_a_wrong_line_is_named_with_its_number_and_not_quoted),
        FILE_TEST(test_every_wrong_line_is_named),
        FILE_TEST(test_a_file_that_cannot_be_read_is_one_wrong_setting),
        FILE_TEST(test_a_file_that_is_too_large_is_refused),
        FILE_TEST(test_a_file_with_a_zero_byte_is_refused_as_a_whole),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

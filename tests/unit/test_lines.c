/* Lines: the same lines come out, whatever pieces the stream arrives in. */
#include "lines.h"
#include "unit.h"

/* Keeps each line as "[line]". */
struct seen {
    struct buf text;
    unsigned lines;
    unsigned stop_after;     /* 0: never */
    struct lines *free_then; /* what to free when it stops */
};

static bool keep(void *ctx, const char *line, size_t len)
{
    struct seen *s = ctx;
    buf_putc(&s->text, '[');
    buf_append(&s->text, line, len);
    buf_putc(&s->text, ']');
    s->lines++;
    if (s->stop_after == 0 || s->lines < s->stop_after)
        return true;
    if (s->free_then != NULL) {
        lines_free(s->free_then);
        free(s->free_then);
    }
    return false;
}

static const char stream[] = "one\n\ntwo words\r\n\xc3\xa4\n\n\nlast\nrest";
static const char whole[] = "[one][][two words\r][\xc3\xa4][][][last]";

static void assert_cut_the_same(size_t first, size_t piece)
{
    struct seen seen = { .text = BUF_INIT };
    struct lines l;
    lines_init(&l, 100);
    size_t len = sizeof(stream) - 1;
    for (size_t at = 0, take = first; at < len; at += take, take = piece) {
        take = take < len - at ? take : len - at;
        assert_int_equal(lines_feed(&l, stream + at, take, keep, &seen), LINES_OK);
    }
    assert_string_equal(buf_str(&seen.text), whole);
    assert_int_equal(l.pending.len, 4);
    assert_int_equal(lines_feed(&l, LITERAL("!\n"), keep, &seen), LINES_OK);
    assert_int_equal(seen.lines, 8);
    assert_memory_equal(seen.text.data + seen.text.len - 7, "[rest!]", 7);
    buf_free(&seen.text);
    lines_free(&l);
}

static void test_a_line_cut_into_single_bytes_comes_out_whole(void **state)
{
    (void)state;
    assert_cut_the_same(1, 1);
}

static void test_pieces_of_any_size_give_the_same_lines(void **state)
{
    (void)state;
    for (size_t first = 0; first < sizeof(stream); first++)
        for (size_t piece = 1; piece < sizeof(stream); piece++)
            assert_cut_the_same(first, piece);
}

static void test_a_nul_is_a_byte_like_any_other(void **state)
{
    (void)state;
    struct seen seen = { .text = BUF_INIT };
    struct lines l;
    lines_init(&l, 100);
    assert_int_equal(lines_feed(&l, LITERAL("a\0b\n\0\n"), keep, &seen), LINES_OK);
    assert_int_equal(seen.text.len, 8);
    assert_memory_equal(seen.text.data, "[a\0b][\0]", 8);
    buf_free(&seen.text);
    lines_free(&l);
}

static void test_the_longest_line_passes_and_one_byte_more_does_not(void **state)
{
    (void)state;
    const char line[] = "0123456789\n";
    for (size_t piece = 1; piece <= 11; piece++) {
        for (size_t max = 9; max <= 10; max++) {
            struct seen seen = { .text = BUF_INIT };
            struct lines l;
            lines_init(&l, max);
            enum lines_err err = LINES_OK;
            for (size_t at = 0; at < 11 && err == LINES_OK; at += piece)
                err = lines_feed(&l, line + at, piece < 11 - at ? piece : 11 - at, keep, &seen);
            assert_int_equal(err, max == 10 ? LINES_OK : LINES_TOO_LONG);
            assert_int_equal(seen.lines, max == 10 ? 1 : 0);
            buf_free(&seen.text);
            lines_free(&l);
        }
    }
}

static void test_lines_before_one_that_is_too_long_are_given(void **state)
{
    (void)state;
    struct seen seen = { .text = BUF_INIT };
    struct lines l;
    lines_init(&l, 3);
    assert_int_equal(lines_feed(&l, LITERAL("a\nbcd\nefgh"), keep, &seen), LINES_TOO_LONG);
    assert_string_equal(buf_str(&seen.text), "[a][bcd]");
    buf_free(&seen.text);
    lines_free(&l);
}

static void test_nothing_is_held_back_past_the_limit(void **state)
{
    (void)state;
    struct seen seen = { .text = BUF_INIT };
    struct lines l;
    lines_init(&l, 1000);
    enum lines_err err = LINES_OK;
    for (unsigned i = 0; i < 5000 && err == LINES_OK; i++) {
        err = lines_feed(&l, "x", 1, keep, &seen);
        assert_true(l.pending.len <= 1000);
    }
    assert_int_equal(err, LINES_TOO_LONG);
    lines_free(&l);
}

static void test_a_reader_that_stops_gets_no_more_lines(void **state)
{
    (void)state;
    struct seen seen = { .text = BUF_INIT, .stop_after = 2 };
    struct lines l;
    lines_init(&l, 100);
    assert_int_equal(lines_feed(&l, LITERAL("a\nb\nc\n"), keep, &seen), LINES_STOPPED);
    assert_string_equal(buf_str(&seen.text), "[a][b]");
    buf_free(&seen.text);
    lines_free(&l);
}

/* The line is still readable after its owner is gone: the sanitizer watches `keep`. */
static void test_a_reader_that_stops_may_free_the_lines(void **state)
{
    (void)state;
    for (size_t first = 0; first < sizeof("one\ntwo"); first++) {
        struct lines *l = malloc(sizeof(*l));
        lines_init(l, 100);
        struct seen seen = { .text = BUF_INIT, .stop_after = 2, .free_then = l };
        const char text[] = "one\ntwo\nthree\n";
        enum lines_err err = lines_feed(l, text, first, keep, &seen);
        assert_int_equal(err, LINES_OK);
        err = lines_feed(l, text + first, sizeof(text) - 1 - first, keep, &seen);
        assert_int_equal(err, LINES_STOPPED);
        assert_string_equal(buf_str(&seen.text), "[one][two]");
        buf_free(&seen.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_cut_into_single_bytes_comes_out_whole),
        cmocka_unit_test(test_pieces_of_any_size_give_the_same_lines),
        cmocka_unit_test(test_a_nul_is_a_byte_like_any_other),
        cmocka_unit_test(test_the_longest_line_passes_and_one_byte_more_does_not),
        cmocka_unit_test(test_lines_before_one_that_is_too_long_are_given),
        cmocka_unit_test(test_nothing_is_held_back_past_the_limit),
        cmocka_unit_test(test_a_reader_that_stops_gets_no_more_lines),
        cmocka_unit_test(test_a_reader_that_stops_may_free_the_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

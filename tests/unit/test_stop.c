/* Stop sequences: where a text is cut does not depend on the pieces in which it came. */
#include "json.h"
#include "stop.h"
#include "unit.h"

#define TEXT_LEN 6

static struct stop stop_of(const char *const *sequences, size_t count)
{
    struct stop stop = { .count = 0 };
    for (size_t i = 0; i < count; i++)
        stop_add(&stop, sequences[i], strlen(sequences[i]));
    return stop;
}

/* What is left of the text, said in another way: it ends before the sequence that is complete first, and of those that
 * are complete at the same byte before the longest. */
static size_t cut_of(const char *text, size_t len, const char *const *sequences, size_t count)
{
    for (size_t end = 1; end <= len; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < count; i++) {
            size_t n = strlen(sequences[i]);
            if (n <= end && n > longest && memcmp(text + end - n, sequences[i], n) == 0)
                longest = n;
        }
        if (longest != 0)
            return end - longest;
    }
    return SIZE_MAX;
}

/* Whether what is held back may still become a sequence. */
static bool is_a_beginning(const struct buf *held, const char *const *sequences, size_t count)
{
    bool found = held->len == 0;
    for (size_t i = 0; i < count; i++)
        found |=
            strlen(sequences[i]) > held->len && memcmp(held->data, sequences[i], held->len) == 0;
    return found;
}

/* Takes the text in pieces: one ends behind byte i if bit i of `cuts` is set. */
static void assert_outcome(const char *text, size_t len, uint64_t cuts,
                           const char *const *sequences, size_t count)
{
    struct stop stop = stop_of(sequences, count);
    struct buf out = BUF_INIT;
    size_t wanted = cut_of(text, len, sequences, count);
    bool stopped = false;
    size_t from = 0;
    for (size_t i = 0; i < len && !stopped; i++) {
        if (i + 1 < len && (cuts >> i & 1) == 0)
            continue;
        stopped = stop_take(&stop, text + from, i + 1 - from, &out);
        from = i + 1;
        if (stopped)
            break;
        assert_int_equal(out.len + stop.held.len, from); /* nothing is lost */
        assert_true(is_a_beginning(&stop.held, sequences, count));
    }
    assert_int_equal(stopped, wanted != SIZE_MAX);
    if (!stopped)
        stop_end(&stop, &out);
    assert_int_equal(stop.held.len, 0);
    assert_int_equal(out.len, stopped ? wanted : len);
    if (out.len != 0)
        assert_memory_equal(out.data, text, out.len);
    buf_free(&out);
    stop_free(&stop);
}

static void assert_in_all_pieces(const char *text, const char *const *sequences, size_t count)
{
    size_t len = strlen(text);
    for (uint64_t cuts = 0; cuts < (uint64_t)1 << (len - 1); cuts++)
        assert_outcome(text, len, cuts, sequences, count);
}

static void test_every_cut_of_every_short_text_has_the_same_outcome(void **state)
{
    (void)state;
    static const char *const words[] = { "a",   "b",   "aa",  "ab",  "ba",  "bb",  "aaa",
                                         "aab", "aba", "abb", "baa", "bab", "bba", "bbb" };
    for (unsigned bits = 0; bits < 1U << TEXT_LEN; bits++) {
        char text[TEXT_LEN + 1] = "";
        for (unsigned i = 0; i < TEXT_LEN; i++)
            text[i] = (bits >> i & 1) != 0 ? 'b' : 'a';
        for (size_t i = 0; i < COUNT_OF(words); i++) {
            for (size_t j = i; j < COUNT_OF(words); j++) {
                const char *const both[] = { words[i], words[j] };
                assert_in_all_pieces(text, both, 2);
            }
        }
    }
}

static void test_sequences_that_overlap_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *sequences[STOP_MAX];
    } cases[] = {
        { "xabcabd", { "abd", "abcabe", "bcb", "cc" } },
        { "xabcabx", { "abcabd", "abe", "bx", "zz" } },
        { "xaaaab", { "aab", "aaaaa", "b", "zz" } },
        { "abcdef", { "abcdefg", "cde", "de", "e" } },
        { "ababab", { "ababb", "babb", "abb", "ababac" } },
        { "a\n\nHuman", { "\n\nHuman:", "\n\nAI:", "Humans", "\n\n\n" } },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_in_all_pieces(cases[i].text, cases[i].sequences, STOP_MAX);
}

static void test_without_sequences_all_is_let_go_at_once(void **state)
{
    (void)state;
    struct stop stop = { .count = 0 };
    struct buf out = BUF_INIT;
    assert_false(stop_take(&stop, "a\0b", 3, &out));
    assert_int_equal(out.len, 3);
    assert_false(stop_take(&stop, "c", 1, &out));
    stop_end(&stop, &out);
    assert_int_equal(out.len, 4);
    assert_memory_equal(out.data, "a\0bc", 4);
    buf_free(&out);
    stop_free(&stop);
}

static void test_what_cannot_be_part_of_a_sequence_is_not_held(void **state)
{
    (void)state;
    static const char *const sequences[] = { "STOP" };
    struct stop stop = stop_of(sequences, 1);
    struct buf out = BUF_INIT;
    static const struct {
        const char *piece;
        const char *so_far;
    } steps[] = {
        { "one S", "one " }, { "T", "one " }, { "S", "one ST" }, { "TOX", "one STSTOX" }
    };
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        assert_false(stop_take(&stop, steps[i].piece, strlen(steps[i].piece), &out));
        assert_string_equal(buf_str(&out), steps[i].so_far);
    }
    buf_free(&out);
    stop_free(&stop);
}

static void test_out_is_appended_to(void **state)
{
    (void)state;
    static const char *const sequences[] = { "b" };
    struct stop stop = stop_of(sequences, 1);
    struct buf out = BUF_INIT;
    buf_puts(&out, "b before ");
    assert_true(stop_take(&stop, "abc", 3, &out));
    assert_string_equal(buf_str(&out), "b before a");
    buf_free(&out);
    stop_free(&stop);
}

static void test_a_sequence_may_hold_nul(void **state)
{
    (void)state;
    struct stop stop = { .count = 0 };
    struct buf out = BUF_INIT;
    stop_add(&stop, "\0x", 2);
    assert_false(stop_take(&stop, "a\0\0", 3, &out));
    assert_int_equal(out.len, 2);
    assert_true(stop_take(&stop, "xb", 2, &out));
    assert_int_equal(out.len, 2);
    assert_memory_equal(out.data, "a\0", 2);
    buf_free(&out);
    stop_free(&stop);
}

static void test_the_longest_sequence_is_found_in_any_two_pieces(void **state)
{
    (void)state;
    char sequence[STOP_BYTES_MAX + 1];
    memset(sequence, 's', STOP_BYTES_MAX);
    sequence[0] = '<';
    sequence[STOP_BYTES_MAX] = '\0';
    const char *const sequences[] = { sequence };
    for (size_t at = 1; at <= STOP_BYTES_MAX; at++) {
        struct stop stop = stop_of(sequences, 1);
        struct buf out = BUF_INIT;
        bool first = stop_take(&stop, sequence, at, &out);
        assert_int_equal(first, at == STOP_BYTES_MAX);
        if (!first)
            assert_true(stop_take(&stop, sequence + at, STOP_BYTES_MAX - at, &out));
        assert_int_equal(out.len, 0);
        buf_free(&out);
        stop_free(&stop);
    }
}

static bool is_utf8(const struct buf *text)
{
    json_t *string = json_stringn(text->len != 0 ? text->data : "", text->len);
    json_decref(string);
    return string != NULL;
}

static void test_no_character_is_cut_in_two(void **state)
{
    (void)state;
    static const char *const characters[] = {
        "\xc3\xa9",         "\xc3\xa8", "\xe6\x97\xa5", "\xe6\x9c\xac", "\xf0\x9f\x98\x80",
        "\xf0\x9f\x98\x81", "x"
    };
    static const char *const sequences[] = { "\xc3\xa9\xc3\xa8", "\xe6\x97\xa5\xe6\x9c\xac",
                                             "\xf0\x9f\x98\x80\xf0\x9f\x98\x81\xc3\xa9",
                                             "x\xf0\x9f\x98\x81" };
    unsigned stops = 0;
    for (unsigned n = 0; n < 7 * 7 * 7 * 7; n++) {
        struct stop stop = stop_of(sequences, COUNT_OF(sequences));
        struct buf out = BUF_INIT;
        bool stopped = false;
        unsigned rest = n;
        for (int i = 0; i < 4 && !stopped; i++, rest /= 7) {
            const char *c = characters[rest % 7];
            stopped = stop_take(&stop, c, strlen(c), &out);
            assert_true(is_utf8(&out));
            assert_true(is_utf8(&stop.held));
        }
        stops += stopped;
        stop_end(&stop, &out);
        assert_true(is_utf8(&out));
        buf_free(&out);
        stop_free(&stop);
    }
    assert_true(stops > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut_of_every_short_text_has_the_same_outcome),
        cmocka_unit_test(test_sequences_that_overlap_are_told_apart),
        cmocka_unit_test(test_without_sequences_all_is_let_go_at_once),
        cmocka_unit_test(test_what_cannot_be_part_of_a_sequence_is_not_held),
        cmocka_unit_test(test_out_is_appended_to),
        cmocka_unit_test(test_a_sequence_may_hold_nul),
        cmocka_unit_test(test_the_longest_sequence_is_found_in_any_two_pieces),
        cmocka_unit_test(test_no_character_is_cut_in_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

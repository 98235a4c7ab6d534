/* Names of trace files: sortable, and nothing but what we have named is taken for ours. */
#include "trace_name.h"
#include "unit.h"

#define ID "req_0123456789abcdefABCDEF01"
#define NAME "20261122T060102.345Z-" ID ".json"

static void test_a_name_is_the_time_and_the_id(void **state)
{
    (void)state;
    struct trace_name name;
    struct trace_name again;
    trace_name_make(&name, INT64_C(1795327262345), ID, false);
    assert_string_equal(name.text, NAME);
    assert_true(trace_name_parse(NAME, &again));
    assert_int_equal(again.wall_ms, INT64_C(1795327262345));
    assert_string_equal(again.req_id, ID);
    assert_false(again.sealed);
    trace_name_make(&name, INT64_C(1795327262345), ID, true);
    assert_string_equal(name.text, NAME ".sealed");
    assert_true(trace_name_parse(name.text, &again));
    assert_true(again.sealed);
}

static void test_names_sort_by_time(void **state)
{
    (void)state;
    static const int64_t times[] = { 0, 1, 999, 1000, 86400000, 1795327262345, 253402300799999 };
    char last[TRACE_NAME_SIZE] = "";
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        struct trace_name name;
        struct trace_name again;
        trace_name_make(&name, times[i], ID, false);
        assert_true(strcmp(last, name.text) < 0);
        assert_true(trace_name_parse(name.text, &again));
        assert_int_equal(again.wall_ms, times[i]);
        memcpy(last, name.text, sizeof(last));
    }
}

static void test_a_clock_beyond_all_years_does_no_harm(void **state)
{
    (void)state;
    static const int64_t times[] = { -1, INT64_MIN, INT64_MAX, 253402300800000 };
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        struct trace_name name;
        trace_name_make(&name, times[i], ID, false);
        assert_string_equal(name.text, "19700101T000000.000Z-" ID ".json");
    }
}

static void test_other_names_are_not_ours(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",
        ".",
        "..",
        "notes.txt",
        NAME "x",
        NAME ".seale",
        NAME ".sealed.sealed",
        NAME ".1.tmp",
        "x" NAME,
        "20261122T060102.345-" ID ".json",
        "20261122T060102.345Z-" ID,
        "20261122T060102.345Z_" ID ".json",
        "20261122 060102.345Z-" ID ".json",
        "20260230T060102.345Z-" ID ".json", /* no such day */
        "20261122T240102.345Z-" ID ".json",
        "20261122T066002.345Z-" ID ".json",
        "20261122T060160.345Z-" ID ".json",
        "2026112xT060102.345Z-" ID ".json",
        "20261122T060102.34-Z-" ID ".json",
        "-0261122T060102.345Z-" ID ".json",
        "20261122T060102.345Z-req_0123456789abcdefABCDEF0.json",
        "20261122T060102.345Z-req_0123456789abcdefABCDEF0/.json",
        "20261122T060102.345Z-rex_0123456789abcdefABCDEF01.json",
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct trace_name name;
        assert_false(trace_name_parse(names[i], &name));
    }
}

static void test_only_ids_of_our_making_are_ids(void **state)
{
    (void)state;
    static const char *const ids[] = { "",
                                       "req_",
                                       "req_0123456789abcdefABCDEF0",
                                       "req_0123456789abcdefABCDEF012",
                                       "REQ_0123456789abcdefABCDEF01",
                                       "req_../../../../etc/passwd00",
                                       "req_0123456789abcdefABCDEF0\x80",
                                       "req_0123456789abcdefABCDEF0_" };
    assert_true(trace_id_ok(ID, strlen(ID)));
    for (size_t i = 0; i < COUNT_OF(ids); i++)
        assert_false(trace_id_ok(ids[i], strlen(ids[i])));
    assert_false(trace_id_ok("req_0123456789abcdefABCDEF0\0", strlen(ID)));
}

static void test_what_a_crash_leaves_is_known_by_its_name(void **state)
{
    (void)state;
    static const char *const others[] = {
        NAME,           NAME ".tmp",        NAME ".1",
        NAME ".x.tmp",  NAME ".1.tmp2",     "notes.json.1.tmp",
        NAME ".sealed", NAME ".sealed.tmp", NAME ".sealedx.1.tmp",
        ".json.1.tmp",
    };
    assert_true(trace_name_is_leftover(NAME ".1234.tmp"));
    assert_true(trace_name_is_leftover(NAME ".sealed.1.tmp"));
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_false(trace_name_is_leftover(others[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_name_is_the_time_and_the_id),
        cmocka_unit_test(test_names_sort_by_time),
        cmocka_unit_test(test_a_clock_beyond_all_years_does_no_harm),
        cmocka_unit_test(test_other_names_are_not_ours),
        cmocka_unit_test(test_only_ids_of_our_making_are_ids),
        cmocka_unit_test(test_what_a_crash_leaves_is_known_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

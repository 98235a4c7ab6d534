/* HEALTH_CHECKS and HEALTH_REQUIRED: what may be written there. */
#include "health_spec.h"
#include "unit.h"

static struct health_specs parse(const char *text)
{
    struct health_specs specs = { .count = 0 };
    char *why = NULL;
    if (!health_specs_parse(text, &specs, &why))
        fail_msg("%s: %s", text, why);
    return specs;
}

static void test_checks_of_both_kinds_are_taken(void **state)
{
    (void)state;
    struct health_specs s = parse(" db = tcp:db.example.org:5432 ,v6=tcp:[2001:db8::1]:80,"
                                  "a_1=tcp:10.0.0.1:65535\t, stamp=file:/a b/c:d=e:60");
    assert_int_equal(s.count, 4);
    assert_string_equal(s.items[0].name, "db");
    assert_int_equal(s.items[0].kind, HEALTH_TCP);
    assert_string_equal(s.items[0].target, "db.example.org");
    assert_int_equal(s.items[0].port, 5432);
    assert_string_equal(s.items[1].target, "2001:db8::1");
    assert_string_equal(s.items[2].name, "a_1");
    assert_int_equal(s.items[2].port, 65535);
    assert_int_equal(s.items[3].kind, HEALTH_FILE);
    assert_string_equal(s.items[3].target, "/a b/c:d=e");
    assert_int_equal(s.items[3].max_age_s, 60);
    health_specs_free(&s);
    health_specs_free(&s);
    s = parse(NULL);
    assert_int_equal(s.count, 0);
}

static void refused(const char *text)
{
    struct health_specs specs;
    char *why = NULL;
    if (health_specs_parse(text, &specs, &why))
        fail_msg("taken: %s", text);
    assert_int_equal(strncmp(why, LITERAL("HEALTH_CHECKS: check ")), 0);
    assert_null(strstr(why, "sesame")); /* nothing of the text is quoted */
    free(why);
}

static void test_everything_else_is_refused_and_not_quoted(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        ",",
        "sesame",
        "sesame=",
        "=tcp:sesame:1",
        "a=sesame",
        "a=tcp",
        "a=tcp:",
        "a=tcp:sesame",
        "a=tcp:sesame:",
        "a=tcp::1",
        "a=tcp:sesame:0",
        "a=tcp:sesame:65536",
        "a=tcp:sesame:99999999999999999999",
        "a=tcp:sesame:-1",
        "a=tcp:sesame:+1",
        "a=tcp:sesame:1x",
        "a=tcp:sesame: 1",
        "a=tcp:user:sesame@host:1",
        "a=tcp:ses ame:1",
        "a=tcp:ses\name:1",
        "a=tcp:::1:80",
        "a=tcp:[]:80",
        "a=tcp:[::1:80",
        "a=tcp:[sesame]:80",
        "a=tcp:[::1]sesame:80",
        "a=http://sesame/",
        "a=TCP:sesame:1",
        "a=file",
        "a=file:",
        "a=file:/sesame",
        "a=file:/sesame:",
        "a=file:/sesame:0",
        "a=file:/sesame:315360001",
        "a=file:/sesame:1.5",
        "a=file:sesame:1",
        "a=file::1",
        "a=file:/ses\x01"
        "ame:1",
        "A=tcp:sesame:1",
        "a-b=tcp:sesame:1",
        "a b=tcp:sesame:1",
        "\xc3\xa4=tcp:sesame:1",
        "a23456789012345678901234567890123=tcp:sesame:1",
        "a=tcp:x:1,",
        ",a=tcp:x:1",
        "a=tcp:x:1,,b=tcp:x:1",
        "a=tcp:x:1,a=file:/sesame:1",
        "worker=tcp:sesame:1",
        "worker_rpc=tcp:sesame:1",
        "interactions=tcp:sesame:1",
        "memory=tcp:sesame:1",
        "disk=tcp:sesame:1",
        "log=tcp:sesame:1",
        "traces=tcp:sesame:1",
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++)
        refused(wrong[i]);
}

static void test_the_message_says_which_check_is_wrong(void **state)
{
    (void)state;
    struct health_specs specs;
    char *why = NULL;
    assert_false(health_specs_parse("a=tcp:x:1,b=tcp:x:1,c=tcp:x:0", &specs, &why));
    assert_non_null(strstr(why, "check 3: "));
    free(why);
}

static void test_there_can_be_sixteen(void **state)
{
    (void)state;
    char text[1024] = "";
    for (int i = 0; i < HEALTH_SPECS_MAX; i++)
        snprintf(text + strlen(text), 32, "%sc%d=tcp:x:1", i == 0 ? "" : ",", i);
    struct health_specs s = parse(text);
    assert_int_equal(s.count, HEALTH_SPECS_MAX);
    health_specs_free(&s);
    snprintf(text + strlen(text), 32, ",more=tcp:x:1");
    refused(text);
}

static void test_the_longest_name_and_host_are_taken(void **state)
{
    (void)state;
    char text[600];
    char host[255];
    memset(host, 'h', sizeof(host));
    snprintf(text, sizeof(text), "n2345678901234567890123456789012=tcp:%.253s:1", host);
    struct health_specs s = parse(text);
    assert_int_equal(strlen(s.items[0].name), HEALTH_NAME_MAX);
    assert_int_equal(strlen(s.items[0].target), 253);
    health_specs_free(&s);
    snprintf(text, sizeof(text), "a=tcp:%.254s:1", host);
    refused(text);
}

static void test_what_differs_is_not_equal(void **state)
{
    (void)state;
    struct health_specs s = parse("a=tcp:x:1,b=tcp:x:1,c=file:/x:1");
    struct health_specs t = parse("a=tcp:x:2,b=tcp:x:1,c=file:/x:2");
    assert_false(health_spec_equal(&s.items[0], &t.items[0]));
    assert_true(health_spec_equal(&s.items[1], &t.items[1]));
    assert_false(health_spec_equal(&s.items[2], &t.items[2]));
    health_specs_free(&s);
    health_specs_free(&t);
}

static void test_required_names_are_those_that_there_are(void **state)
{
    (void)state;
    static const char checks[] = "db=tcp:x:1";
    char *why = NULL;
    assert_true(health_settings_check(NULL, NULL, &why));
    assert_true(health_settings_check(checks, "db", &why));
    assert_true(health_settings_check(checks, " disk , db,worker", &why));
    assert_false(health_settings_check("sesame", "db", &why));
    assert_int_equal(strncmp(why, LITERAL("HEALTH_CHECKS: ")), 0);
    free(why);
    static const char *const wrong[] = {
        "dbx",       "d",  "",        "db,",
        "db,sesame", "DB", "db disk", "a2345678901234567890123456789012345678901234567890"
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        assert_false(health_settings_check(checks, wrong[i], &why));
        assert_int_equal(strncmp(why, LITERAL("HEALTH_REQUIRED: name ")), 0);
        assert_null(strstr(why, "sesame"));
        free(why);
    }
    assert_true(health_required_has("disk, db", "db"));
    assert_false(health_required_has("disk, db", "d"));
    assert_false(health_required_has(NULL, "db"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checks_of_both_kinds_are_taken),
        cmocka_unit_test(test_everything_else_is_refused_and_not_quoted),
        cmocka_unit_test(test_the_message_says_which_check_is_wrong),
        cmocka_unit_test(test_there_can_be_sixteen),
        cmocka_unit_test(test_the_longest_name_and_host_are_taken),
        cmocka_unit_test(test_what_differs_is_not_equal),
        cmocka_unit_test(test_required_names_are_those_that_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

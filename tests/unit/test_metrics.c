/* Metrics: series, their bounds, and the two forms of the page. */
#include "metrics.h"
#include "unit.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static int setup(void **state)
{
    (void)state;
    metrics_reset();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    metrics_reset();
    return 0;
}

static char *page(enum metrics_format format)
{
    struct buf out = BUF_INIT;
    metrics_write(&out, format);
    char *text = strdup(buf_str(&out));
    buf_free(&out);
    return text;
}

static void check_page(enum metrics_format format, const char *expected)
{
    char *text = page(format);
    assert_string_equal(text, expected);
    free(text);
}

/* Lines that are samples. */
static size_t samples(void)
{
    char *text = page(METRICS_TEXT);
    size_t count = 0;
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;)
        count += line[0] != '\0' && line[0] != '#';
    free(text);
    return count;
}

static void test_nothing_is_shown_of_what_never_was(void **state)
{
    (void)state;
    check_page(METRICS_TEXT, "");
    check_page(METRICS_OPENMETRICS, "# EOF\n");
}

static void test_what_has_no_labels_is_zero_from_the_start(void **state)
{
    (void)state;
    metrics_start();
    char *text = page(METRICS_TEXT);
    assert_non_null(strstr(text, "\ncodex_trace_written_total 0\n"));
    assert_non_null(strstr(text, "\ncodex_stream_gap_ms_count 0\n"));
    assert_null(strstr(text, "codex_queue_depth"));
    assert_null(strstr(text, "codex_http_requests_total"));
    free(text);
}

static void test_a_counter_in_both_forms(void **state)
{
    (void)state;
    metric_count(M_STREAM_END, 1, "done");
    metric_count(M_STREAM_END, 2, "error");
    metric_count(M_STREAM_END, 0.5, "done");
    check_page(METRICS_TEXT, "# HELP codex_stream_end_total Streams that have ended, by how.\n"
                             "# TYPE codex_stream_end_total counter\n"
                             "codex_stream_end_total{outcome=\"done\"} 1.5\n"
                             "codex_stream_end_total{outcome=\"error\"} 2\n");
    check_page(METRICS_OPENMETRICS, "# HELP codex_stream_end Streams that have ended, by how.\n"
                                    "# TYPE codex_stream_end counter\n"
                                    "codex_stream_end_total{outcome=\"done\"} 1.5\n"
                                    "codex_stream_end_total{outcome=\"error\"} 2\n"
                                    "# EOF\n");
}

static void test_a_gauge_is_what_it_was_set_to_last(void **state)
{
    (void)state;
    metric_set(M_QUEUE_DEPTH, 7);
    metric_set(M_QUEUE_DEPTH, 3);
    check_page(METRICS_TEXT, "# HELP codex_queue_depth Requests that wait for a turn.\n"
                             "# TYPE codex_queue_depth gauge\ncodex_queue_depth 3\n");
}

static void test_a_histogram_counts_up_to_its_bounds(void **state)
{
    (void)state;
    metric_observe(M_LOOP_LAG, 0.5); /* a bound is within */
    metric_observe(M_LOOP_LAG, 0.7);
    metric_observe(M_LOOP_LAG, 1000);
    char *text = page(METRICS_TEXT);
    const char *expected = "# TYPE codex_loop_lag_ms histogram\n"
                           "codex_loop_lag_ms_bucket{le=\"0.5\"} 1\n"
                           "codex_loop_lag_ms_bucket{le=\"1.0\"} 2\n"
                           "codex_loop_lag_ms_bucket{le=\"5.0\"} 2\n"
                           "codex_loop_lag_ms_bucket{le=\"25.0\"} 2\n"
                           "codex_loop_lag_ms_bucket{le=\"100.0\"} 2\n"
                           "codex_loop_lag_ms_bucket{le=\"+Inf\"} 3\n"
                           "codex_loop_lag_ms_sum 1001.2\n"
                           "codex_loop_lag_ms_count 3\n";
    assert_non_null(strstr(text, expected));
    free(text);
}

static void test_the_twin_in_seconds_says_the_same(void **state)
{
    (void)state;
    metric_observe(M_HTTP_LATENCY, 1500, "/v1/models", "GET", "2xx", METRIC_OTHER);
    char *text = page(METRICS_TEXT);
    const char *labels =
        "{route=\"/v1/models\",method=\"GET\",status_family=\"2xx\",model=\"other\"";
    char line[256];
    snprintf(line, sizeof(line), "codex_http_latency_ms_sum%s} 1500\n", labels);
    assert_non_null(strstr(text, line));
    snprintf(line, sizeof(line), "codex_http_latency_seconds_sum%s} 1.5\n", labels);
    assert_non_null(strstr(text, line));
    snprintf(line, sizeof(line), "codex_http_latency_seconds_bucket%s,le=\"5.0\"} 1\n", labels);
    assert_non_null(strstr(text, line));
    free(text);
}

static void test_a_label_is_escaped(void **state)
{
    (void)state;
    metric_count(M_COST, 1, "a\"b\\c\nd");
    char *text = page(METRICS_TEXT);
    assert_non_null(strstr(text, "{model=\"a\\\"b\\\\c\\nd\"} 1\n"));
    free(text);
}

static void test_what_has_no_place_goes_to_other(void **state)
{
    (void)state;
    char code[16];
    for (int i = 0; i < 1000; i++) {
        snprintf(code, sizeof(code), "code_%d", i);
        metric_count(M_HTTP_ERRORS, 1, "/v1/models", code);
    }
    char *text = page(METRICS_TEXT);
    assert_int_equal(samples(), 20);
    assert_non_null(strstr(text, "{route=\"/v1/models\",code=\"code_18\"} 1\n"));
    assert_null(strstr(text, "code_19"));
    assert_non_null(strstr(text, "{route=\"other\",code=\"other\"} 981\n"));
    free(text);
}

/* Whoever has no key can ask for what he likes, before the first who has one comes. */
static void test_guests_leave_places_for_who_has_a_key(void **state)
{
    (void)state;
    char code[16];
    for (int i = 0; i < 100; i++) {
        snprintf(code, sizeof(code), "guest_%d", i);
        metric_add_guest(M_HTTP_ERRORS, 1, METRIC_LABELS("none", code));
        metric_observe_guest(M_HTTP_LATENCY, 1, METRIC_LABELS(code, "GET", "4xx", METRIC_OTHER));
    }
    size_t before = samples();
    for (int i = 0; i < 8; i++) {
        snprintf(code, sizeof(code), "code_%d", i);
        metric_count(M_HTTP_ERRORS, 1, "/v1/models", code);
    }
    assert_int_equal(samples(), before + 8);
    metric_observe(M_HTTP_LATENCY, 1, "/v1/chat/completions", "POST", "2xx", "model");
    char *text = page(METRICS_TEXT);
    assert_non_null(strstr(text, "{route=\"none\",code=\"guest_10\"} 1\n"));
    assert_null(strstr(text, "guest_11"));
    assert_non_null(strstr(text, "{route=\"other\",code=\"other\"} 89\n"));
    assert_non_null(strstr(text, "{route=\"/v1/models\",code=\"code_7\"} 1\n"));
    assert_non_null(strstr(text, "status_family=\"2xx\",model=\"model\"} 1\n"));
    free(text);
}

/* What takes the rest may be there before the places are. */
static void test_other_itself_takes_no_place(void **state)
{
    (void)state;
    char code[16];
    metric_count(M_HTTP_ERRORS, 1, METRIC_OTHER, METRIC_OTHER);
    for (int i = 0; i < 30; i++) {
        snprintf(code, sizeof(code), "code_%d", i);
        metric_count(M_HTTP_ERRORS, 1, "/v1/models", code);
    }
    char *text = page(METRICS_TEXT);
    assert_int_equal(samples(), 20);
    assert_non_null(strstr(text, "code_18"));
    assert_non_null(strstr(text, "{route=\"other\",code=\"other\"} 12\n"));
    free(text);
}

/* Sums go by the type of tokens, whatever the model. */
static void test_tokens_without_a_place_keep_their_type(void **state)
{
    (void)state;
    static const char *const types[] = { "prompt", "cached", "completion", "reasoning" };
    char model[16];
    for (int i = 0; i < 20; i++) {
        snprintf(model, sizeof(model), "model_%d", i);
        for (int j = 0; j < 4; j++)
            metric_count(M_TOKENS, 10 + j, model, types[j]);
    }
    char *text = page(METRICS_TEXT);
    assert_int_equal(samples(), 16);
    assert_non_null(strstr(text, "{model=\"model_2\",type=\"reasoning\"} 13\n"));
    assert_null(strstr(text, "model_3"));
    assert_non_null(strstr(text, "{model=\"other\",type=\"prompt\"} 170\n"));
    assert_non_null(strstr(text, "{model=\"other\",type=\"reasoning\"} 221\n"));
    free(text);
}

static void test_the_versions_are_named(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        metric_clear(M_BUILD_INFO);
        metric_set(M_BUILD_INFO, 1, "1.2.3", i == 0 ? "unknown" : "0.99");
    }
    check_page(METRICS_TEXT,
               "# HELP codex_build_info 1, with the versions of codex-api and of the worker.\n"
               "# TYPE codex_build_info gauge\n"
               "codex_build_info{version=\"1.2.3\",codex_version=\"0.99\"} 1\n");
}

static void check_number(double value, const char *expected)
{
    char line[128];
    metric_set(M_QUEUE_DEPTH, value);
    char *text = page(METRICS_TEXT);
    snprintf(line, sizeof(line), "\ncodex_queue_depth %s\n", expected);
    assert_non_null(strstr(text, line));
    free(text);
}

static void test_numbers_as_the_formats_want_them(void **state)
{
    (void)state;
    check_number(0, "0");
    check_number(-0.0, "0");
    check_number(-3, "-3");
    check_number(0.1, "0.1");
    check_number(1e-9, "1e-09");
    check_number(1700000000.25, "1700000000.25");
    check_number(9007199254740991.0, "9007199254740991");
    check_number(9007199254740992.0, "9007199254740992");
    check_number(9223372036854771712.0, "9223372036854771712");
    check_number(1e21, "1e+21");
    check_number(NAN, "NaN");
    check_number(INFINITY, "+Inf");
    check_number(-INFINITY, "-Inf");
}

static void touch(enum metric m, const char *const *labels)
{
    size_t count = metric_label_count(m);
    switch (metric_kind(m)) {
    case METRIC_COUNTER:
        metric_add(m, 1, labels, count);
        break;
    case METRIC_GAUGE:
        metric_set_value(m, 1, labels, count);
        break;
    case METRIC_HISTOGRAM:
        metric_observe_value(m, 1, labels, count);
        break;
    }
}

static void fill(enum metric m)
{
    for (int i = 0; i < 100; i++) {
        char text[16];
        snprintf(text, sizeof(text), "v%d", i);
        const char *const labels[METRIC_LABELS_MAX] = { text, text, text, text };
        touch(m, labels);
    }
}

/* Every family gets more label values than it has room for. */
static void test_the_page_is_never_longer_than_promised(void **state)
{
    (void)state;
    assert_true(metrics_lines_max() <= METRICS_LINES_MAX);
    for (int m = 0; m < METRIC_COUNT; m++)
        fill((enum metric)m);
    assert_int_equal(samples(), metrics_lines_max());
}

static void test_the_form_is_negotiated(void **state)
{
    (void)state;
    static const char prometheus[] =
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
        "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    assert_int_equal(metrics_negotiate(NULL, 0), METRICS_TEXT);
    assert_int_equal(metrics_negotiate("*/*", 3), METRICS_TEXT);
    assert_int_equal(metrics_negotiate(prometheus, strlen(prometheus)), METRICS_OPENMETRICS);
    static const struct {
        const char *accept;
        enum metrics_format format;
    } cases[] = {
        { "", METRICS_TEXT },
        { ",;,q=,", METRICS_TEXT },
        { "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.4", METRICS_TEXT },
        { "text/plain;q=0.4, application/openmetrics-text;version=1.0.0;q=0.5",
          METRICS_OPENMETRICS },
        { "application/openmetrics-text;q=0", METRICS_TEXT },
        { "application/openmetrics-text ; Q=0.000", METRICS_TEXT },
        { "application/openmetrics-text;q=nonsense", METRICS_TEXT },
        { "application/openmetrics-text;q=", METRICS_OPENMETRICS },
        { "text/plain, application/openmetrics-text", METRICS_OPENMETRICS },
        { "Application/OpenMetrics-Text", METRICS_OPENMETRICS },
        { "text/html;application/openmetrics-text", METRICS_TEXT },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t len = strlen(cases[i].accept);
        char *accept = malloc(len + 1); /* without its NUL a read beyond its end is seen */
        char *end = memcpy(accept + 1, cases[i].accept, len);
        assert_int_equal(metrics_negotiate(end, len), cases[i].format);
        free(accept);
    }
    assert_string_equal(metrics_content_type(METRICS_TEXT),
                        "text/plain; version=0.0.4; charset=utf-8");
    assert_string_equal(metrics_content_type(METRICS_OPENMETRICS),
                        "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

/* The value of a series without labels. */
static double value_of(const char *name)
{
    char *text = page(METRICS_TEXT);
    char line[128];
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = strstr(text, line);
    double value = at != NULL ? strtod(at + strlen(line), NULL) : -1;
    free(text);
    return value;
}

static void test_our_process_is_measured(void **state)
{
    (void)state;
    metrics_collect_process(getpid());
    double fds = value_of("process_open_fds");
    assert_true(value_of("process_resident_memory_bytes") > 1e6);
    assert_true(value_of("process_cpu_seconds_total") >= 0);
    assert_true(value_of("process_start_time_seconds") > 1.6e9);
    assert_true(value_of("codex_worker_resident_memory_bytes") > 1e6);
    int fd = dup(0);
    metrics_collect_process(0);
    close(fd);
    assert_true(value_of("process_open_fds") == fds + 1);
    assert_true(value_of("codex_worker_resident_memory_bytes") == -1);
}

static void test_a_worker_that_is_gone_has_no_numbers(void **state)
{
    (void)state;
    metrics_collect_process(getpid());
    metrics_collect_process(0x7ffffff0);
    assert_true(value_of("codex_worker_cpu_seconds_total") == -1);
}

#define METRICS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        METRICS_TEST(test_nothing_is_shown_of_what_never_was),
        METRICS_TEST(test_what_has_no_labels_is_zero_from_the_start),
        METRICS_TEST(test_a_counter_in_both_forms),
        METRICS_TEST(test_a_gauge_is_what_it_was_set_to_last),
        METRICS_TEST(test_a_histogram_counts_up_to_its_bounds),
        METRICS_TEST(test_the_twin_in_seconds_says_the_same),
        METRICS_TEST(test_a_label_is_escaped),
        METRICS_TEST(test_what_has_no_place_goes_to_other),
        METRICS_TEST(test_guests_leave_places_for_who_has_a_key),
        METRICS_TEST(test_other_itself_takes_no_place),
        METRICS_TEST(test_tokens_without_a_place_keep_their_type),
        METRICS_TEST(test_the_versions_are_named),
        METRICS_TEST(test_numbers_as_the_formats_want_them),
        METRICS_TEST(test_the_page_is_never_longer_than_promised),
        METRICS_TEST(test_the_form_is_negotiated),
        METRICS_TEST(test_our_process_is_measured),
        METRICS_TEST(test_a_worker_that_is_gone_has_no_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

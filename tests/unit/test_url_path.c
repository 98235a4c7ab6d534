/* The path of a request: segments of dots are found in whatever way they are written, and nothing that h2o would resolve passes. */
#include "buf.h"
#include "unit.h"
#include "url_path.h"

#include <h2o.h>

static void test_segments_of_dots_are_found_however_they_are_written(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "/..",          "/.",
        "/v1/../x",     "/v1/./x",
        "/v1/..",       "/v1/.",
        "..",           "../x",
        "/v1/%2e%2e/x", "/v1/.%2E/x",
        "/v1/%2e?x=1",  "/v1/models/..%2f..%2fmetrics",
        "/v1%2F..%2Fx", "/v1/models/x%2f%2e%2e",
        "//../x",       "http://x/v1/../metrics",
        "/%2e%2f",
    };
    static const char *const good[] = {
        "",
        "/",
        "/v1/models",
        "/v1/models/org%2Fname",
        "/...",
        "/.x",
        "/x.",
        "/..x/x..",
        "/a.b/c..d",
        "/v1/x?a=/../b",
        "/v1/%252e%252e/x",
        "/..%3f",
        "/%2",
        "/%2e%2e%2e/x",
        "*",
        "/..%",
        "/..%00",
        "/v1/gpt-5.4/..%",
        "host:443",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        if (!url_path_has_dots(bad[i], strlen(bad[i])))
            fail_msg("%s passes", bad[i]);
    for (size_t i = 0; i < COUNT_OF(good); i++)
        if (url_path_has_dots(good[i], strlen(good[i])))
            fail_msg("%s does not pass", good[i]);
}

/* What is left of a path when it is decoded, and nothing more. */
static void decode(const char *path, struct buf *ret)
{
    static const char hex[] = "0123456789abcdef0123456789ABCDEF";
    buf_clear(ret);
    if (path[0] != '/')
        buf_putc(ret, '/');
    for (; *path != '\0' && *path != '?'; path++) {
        const char *high = path[0] == '%' && path[1] != '\0' ? strchr(hex, path[1]) : NULL;
        const char *low = high != NULL && path[2] != '\0' ? strchr(hex, path[2]) : NULL;
        char byte = *path;
        if (low != NULL) {
            byte = (char)((high - hex) % 16 * 16 + (low - hex) % 16);
            path += 2;
        }
        buf_putc(ret, byte);
    }
}

static void test_what_passes_is_the_same_path_for_h2o(void **state)
{
    (void)state;
    static const char *const pieces[] = { "/", ".", "%2e", "%2F", "%", "2", "a", "?" };
    enum { PIECES = 6 };
    struct buf text = BUF_INIT;
    struct buf plain = BUF_INIT;
    size_t passed = 0;
    for (size_t n = 0; n < (size_t)1 << (3 * PIECES); n++) {
        h2o_mem_pool_t pool;
        size_t query = 0;
        size_t *indexes = NULL;
        buf_clear(&text);
        for (size_t i = 0; i < PIECES; i++)
            buf_puts(&text, pieces[n >> (3 * i) & 7]);
        if (url_path_has_dots(text.data, text.len))
            continue;
        passed++;
        h2o_mem_init_pool(&pool);
        h2o_iovec_t got = h2o_url_normalize_path(&pool, text.data, text.len, &query, &indexes);
        decode(buf_str(&text), &plain);
        if (got.len != plain.len || memcmp(got.base, plain.data, plain.len) != 0)
            fail_msg("%s is %.*s for h2o", buf_str(&text), (int)got.len, got.base);
        h2o_mem_clear_pool(&pool);
    }
    assert_true(passed > 1000);
    buf_free(&text);
    buf_free(&plain);
}

static void test_what_is_of_the_api_is_below_v1(void **state)
{
    (void)state;
    assert_true(url_path_is_of_api(LITERAL("/v1/")));
    assert_true(url_path_is_of_api(LITERAL("/v1/models")));
    assert_false(url_path_is_of_api(LITERAL("/v1")));
    assert_false(url_path_is_of_api(LITERAL("/v1x/")));
    assert_false(url_path_is_of_api(LITERAL("")));
    assert_false(url_path_is_of_api(LITERAL("/metrics")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments_of_dots_are_found_however_they_are_written),
        cmocka_unit_test(test_what_passes_is_the_same_path_for_h2o),
        cmocka_unit_test(test_what_is_of_the_api_is_below_v1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

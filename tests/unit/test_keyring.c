/* Keys: only they themselves open, under their names; their file is made, read whole or refused with its line; a reload is all or
 * nothing and forgives no used request. */
#include "access_key.h"
#include "clock.h"
#include "folder.h"
#include "keyring.h"
#include "unit.h"

#include <fcntl.h>

#define SALT "salt 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"
#define HASH "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* A file with keys whose text is their name, 8 times over. Rates are 1 a minute where a test counts: it gains nothing while
 * the test runs. */
struct bench {
    char *path;
    struct key_file file;
};

static void key_text(const char *name, char ret[8 * KEY_NAME_MAX + 1])
{
    size_t len = strlen(name);
    for (size_t i = 0; i < 8; i++)
        memcpy(ret + i * len, name, len + 1);
}

static void put_key(struct bench *b, const char *name, int64_t rpm, int64_t burst)
{
    char text[8 * KEY_NAME_MAX + 1];
    struct key_entry entry = { .rpm = rpm, .burst = burst };
    key_text(name, text);
    snprintf(entry.name, sizeof(entry.name), "%s", name);
    key_hash(b->file.salt, text, strlen(text), entry.hash);
    key_file_add(&b->file, &entry);
}

static void drop_key(struct bench *b, const char *name)
{
    int at = key_file_find(&b->file, name);
    assert_true(at >= 0);
    key_file_remove(&b->file, (size_t)at);
}

static void save(struct bench *b)
{
    char *why = NULL;
    assert_true(key_file_save(b->path, &b->file, &why));
    assert_null(why);
}

static struct bench bench_new(const struct folder *f)
{
    struct bench b = { .path = folder_path(f, "keys") };
    char *why = NULL;
    assert_true(key_file_load(b.path, &b.file, &why));
    assert_int_equal(b.file.count, 0);
    return b;
}

static void bench_free(struct bench *b)
{
    key_file_free(&b->file);
    free(b->path);
}

static const struct keyring_texts none = { NULL, NULL };
static const struct keyring_texts ours = { "the-key-of-the-settings", "the-key-of-the-operator" };

static struct keyring *load_with(const struct bench *b, const struct keyring_texts *texts)
{
    char *why = NULL;
    struct keyring *ring = keyring_load(b->path, 0, 0, texts, &why);
    assert_non_null(ring);
    assert_null(why);
    return ring;
}

static struct keyring *load(const struct bench *b)
{
    return load_with(b, &none);
}

static void reload(struct keyring *ring, const struct keyring_texts *texts)
{
    char *why = NULL;
    assert_true(keyring_reload(ring, texts, &why));
    assert_null(why);
}

static const char *find(const struct keyring *ring, const char *name)
{
    char text[8 * KEY_NAME_MAX + 1];
    key_text(name, text);
    return keyring_find(ring, text, strlen(text));
}

static struct rate_state take(struct keyring *ring, const char *name)
{
    struct rate_state s;
    keyring_take(ring, name, clock_mono_ms(), &s);
    return s;
}

/* ---- who may come in ---- */

static void test_only_the_key_itself_opens(void **state)
{
    static const char text[] = "sk-codex-api-0123456789";
    struct bench b = bench_new(*state);
    struct keyring *ring = load(&b);
    const struct keyring_texts texts = { text, NULL };
    assert_null(keyring_find(ring, LITERAL(text)));
    reload(ring, &texts);
    assert_string_equal(keyring_find(ring, LITERAL(text)), "default");
    for (size_t len = 0; len < sizeof(text) - 1; len++)
        assert_null(keyring_find(ring, text, len));
    for (size_t i = 0; i < sizeof(text) - 1; i++) {
        char other[sizeof(text)];
        memcpy(other, text, sizeof(other));
        other[i] ^= 0x20;
        assert_null(keyring_find(ring, other, sizeof(other) - 1));
    }
    assert_null(keyring_find(ring, LITERAL("sk-codex-api-0123456789\0")));
    assert_null(keyring_find(ring, LITERAL("sk-codex-api-0123456789 ")));
    assert_null(keyring_find(ring, "", 0));
    keyring_free(ring);
    keyring_free(NULL);
    bench_free(&b);
}

static void test_the_longest_key_opens_and_more_is_not_even_hashed(void **state)
{
    char text[ACCESS_KEY_MAX + 2];
    struct bench b = bench_new(*state);
    const struct keyring_texts texts = { text, NULL };
    memset(text, 'k', sizeof(text));
    text[ACCESS_KEY_MAX] = '\0';
    struct keyring *ring = load_with(&b, &texts);
    assert_non_null(keyring_find(ring, text, ACCESS_KEY_MAX));
    text[ACCESS_KEY_MAX] = 'k';
    assert_null(keyring_find(ring, text, ACCESS_KEY_MAX + 1));
    keyring_free(ring);
    bench_free(&b);
}

static void test_each_key_opens_under_its_own_name(void **state)
{
    static const char *const names[] = { "a", "team-b", "c_3", "abcdefghijklmnopqrstuvwxyz012345" };
    struct bench b = bench_new(*state);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        put_key(&b, names[i], -1, -1);
    save(&b);
    struct keyring *ring = load_with(&b, &ours);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        assert_string_equal(find(ring, names[i]), names[i]);
    assert_string_equal(keyring_find(ring, LITERAL("the-key-of-the-settings")), "default");
    assert_null(find(ring, "other"));
    assert_int_equal(keyring_count(ring), 1 + COUNT_OF(names));
    keyring_free(ring);
    bench_free(&b);
}

static void test_a_name_is_short_and_plain_and_not_the_one_that_is_taken(void **state)
{
    (void)state;
    static const char *const good[] = { "a", "0",       "-",
                                        "_", "a-b_c-9", "abcdefghijklmnopqrstuvwxyz012345" };
    static const char *const bad[] = { "",
                                       "A",
                                       "a b",
                                       "a.b",
                                       "a/b",
                                       "\xC3\xA4",
                                       "a\n",
                                       "a=b",
                                       "key:",
                                       "default",
                                       "abcdefghijklmnopqrstuvwxyz0123456" };
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_true(key_name_ok(good[i]));
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        assert_false(key_name_ok(bad[i]));
}

/* ---- the file ---- */

static void test_a_missing_file_has_no_keys_and_each_time_another_salt(void **state)
{
    struct bench b = bench_new(*state);
    struct bench again = bench_new(*state);
    assert_memory_not_equal(b.file.salt, again.file.salt, sizeof(b.file.salt));
    struct keyring *ring = load(&b);
    assert_int_equal(keyring_count(ring), 0);
    keyring_free(ring);
    bench_free(&b);
    bench_free(&again);
}

static void test_what_is_saved_is_what_is_loaded(void **state)
{
    struct bench b = bench_new(*state);
    struct key_file back;
    char *why = NULL;
    put_key(&b, "plain", -1, -1);
    put_key(&b, "fast", 600, 10);
    put_key(&b, "free", 0, -1);
    mode_t mask = umask(0);
    save(&b);
    umask(mask);
    struct stat st;
    assert_int_equal(stat(b.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(key_file_load(b.path, &back, &why));
    assert_memory_equal(back.salt, b.file.salt, sizeof(back.salt));
    assert_int_equal(back.count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(back.entries[i].name, b.file.entries[i].name);
        assert_memory_equal(back.entries[i].hash, b.file.entries[i].hash,
                            sizeof(back.entries[i].hash));
        assert_int_equal(back.entries[i].rpm, b.file.entries[i].rpm);
        assert_int_equal(back.entries[i].burst, b.file.entries[i].burst);
    }
    key_file_free(&back);
    key_file_free(&back);
    bench_free(&b);
}

static void test_the_file_never_holds_a_key(void **state)
{
    struct bench b = bench_new(*state);
    put_key(&b, "secret", -1, -1);
    save(&b);
    FILE *file = fopen(b.path, "re");
    char text[4096];
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    assert_null(strstr(text, "secretsecret"));
    bench_free(&b);
}

static void test_as_many_keys_as_fit_are_saved_and_loaded(void **state)
{
    struct bench b = bench_new(*state);
    struct key_file back;
    char *why = NULL;
    for (int i = 0; i < KEY_FILE_KEYS_MAX; i++) {
        char name[KEY_NAME_MAX + 1];
        snprintf(name, sizeof(name), "%032d", i);
        put_key(&b, name, RATE_RPM_MAX, RATE_RPM_MAX);
    }
    save(&b);
    assert_true(key_file_load(b.path, &back, &why));
    assert_int_equal(back.count, KEY_FILE_KEYS_MAX);
    key_file_free(&back);
    FILE *file = fopen(b.path, "ae");
    fputs("key one-more " HASH "\n", file);
    fclose(file);
    assert_false(key_file_load(b.path, &back, &why));
    assert_non_null(strstr(why, "too many keys"));
    free(why);
    bench_free(&b);
}

static void test_good_files_in_all_their_forms(void **state)
{
    static const char *const texts[] = {
        SALT,
        "# comment\n\n" SALT "\t\nkey a " HASH "\n",
        SALT "key a " HASH,
        SALT "key a " HASH "\r\n",
        SALT "  key\ta   " HASH " burst=1 rpm=0\n",
        SALT "key a " HASH " rpm=1000000\nkey b " HASH " burst=0\n",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct key_file file;
        char *path = folder_path(*state, "keys");
        char *why = NULL;
        folder_put(*state, "keys", texts[i], strlen(texts[i]));
        assert_int_equal(chmod(path, 0600), 0);
        assert_true(key_file_load(path, &file, &why));
        key_file_free(&file);
        free(path);
    }
}

static void test_a_wrong_file_is_refused_whole_with_the_line(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *why;
    } cases[] = {
        { LITERAL(""), "has no salt" },
        { LITERAL("# nothing\n"), "has no salt" },
        { LITERAL("key a " HASH "\n"), "line 1: the salt comes first" },
        { LITERAL(SALT SALT), "line 2: neither" },
        { LITERAL("salt 00\n"), "line 1: neither" },
        { LITERAL(SALT "\nkey\n"), "line 3: a key is" },
        { LITERAL(SALT "key a\n"), "line 2: a key is" },
        { LITERAL(SALT "key a " HASH "00\n"), "line 2: a key is" },
        { LITERAL(SALT "key a x" HASH "\n"), "line 2: a key is" },
        { LITERAL(SALT "key A " HASH "\n"), "line 2: that is no name" },
        { LITERAL(SALT "key default " HASH "\n"), "line 2: that is no name" },
        { LITERAL(SALT "key a " HASH "\nkey a " HASH "\n"), "line 3: the name is there twice" },
        { LITERAL(SALT "key a " HASH " rpm\n"), "line 2: after the hash" },
        { LITERAL(SALT "key a " HASH " rpm=\n"), "line 2: after the hash" },
        { LITERAL(SALT "key a " HASH " rpm=-1\n"), "line 2: after the hash" },
        { LITERAL(SALT "key a " HASH " rpm=1000001\n"), "line 2: after the hash" },
        { LITERAL(SALT "key a " HASH " rpm=1 rpm=1\n"), "line 2: after the hash" },
        { LITERAL(SALT "key a " HASH " rpm=99999999999999999999\n"), "line 2: after the hash" },
        { LITERAL(SALT "key a " HASH " rpm=1 burst=1 x\n"), "line 2: too many words" },
        { LITERAL(SALT "keys a " HASH "\n"), "line 2: neither" },
        { LITERAL(SALT "key a " HASH "\n\0key b\n"), "is not text" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct key_file file;
        char *path = folder_path(*state, "keys");
        char *why = NULL;
        folder_put(*state, "keys", cases[i].text, cases[i].len);
        assert_int_equal(chmod(path, 0600), 0);
        assert_false(key_file_load(path, &file, &why));
        assert_non_null(strstr(why, path));
        if (strstr(why, cases[i].why) == NULL)
            fail_msg("case %zu: %s", i, why);
        assert_null(strstr(why, HASH));
        free(why);
        free(path);
    }
}

static void test_a_file_that_others_may_write_to_is_refused(void **state)
{
    struct bench b = bench_new(*state);
    struct key_file file;
    char *why = NULL;
    save(&b);
    assert_int_equal(chmod(b.path, 0620), 0);
    assert_false(key_file_load(b.path, &file, &why));
    assert_non_null(strstr(why, "chmod 600"));
    free(why);
    assert_int_equal(chmod(b.path, 0444), 0);
    assert_true(key_file_load(b.path, &file, &why));
    key_file_free(&file);
    bench_free(&b);
}

static void test_what_cannot_be_read_or_written_is_named(void **state)
{
    const struct folder *f = *state;
    struct key_file file = { .entries = NULL };
    char *why = NULL;
    char *nowhere = folder_path(f, "none/keys");
    assert_false(key_file_load(f->path, &file, &why));
    assert_non_null(strstr(why, f->path));
    free(why);
    why = NULL;
    assert_false(key_file_save(nowhere, &file, &why));
    assert_non_null(strstr(why, nowhere));
    free(why);
    why = NULL;
    assert_int_equal(key_file_lock(nowhere, &why), -1);
    assert_non_null(strstr(why, nowhere));
    free(why);
    free(nowhere);
}

static void test_a_lock_goes_with_its_owner(void **state)
{
    char *path = folder_path(*state, "keys");
    char *why = NULL;
    for (int i = 0; i < 2; i++) {
        int lock = key_file_lock(path, &why);
        assert_true(lock >= 0);
        key_file_unlock(lock);
    }
    key_file_unlock(-1);
    free(path);
}

/* ---- limits and reload ---- */

static void test_a_key_has_its_own_limit_or_that_of_the_settings(void **state)
{
    struct bench b = bench_new(*state);
    put_key(&b, "plain", -1, -1);
    put_key(&b, "own", 7, -1);
    put_key(&b, "both", 7, 2);
    put_key(&b, "burst", -1, 3);
    put_key(&b, "free", 0, -1);
    save(&b);
    struct keyring *ring = load_with(&b, &ours);
    assert_false(take(ring, "plain").limited);
    assert_false(take(ring, "burst").limited);
    keyring_set_limits(ring, 60, 5);
    assert_int_equal(take(ring, "default").limit, 5);
    assert_int_equal(take(ring, "plain").limit, 5);
    assert_int_equal(take(ring, "own").limit, 7);
    assert_int_equal(take(ring, "both").limit, 2);
    assert_int_equal(take(ring, "burst").limit, 3);
    assert_false(take(ring, "free").limited);
    assert_false(take(ring, "nobody").limited);
    keyring_free(ring);
    bench_free(&b);
}

static void test_each_key_has_a_bucket_of_its_own(void **state)
{
    struct bench b = bench_new(*state);
    put_key(&b, "a", 1, 2);
    put_key(&b, "b", 1, 2);
    save(&b);
    struct keyring *ring = load(&b);
    assert_true(take(ring, "a").allowed);
    assert_true(take(ring, "a").allowed);
    assert_false(take(ring, "a").allowed);
    assert_true(take(ring, "b").allowed);
    keyring_free(ring);
    bench_free(&b);
}

static void test_a_reload_takes_new_keys_and_drops_old_ones(void **state)
{
    struct bench b = bench_new(*state);
    put_key(&b, "old", -1, -1);
    put_key(&b, "stays", -1, -1);
    save(&b);
    struct keyring *ring = load_with(&b, &ours);
    drop_key(&b, "old");
    put_key(&b, "new", -1, -1);
    save(&b);
    assert_null(find(ring, "new"));
    assert_non_null(find(ring, "old"));
    reload(ring, &ours);
    assert_non_null(find(ring, "new"));
    assert_non_null(find(ring, "stays"));
    assert_null(find(ring, "old"));
    assert_non_null(keyring_find(ring, LITERAL("the-key-of-the-settings")));
    assert_int_equal(unlink(b.path), 0);
    reload(ring, &ours);
    assert_int_equal(keyring_count(ring), 1);
    keyring_free(ring);
    bench_free(&b);
}

static void test_a_name_that_stays_has_used_what_it_has_used(void **state)
{
    struct bench b = bench_new(*state);
    put_key(&b, "a", 1, 2);
    put_key(&b, "gone", 1, 1);
    save(&b);
    struct keyring *ring = load(&b);
    (void)take(ring, "a");
    (void)take(ring, "a");
    (void)take(ring, "gone");
    drop_key(&b, "gone");
    save(&b);
    reload(ring, &none);
    assert_false(take(ring, "a").allowed);
    drop_key(&b, "a");
    put_key(&b, "a", 1, 4);
    put_key(&b, "gone", 1, 1);
    save(&b);
    reload(ring, &none);
    assert_true(take(ring, "a").allowed); /* two more than before */
    assert_int_equal(take(ring, "a").limit, 4);
    assert_false(take(ring, "a").allowed);
    assert_true(take(ring, "gone").allowed);
    keyring_free(ring);
    bench_free(&b);
}

static void test_a_reload_that_fails_changes_nothing(void **state)
{
    struct bench b = bench_new(*state);
    char *why = NULL;
    put_key(&b, "a", 1, 1);
    save(&b);
    struct keyring *ring = load(&b);
    assert_true(take(ring, "a").allowed);
    folder_put(*state, "keys", LITERAL("salt of the sea\n"));
    assert_int_equal(chmod(b.path, 0600), 0);
    assert_false(keyring_reload(ring, &none, &why));
    assert_non_null(strstr(why, "PROXY_KEYS_FILE"));
    assert_non_null(strstr(why, "line 1"));
    free(why);
    assert_string_equal(find(ring, "a"), "a");
    assert_false(take(ring, "a").allowed);
    why = NULL;
    assert_null(keyring_load(b.path, 0, 0, &none, &why));
    assert_non_null(why);
    free(why);
    keyring_free(ring);
    bench_free(&b);
}

/* ---- the key of administrators ---- */

static bool is_admin(const struct keyring *ring, const char *text)
{
    return keyring_is_admin(ring, text, strlen(text));
}

static void test_the_key_of_administrators_is_none_of_a_client(void **state)
{
    struct bench b = bench_new(*state);
    struct keyring *ring = load_with(&b, &ours);
    assert_true(is_admin(ring, ours.admin));
    assert_false(is_admin(ring, ours.client));
    assert_null(keyring_find(ring, ours.admin, strlen(ours.admin)));
    assert_int_equal(keyring_count(ring), 1);
    reload(ring, &none);
    assert_false(is_admin(ring, ours.admin));
    keyring_free(ring);
    bench_free(&b);
}

static void assert_no_admin(const struct bench *b, const char *client, const char *admin,
                            const char *name)
{
    const struct keyring_texts texts = { client, admin };
    struct keyring *ring = load_with(b, &ours);
    char *whys[2] = { NULL, NULL };
    assert_false(keyring_reload(ring, &texts, &whys[0]));
    assert_true(is_admin(ring, ours.admin)); /* all is as it was */
    assert_non_null(keyring_find(ring, ours.client, strlen(ours.client)));
    assert_null(keyring_load(b->path, 0, 0, &texts, &whys[1]));
    for (size_t i = 0; i < 2; i++) {
        assert_non_null(strstr(whys[i], "PROXY_ADMIN_KEY"));
        assert_non_null(strstr(whys[i], name));
        assert_null(strstr(whys[i], admin));
        free(whys[i]);
    }
    keyring_free(ring);
}

static void test_a_key_of_administrators_that_a_client_has_is_refused(void **state)
{
    char text[8 * KEY_NAME_MAX + 1];
    struct bench b = bench_new(*state);
    put_key(&b, "team-a", -1, -1);
    put_key(&b, "team-b", -1, -1);
    save(&b);
    key_text("team-b", text);
    assert_no_admin(&b, ours.client, text, "team-b");
    assert_no_admin(&b, "the-same-for-both", "the-same-for-both", "default");
    assert_no_admin(&b, NULL, text, "team-b");
    bench_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FOLDER_TEST(test_only_the_key_itself_opens),
        FOLDER_TEST(test_the_longest_key_opens_and_more_is_not_even_hashed),
        FOLDER_TEST(test_each_key_opens_under_its_own_name),
        cmocka_unit_test(test_a_name_is_short_and_plain_and_not_the_one_that_is_taken),
        FOLDER_TEST(test_a_missing_file_has_no_keys_and_each_time_another_salt),
        FOLDER_TEST(test_what_is_saved_is_what_is_loaded),
        FOLDER_TEST(test_the_file_never_holds_a_key),
        FOLDER_TEST(test_as_many_keys_as_fit_are_saved_and_loaded),
        FOLDER_TEST(test_good_files_in_all_their_forms),
        FOLDER_TEST(test_a_wrong_file_is_refused_whole_with_the_line),
        FOLDER_TEST(test_a_file_that_others_may_write_to_is_refused),
        FOLDER_TEST(test_what_cannot_be_read_or_written_is_named),
        FOLDER_TEST(test_a_lock_goes_with_its_owner),
        FOLDER_TEST(test_a_key_has_its_own_limit_or_that_of_the_settings),
        FOLDER_TEST(test_each_key_has_a_bucket_of_its_own),
        FOLDER_TEST(test_a_reload_takes_new_keys_and_drops_old_ones),
        FOLDER_TEST(test_the_key_of_administrators_is_none_of_a_client),
        FOLDER_TEST(test_a_key_of_administrators_that_a_client_has_is_refused),
        FOLDER_TEST(test_a_name_that_stays_has_used_what_it_has_used),
        FOLDER_TEST(test_a_reload_that_fails_changes_nothing),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

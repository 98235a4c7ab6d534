/* The age of files, the room that is left, and the memory that is in use. */
#include "disk.h"
#include "file_check.h"
#include "folder.h"
#include "loop.h"
#include "memory_use.h"

#include <fcntl.h>
#include <sys/statvfs.h>

static bool boundless; /* the file system, as one on a network may say of itself */

/* In the place of that of the C library. */
int statvfs(const char *restrict path, struct statvfs *restrict ret)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return -1;
    *ret = (struct statvfs){ .f_frsize = 1U << 24, .f_bavail = boundless ? UINT64_MAX : 3 };
    return 0;
}

struct answer {
    bool told;
    char why[32];
    int64_t age_s;
    struct room room;
};

static void on_age(void *ctx, const char *why, int64_t age_s)
{
    struct answer *a = ctx;
    *a = (struct answer){ .told = true, .age_s = age_s };
    snprintf(a->why, sizeof(a->why), "%s", why != NULL ? why : "");
}

static void on_room(void *ctx, const struct room *room)
{
    *(struct answer *)ctx = (struct answer){ .told = true, .room = *room };
}

struct place {
    struct loop loop;
    struct folder folder;
    struct disk *disk;
};

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof(*p));
    loop_begin(&p->loop);
    folder_make(&p->folder);
    p->disk = disk_new(&p->loop.uv);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    disk_free(p->disk);
    folder_remove(&p->folder);
    loop_end(&p->loop);
    free(p);
    return 0;
}

static struct answer age_of(struct place *p, const char *name)
{
    struct answer a = { .told = false };
    char *path = folder_path(&p->folder, name);
    assert_true(file_age_ask(p->disk, path, on_age, &a));
    free(path);
    loop_until_true(&p->loop, &a.told);
    return a;
}

static void set_time(struct place *p, const char *name, time_t at_s)
{
    char *path = folder_path(&p->folder, name);
    const struct timespec at = { .tv_sec = at_s };
    const struct timespec times[2] = { at, at };
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    free(path);
}

static void set_age(struct place *p, const char *name, time_t age_s)
{
    set_time(p, name, time(NULL) - age_s);
}

static void test_the_age_of_a_file_is_told(void **state)
{
    struct place *p = *state;
    folder_put(&p->folder, "stamp", LITERAL("x"));
    assert_in_range(age_of(p, "stamp").age_s, 0, 60);
    set_age(p, "stamp", 1000);
    assert_in_range(age_of(p, "stamp").age_s, 1000, 1060);
    set_age(p, "stamp", -1000);
    assert_int_equal(age_of(p, "stamp").age_s, 0);
    assert_in_range(age_of(p, ".").age_s, 0, 60); /* a folder has one, too */
}

/* Some file systems keep any time at all. */
static void test_a_time_beyond_all_others_is_an_age_too(void **state)
{
    struct place *p = *state;
    folder_put(&p->folder, "stamp", LITERAL("x"));
    set_time(p, "stamp", INT64_MAX);
    assert_int_equal(age_of(p, "stamp").age_s, 0);
    set_time(p, "stamp", INT64_MIN);
    assert_true(age_of(p, "stamp").age_s > 0);
}

static void test_a_file_that_is_missing_has_no_age(void **state)
{
    struct place *p = *state;
    folder_put(&p->folder, "stamp", LITERAL("x"));
    assert_string_equal(age_of(p, "nothing").why, "missing");
    assert_string_equal(age_of(p, "stamp/below").why, "missing");
}

static void test_the_room_of_a_folder_is_told(void **state)
{
    struct place *p = *state;
    struct answer a = { .told = false };
    assert_true(room_ask(p->disk, p->folder.path, on_room, &a));
    loop_until_true(&p->loop, &a.told);
    assert_true(a.room.disk_known);
    assert_int_equal(a.room.disk_free_bytes, 3 << 24);
    assert_true(a.room.memory_known);
    assert_in_range(a.room.memory_percent, 0, 100);
    a.told = false;
    boundless = true;
    assert_true(room_ask(p->disk, p->folder.path, on_room, &a));
    loop_until_true(&p->loop, &a.told);
    boundless = false;
    assert_true(a.room.disk_free_bytes == INT64_MAX);
    a.told = false;
    assert_true(room_ask(p->disk, "/nowhere/at/all", on_room, &a));
    loop_until_true(&p->loop, &a.told);
    assert_false(a.room.disk_known);
}

static void on_idle(void *ctx)
{
    *(bool *)ctx = true;
}

static void test_a_disk_that_takes_nothing_is_not_waited_for(void **state)
{
    struct place *p = *state;
    struct answer a = { .told = false };
    bool idle = false;
    disk_stop(p->disk, on_idle, &idle);
    assert_true(idle);
    assert_false(file_age_ask(p->disk, "/", on_age, &a));
    assert_false(room_ask(p->disk, "/", on_room, &a));
    loop_turn(&p->loop);
    assert_false(a.told);
}

/* ---- memory ---- */

static void put(struct place *p, const char *name, const char *text)
{
    char *path = folder_path(&p->folder, name);
    for (char *slash = path + strlen(p->folder.path) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    free(path);
    folder_put(&p->folder, name, text, strlen(text));
}

static int64_t limit_of(struct place *p)
{
    int64_t limit = -1;
    return memory_limit_read(p->folder.path, &limit) ? limit : -1;
}

static struct memory_use use_of(struct place *p)
{
    struct memory_use use = { .used_bytes = -1 };
    assert_true(memory_use_read(p->folder.path, &use));
    return use;
}

static void test_memory_is_that_of_the_cgroup_nearest_to_its_limit(void **state)
{
    struct place *p = *state;
    put(p, "proc/self/cgroup", "0::/a/b\n");
    put(p, "proc/meminfo", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable:   250 kB\n");
    assert_false(use_of(p).of_cgroup);
    assert_int_equal(limit_of(p), -1);
    assert_int_equal(use_of(p).limit_bytes, 1000 * 1024);
    assert_int_equal(use_of(p).used_bytes, 750 * 1024);
    put(p, "sys/fs/cgroup/a/b/memory.max", "max\n");
    put(p, "sys/fs/cgroup/a/b/memory.current", "50\n");
    assert_false(use_of(p).of_cgroup);
    put(p, "sys/fs/cgroup/a/memory.max", "400\n");
    put(p, "sys/fs/cgroup/a/memory.current", "300\n");
    assert_true(use_of(p).of_cgroup);
    assert_int_equal(use_of(p).used_bytes, 300);
    assert_int_equal(use_of(p).limit_bytes, 400);
    put(p, "sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 200\n");
    assert_int_equal(use_of(p).used_bytes, 100);
    put(p, "sys/fs/cgroup/a/b/memory.max", "60\n");
    assert_int_equal(use_of(p).limit_bytes, 60);
    assert_int_equal(use_of(p).used_bytes, 50);
    assert_int_equal(limit_of(p), 60);
    put(p, "sys/fs/cgroup/a/b/memory.max", "max\n");
    assert_int_equal(limit_of(p), 400);
    put(p, "sys/fs/cgroup/memory.max", "70\n"); /* who uses it is not asked */
    assert_int_equal(limit_of(p), 70);
}

static void test_memory_of_a_namespace_is_that_of_its_root(void **state)
{
    struct place *p = *state;
    put(p, "proc/self/cgroup", "1:name=x:/y\n0::/\n");
    put(p, "sys/fs/cgroup/memory.max", "400\n");
    put(p, "sys/fs/cgroup/memory.current", "300\n");
    assert_int_equal(use_of(p).limit_bytes, 400);
}

static void test_memory_that_nobody_tells_is_not_known(void **state)
{
    struct place *p = *state;
    struct memory_use use;
    assert_false(memory_use_read(p->folder.path, &use));
    put(p, "proc/self/cgroup", "0::/a\n");
    put(p, "sys/fs/cgroup/a/memory.max", "0\n");
    put(p, "sys/fs/cgroup/a/memory.current", "x\n");
    put(p, "proc/meminfo", "MemTotal: x kB\n");
    assert_false(memory_use_read(p->folder.path, &use));
}

#define PLACE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLACE_TEST(test_the_age_of_a_file_is_told),
        PLACE_TEST(test_a_time_beyond_all_others_is_an_age_too),
        PLACE_TEST(test_a_file_that_is_missing_has_no_age),
        PLACE_TEST(test_the_room_of_a_folder_is_told),
        PLACE_TEST(test_a_disk_that_takes_nothing_is_not_waited_for),
        PLACE_TEST(test_memory_is_that_of_the_cgroup_nearest_to_its_limit),
        PLACE_TEST(test_memory_of_a_namespace_is_that_of_its_root),
        PLACE_TEST(test_memory_that_nobody_tells_is_not_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

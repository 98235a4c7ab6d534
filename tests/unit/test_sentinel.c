/* The sentinel: however its owner ends, the groups that it guards are gone soon after, and no other ones. */
#include "log.h"
#include "loop.h"
#include "sentinel.h"
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUARD_S 60
#define LOOK_MS 5
#define GRACE_MS 1000 /* before the sentinel kills */

/* A worker that ignores what can be ignored, with a child of the same kind. */
#define STUBBORN                                                                                   \
    "trap '' TERM HUP INT; (while :; do sleep 60; done) & echo; while :; do sleep 60; done"
/* One that ends with its input, soon after it. */
#define GOOD "echo; while read -r line; do :; done; sleep 0.2; exit 7"

/* What a guarder tells us. */
struct report {
    int sentinel;  /* pid */
    int groups[2]; /* pids of their leaders; 0: none */
};

/* ---- a process of its own that has a sentinel; it ends by our SIGKILL ---- */

struct guarder {
    struct loop loop;
    struct sentinel *sentinel;
    struct deadline look;
    int not_this; /* pid of a sentinel that is looked for no more */
    struct report report;
};

/* In a group of its own, its input a pipe from us. It has said a first byte when this returns. */
static int start_worker(const char *script)
{
    int input[2];
    int output[2];
    char first = '\0';
    assert_int_equal(pipe(input), 0);
    assert_int_equal(pipe(output), 0);
    int pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setpgid(0, 0);
        dup2(input[0], STDIN_FILENO);
        dup2(output[1], STDOUT_FILENO);
        for (int fd = STDERR_FILENO + 1; fd < 64; fd++)
            close(fd);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    setpgid(pid, pid);
    close(input[0]);
    close(output[1]);
    assert_int_equal(read(output[0], &first, 1), 1);
    return pid;
}

static bool is_named(int pid, const char *wanted)
{
    char path[64];
    char name[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    FILE *file = fopen(path, "re");
    bool read = file != NULL && fgets(name, sizeof(name), file) != NULL;
    if (file != NULL)
        fclose(file);
    name[strcspn(name, "\n")] = '\0';
    return read && strcmp(name, wanted) == 0;
}

/* Our child that is a sentinel by now; 0: none is. */
static int find_sentinel(int not_this)
{
    char path[64];
    int pid = 0;
    int found = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "re");
    while (file != NULL && fscanf(file, "%d", &pid) == 1)
        if (pid != not_this && is_named(pid, SENTINEL_NAME))
            found = pid;
    if (file != NULL)
        fclose(file);
    return found;
}

static void on_look(struct deadline *d)
{
    struct guarder *g = deadline_owner(d, struct guarder, look);
    g->report.sentinel = find_sentinel(g->not_this);
    if (g->report.sentinel == 0)
        deadline_set(g->loop.deadlines, &g->look, LOOK_MS, on_look);
}

static bool has_sentinel(const void *ctx)
{
    const struct guarder *g = ctx;
    return g->report.sentinel != 0;
}

/* Waits for a sentinel that is none of before, and reports. */
static void report(struct guarder *g, int out)
{
    g->not_this = g->report.sentinel;
    g->report.sentinel = 0;
    on_look(&g->look);
    loop_until(&g->loop, has_sentinel, g);
    assert_int_equal(write(out, &g->report, sizeof(g->report)), sizeof(g->report));
}

/* Never returns: guards the first worker; the second, if there is one, was guarded for a while. */
static void guard(const char *const scripts[2], int out)
{
    static struct guarder g;
    bool never = false;
    loop_begin(&g.loop);
    g.sentinel = sentinel_new(&g.loop.uv, g.loop.deadlines);
    for (int i = 0; i < 2 && scripts[i] != NULL; i++) {
        g.report.groups[i] = start_worker(scripts[i]);
        sentinel_guard(g.sentinel, g.report.groups[i]);
    }
    sentinel_release(g.sentinel, g.report.groups[1]);
    report(&g, out);
    report(&g, out); /* when that one is gone */
    loop_until_true(&g.loop, &never);
}

/* ---- our side ---- */

struct scene {
    int guarder; /* pid */
    int in;
    struct report report;
};

static void read_report(struct scene *s)
{
    assert_int_equal(read(s->in, &s->report, sizeof(s->report)), sizeof(s->report));
    assert_true(s->report.sentinel > 1);
    assert_true(s->report.groups[0] > 1);
}

static void begin(struct scene *s, const char *guarded, const char *released)
{
    const char *const scripts[2] = { guarded, released };
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    fflush(stdout);
    s->guarder = fork();
    assert_true(s->guarder >= 0);
    if (s->guarder == 0) {
        guard(scripts, pipes[1]);
        _exit(1);
    }
    close(pipes[1]);
    s->in = pipes[0];
    read_report(s);
}

/* The guarder's end, in the way that it cannot prepare for. */
static void kill_guarder(struct scene *s)
{
    int status = 0;
    assert_int_equal(kill(s->guarder, SIGKILL), 0);
    assert_int_equal(waitpid(s->guarder, &status, 0), s->guarder);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    close(s->in);
}

/* Orphans become our children: waits for that one, which has to end. */
static int wait_for(int pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool is_empty(int group)
{
    return kill(-group, 0) == -1 && errno == ESRCH;
}

/* Until no descendant is left. */
static void wait_for_all(void)
{
    while (wait(NULL) > 0)
        ;
    assert_int_equal(errno, ECHILD);
}

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct scene));
    alarm(GUARD_S); /* ends a test that hangs */
    return 0;
}

static int teardown(void **state)
{
    alarm(0);
    free(*state);
    return 0;
}

static void test_a_guarded_group_that_ignores_everything_is_killed_with_its_children(void **state)
{
    struct scene *s = *state;
    begin(s, STUBBORN, NULL);
    assert_int_equal(kill(-s->report.groups[0], SIGTERM), 0);
    kill_guarder(s);
    int status = wait_for(s->report.groups[0]);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
    wait_for_all();
    assert_true(is_empty(s->report.groups[0]));
}

static void test_a_worker_that_ends_with_its_input_may_do_so(void **state)
{
    struct scene *s = *state;
    begin(s, GOOD, NULL);
    uint64_t begun_ns = uv_hrtime();
    kill_guarder(s);
    int status = wait_for(s->report.groups[0]);
    if (WIFSIGNALED(status)) /* on a machine that gave it no turn until then */
        assert_true(uv_hrtime() - begun_ns >= (uint64_t)GRACE_MS * 1000000);
    else
        assert_int_equal(WEXITSTATUS(status), 7);
    wait_for_all();
}

static void test_a_group_that_was_released_is_spared(void **state)
{
    struct scene *s = *state;
    begin(s, STUBBORN, STUBBORN);
    kill_guarder(s);
    assert_int_equal(WTERMSIG(wait_for(s->report.groups[0])), SIGKILL);
    assert_int_equal(WEXITSTATUS(wait_for(s->report.sentinel)), 0); /* it has done its work */
    assert_false(is_empty(s->report.groups[1]));
    assert_int_equal(waitpid(s->report.groups[1], NULL, WNOHANG), 0);
    assert_int_equal(kill(-s->report.groups[1], SIGKILL), 0);
    wait_for_all();
}

static void test_a_sentinel_that_ends_is_replaced_by_one_that_knows_its_groups(void **state)
{
    struct scene *s = *state;
    begin(s, STUBBORN, STUBBORN);
    int first = s->report.sentinel;
    assert_int_equal(kill(first, SIGKILL), 0);
    read_report(s);
    assert_int_not_equal(s->report.sentinel, first);
    kill_guarder(s);
    assert_int_equal(WTERMSIG(wait_for(s->report.groups[0])), SIGKILL);
    assert_int_equal(WEXITSTATUS(wait_for(s->report.sentinel)), 0);
    assert_false(is_empty(s->report.groups[1]));
    assert_int_equal(kill(-s->report.groups[1], SIGKILL), 0);
    wait_for_all();
}

static void test_what_is_sent_to_end_the_owner_does_not_end_the_sentinel(void **state)
{
    static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };
    struct scene *s = *state;
    begin(s, STUBBORN, NULL);
    for (size_t i = 0; i < COUNT_OF(signals); i++)
        assert_int_equal(kill(s->report.sentinel, signals[i]), 0);
    assert_int_not_equal(getpgid(s->report.sentinel), getpgid(s->guarder));
    kill_guarder(s);
    assert_int_equal(WTERMSIG(wait_for(s->report.groups[0])), SIGKILL);
    assert_int_equal(WEXITSTATUS(wait_for(s->report.sentinel)), 0);
    wait_for_all();
}

/* ---- in our own loop ---- */

static void test_freeing_it_ends_the_process_and_leaves_nothing(void **state)
{
    struct loop *l = *state;
    struct sentinel *s = sentinel_new(&l->uv, l->deadlines);
    sentinel_guard(s, 999999999);
    sentinel_release(s, 999999999);
    sentinel_release(s, 5); /* that it never knew */
    sentinel_free(s);
    sentinel_free(NULL);
    sentinel_guard(NULL, 5);
    sentinel_release(NULL, 5); /* teardown returns only when it is reaped */
}

int main(int argc, char **argv)
{
    if (argc != 0 && strcmp(argv[0], SENTINEL_NAME) == 0)
        return sentinel_main();
#define SCENE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        SCENE_TEST(test_a_guarded_group_that_ignores_everything_is_killed_with_its_children),
        SCENE_TEST(test_a_worker_that_ends_with_its_input_may_do_so),
        SCENE_TEST(test_a_group_that_was_released_is_spared),
        SCENE_TEST(test_a_sentinel_that_ends_is_replaced_by_one_that_knows_its_groups),
        SCENE_TEST(test_what_is_sent_to_end_the_owner_does_not_end_the_sentinel),
        LOOP_TEST(test_freeing_it_ends_the_process_and_leaves_nothing),
    };
    log_set_level(LOG_SILENCE);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

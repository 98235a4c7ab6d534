/* The journal: what reached the fake worker and what became of it, for tests to read afterwards. */
#include "fake.h"

#include "clock.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

void journal_open(struct fake *f)
{
    const char *path = getenv("FAKE_WORKER_JOURNAL");
    f->journal_fd = -1;
    if (path == NULL)
        return;
    f->journal_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (f->journal_fd < 0)
        perror("codex-api-fake-worker: FAKE_WORKER_JOURNAL");
}

static void begin(struct buf *line)
{
    buf_printf(line, "{\"t\":%lld,\"pid\":%d", (long long)clock_wall_ms(), (int)getpid());
}

/* One appending write a line: several incarnations may share the file. */
static void end(struct fake *f, struct buf *line)
{
    buf_puts(line, "}\n");
    if (write(f->journal_fd, line->data, line->len) < 0)
        perror("codex-api-fake-worker: journal");
    buf_free(line);
}

static void add_strings(struct buf *line, const char *key, char *const *strings, const char *stop)
{
    buf_printf(line, ",\"%s\":[", key);
    for (char *const *s = strings; *s != NULL; s++) {
        if (s != strings)
            buf_putc(line, ',');
        json_quote(line, *s, strcspn(*s, stop));
    }
    buf_putc(line, ']');
}

/* Which descriptors the parent left open: 0, 1 and 2 if it is careful. */
static void add_fds(struct fake *f, struct buf *line)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return;
    const char *comma = "";
    buf_puts(line, ",\"fds\":[");
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        if (entry->d_name[0] == '.' || fd == dirfd(dir) || fd == f->journal_fd)
            continue;
        buf_printf(line, "%s%d", comma, fd);
        comma = ",";
    }
    buf_putc(line, ']');
    closedir(dir);
}

void journal_start(struct fake *f, int argc, char **argv)
{
    struct buf line = BUF_INIT;
    if (f->journal_fd < 0)
        return;
    begin(&line);
    buf_printf(&line, ",\"event\":\"start\",\"start\":%lld,\"ppid\":%d,\"pgid\":%d", f->start_no,
               (int)getppid(), (int)getpgrp());
    add_strings(&line, "argv", argv + (argc > 0), "");
    add_strings(&line, "env", environ, "=");
    add_fds(f, &line);
    end(f, &line);
}

void journal_received(struct fake *f, const char *text, size_t len, bool is_json)
{
    struct buf line = BUF_INIT;
    if (f->journal_fd < 0)
        return;
    begin(&line);
    if (is_json) {
        buf_puts(&line, ",\"in\":");
        buf_append(&line, text, len);
    } else {
        buf_printf(&line, ",\"bad\":%zu", len);
    }
    end(f, &line);
}

void journal_event(struct fake *f, const char *event, const char *detail, long long number)
{
    struct buf line = BUF_INIT;
    if (f->journal_fd < 0)
        return;
    begin(&line);
    buf_printf(&line, ",\"event\":\"%s\",\"number\":%lld", event, number);
    if (detail != NULL) {
        buf_puts(&line, ",\"detail\":");
        json_quote(&line, detail, strlen(detail));
    }
    end(f, &line);
}

/* All that watches and has a state of its own, put together. */
#include "observatory.h"

#include "config.h"
#include "disk.h"
#include "loop_lag.h"

bool observatory_check(const struct config *config, char **ret_why)
{
    (void)config;
    (void)ret_why;
    return true;
}

void observatory_configure(struct observatory *o, const struct config *config)
{
    (void)o;
    (void)config;
}

bool observatory_open(struct observatory *o, struct uv_loop_s *loop, struct deadlines *deadlines,
                      const struct config *config, const char *home, char **ret_why)
{
    (void)home;
    *o = (struct observatory){ .deadlines = deadlines };
    o->disk = disk_new(loop);
    o->lag = loop_lag_new(loop);
    if (!observatory_check(config, ret_why))
        return false;
    observatory_configure(o, config);
    return true;
}

void observatory_close(struct observatory *o, void (*on_closed)(void *ctx), void *ctx)
{
    disk_stop(o->disk, on_closed, ctx);
}

void observatory_free(struct observatory *o)
{
    loop_lag_free(o->lag);
    disk_free(o->disk);
    *o = (struct observatory){ .disk = NULL };
}

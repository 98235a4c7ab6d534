/* All that watches and has a state of its own, put together. */
#include "observatory.h"

#include "config.h"
#include "disk.h"
#include "loop_lag.h"
#include "maintenance.h"

bool observatory_check(const struct config *config, char **ret_why)
{
    (void)config;
    (void)ret_why;
    return true;
}

void observatory_configure(struct observatory *o, const struct config *config)
{
    maintenance_configure(o->maintenance, config->maintenance_retry_after_s);
}

bool observatory_open(struct observatory *o, struct uv_loop_s *loop, struct deadlines *deadlines,
                      const struct config *config, const char *home, char **ret_why)
{
    *o = (struct observatory){ .deadlines = deadlines };
    o->disk = disk_new(loop);
    o->lag = loop_lag_new(loop);
    if (!observatory_check(config, ret_why))
        return false;
    const struct maintenance_options maintenance = {
        .disk = o->disk,
        .home = home,
        .enabled = config->maintenance != 0,
        .retry_after_s = config->maintenance_retry_after_s,
    };
    o->maintenance = maintenance_new(&maintenance);
    observatory_configure(o, config);
    return true;
}

void observatory_close(struct observatory *o, void (*on_closed)(void *ctx), void *ctx)
{
    maintenance_close(o->maintenance);
    disk_stop(o->disk, on_closed, ctx);
}

void observatory_free(struct observatory *o)
{
    maintenance_free(o->maintenance);
    loop_lag_free(o->lag);
    disk_free(o->disk);
    *o = (struct observatory){ .disk = NULL };
}

/* All that watches and has a state of its own, put together. */
#include "observatory.h"

#include "clock.h"
#include "config.h"
#include "disk.h"
#include "interactions.h"
#include "log.h"
#include "loop_lag.h"
#include "maintenance.h"
#include "prices.h"

#include <stdlib.h>

static struct prices *load_prices(const struct config *config, char **ret_why)
{
    char *why = NULL;
    struct prices *prices = prices_load(config->price_file, &why);
    if (prices == NULL)
        *ret_why = xasprintf("PRICE_FILE: %s", why);
    free(why);
    return prices;
}

bool observatory_check(const struct config *config, char **ret_why)
{
    if (config->price_file == NULL)
        return true;
    struct prices *prices = load_prices(config, ret_why);
    bool ok = prices != NULL;
    prices_free(prices);
    return ok;
}

/* A file that has become wrong since it was checked changes nothing. */
static void configure_prices(struct observatory *o, const struct config *config)
{
    char *why = NULL;
    struct prices *prices = config->price_file != NULL ? load_prices(config, &why) : NULL;
    if (why != NULL) {
        log_error("app", "setting_complaint", LOG_ID("text", why));
        free(why);
        return;
    }
    prices_free(o->prices);
    o->prices = prices;
}

static struct interaction_limits interaction_limits(const struct config *config)
{
    return (struct interaction_limits){ .retention_days = config->interaction_retention_days,
                                        .max_bytes = config->interaction_max_bytes };
}

void observatory_configure(struct observatory *o, const struct config *config)
{
    const struct interaction_limits limits = interaction_limits(config);
    maintenance_configure(o->maintenance, config->maintenance_retry_after_s);
    configure_prices(o, config);
    if (o->interactions != NULL)
        interactions_configure(o->interactions, &limits);
}

static void open_interactions(struct observatory *o, const struct config *config)
{
    const struct interactions_options options = { .disk = o->disk,
                                                  .deadlines = o->deadlines,
                                                  .home = o->home,
                                                  .wall_ms = clock_wall_ms,
                                                  .limits = interaction_limits(config) };
    if (config->interaction_log != 0)
        o->interactions = interactions_new(&options);
}

bool observatory_open(struct observatory *o, struct uv_loop_s *loop, struct deadlines *deadlines,
                      const struct config *config, const char *home, char **ret_why)
{
    *o = (struct observatory){ .deadlines = deadlines, .home = xstrdup(home) };
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
    open_interactions(o, config);
    observatory_configure(o, config);
    return true;
}

void observatory_close(struct observatory *o, void (*on_closed)(void *ctx), void *ctx)
{
    interactions_close(o->interactions);
    maintenance_close(o->maintenance);
    disk_stop(o->disk, on_closed, ctx);
}

void observatory_free(struct observatory *o)
{
    maintenance_free(o->maintenance);
    interactions_free(o->interactions);
    prices_free(o->prices);
    loop_lag_free(o->lag);
    disk_free(o->disk);
    free(o->home);
    *o = (struct observatory){ .disk = NULL };
}

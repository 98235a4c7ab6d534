/* What the last reload came to. */
#include "reload.h"

#include "clock.h"
#include "log.h"

void reload_accept(struct reload *r, size_t changed_settings, size_t keys)
{
    log_info("app", "reloaded", LOG_INT("changed_settings", changed_settings),
             LOG_INT("keys", keys));
    *r = (struct reload){ .at_ms = clock_wall_ms(),
                          .accepted = true,
                          .changed_settings = changed_settings };
}

void reload_refuse(struct reload *r, size_t wrong_settings)
{
    log_error("app", "reload_refused", LOG_INT("wrong_settings", wrong_settings),
              LOG_BOOL("keys_refused", wrong_settings == 0));
    *r = (struct reload){ .at_ms = clock_wall_ms(), .wrong_settings = wrong_settings };
}

json_t *reload_describe(const struct reload *r)
{
    char at[CLOCK_ISO_SIZE];
    if (r->at_ms == 0)
        return json_null();
    clock_iso8601(r->at_ms, at);
    return json_pack("{s:s, s:b, s:I, s:I, s:b}", "at", at, "accepted", r->accepted,
                     "changed_settings", (json_int_t)r->changed_settings, "wrong_settings",
                     (json_int_t)r->wrong_settings, "keys_refused",
                     !r->accepted && r->wrong_settings == 0);
}

/* One log line for each request that ended. */
#ifndef ACCESS_LOG_H
#define ACCESS_LOG_H

struct routes;
struct st_h2o_pathconf_t;

/* `routes` is borrowed, and read at each line. */
void access_log_register(struct st_h2o_pathconf_t *path, const struct routes *routes);

#endif

/* One log line for each request that ended. */
#ifndef ACCESS_LOG_H
#define ACCESS_LOG_H

struct st_h2o_pathconf_t;

void access_log_register(struct st_h2o_pathconf_t *path);

#endif

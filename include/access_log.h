/* One log line for each request that ended. */
#ifndef ACCESS_LOG_H
#define ACCESS_LOG_H

struct observatory;
struct st_h2o_pathconf_t;

/* Requests of the API are also recorded (request_record.h) in the observatory, which is borrowed. */
void access_log_register(struct st_h2o_pathconf_t *path, struct observatory *observatory);

#endif

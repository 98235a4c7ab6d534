/* How long the loop works in one go, as a metric: whatever comes meanwhile waits that long. */
#ifndef LOOP_LAG_H
#define LOOP_LAG_H

struct loop_lag;
struct uv_loop_s;

/* Watches from now on. The loop must have been configured with UV_METRICS_IDLE_TIME before its first run. The caller owns the
 * result. */
struct loop_lag *loop_lag_new(struct uv_loop_s *loop);

/* Its memory goes with its close callback. Safe on NULL. */
void loop_lag_free(struct loop_lag *lag);

#endif

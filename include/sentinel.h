/* The sentinel: a process of its own that outlives ours by a moment, however ours ends, and sees to it that no worker is left.
 *
 * A worker whose proxy is killed meets the end of its input, and a good one ends there. The sentinel is for the others, and for
 * children that they leave behind: it is told the process group of each worker, and when its pipe to us breaks it
 * gives the groups a second and then kills them. A process that leaves its group escapes; only a cgroup holds that. */
#ifndef SENTINEL_H
#define SENTINEL_H

struct deadlines;
struct sentinel;
struct uv_loop_s;

#define SENTINEL_NAME "codex-sentinel" /* argv[0] of the process, and its name in ps */
#define SENTINEL_GROUPS_MAX 16         /* workers at once */

/* Starts the process; one that ends is started again. The caller owns the result. */
struct sentinel *sentinel_new(struct uv_loop_s *loop, struct deadlines *deadlines);

/* The process ends when the last byte of ours is read. Memory goes with the handles. Safe on NULL. */
void sentinel_free(struct sentinel *s);

/* The group of that leader is to be killed when we die; no more. Both are safe on a NULL sentinel. */
void sentinel_guard(struct sentinel *s, int pid);
void sentinel_release(struct sentinel *s, int pid);

/* The whole life of the process, on stdin. Returns its exit code. */
int sentinel_main(void);

#endif

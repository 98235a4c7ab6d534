/* The lock of CODEX_HOME, by which a codex-api learns that another one uses the same home. It warns and keeps nobody out: at a restart
 * with an overlap the old one is there for a while, and that must work. */
#ifndef HOME_LOCK_H
#define HOME_LOCK_H

#include "mem.h"

#include <stdio.h>

/* Takes the lock, a file "lock" in `home`, until home_lock_release or the end of the process; no child gets it. When another process has
 * it, too, the log says so, and a line on `err`. A home that cannot be locked is taken for one without others. Returns what
 * home_lock_release wants. */
CHECK_RESULT int home_lock_take(const char *home, FILE *err);

/* Safe on -1. */
void home_lock_release(int lock);

#endif

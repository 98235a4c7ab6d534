/* The environment as a test wants it: emptied before each, so that nothing of the caller's shows. */
#ifndef ENVIRONMENT_H
#define ENVIRONMENT_H

#include "unit.h"

static inline void environment_set(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

/* All but a PATH, for a program has always something there. */
static inline void environment_empty(void)
{
    assert_int_equal(clearenv(), 0);
    environment_set("PATH", "/usr/local/bin:/usr/bin:/bin");
}

#endif

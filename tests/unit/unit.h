/* What every unit test needs before its own code: cmocka, and the headers that cmocka wants first. */
#ifndef UNIT_H
#define UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Bytes of a literal, which may hold NULs. */
#define LITERAL(text) (text), (sizeof(text) - 1)

/* Above every level: the module under test logs its failures, which are what a test provokes. */
#define LOG_SILENCE ((enum log_level)(LOG_ERROR + 1))

#endif

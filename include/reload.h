/* What the last reload came to: said to the log, and kept for who asks later. Holds no text, so no value of a setting. */
#ifndef RELOAD_H
#define RELOAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed: there was none. */
struct reload {
    int64_t at_ms; /* wall clock; 0: there was none */
    bool accepted;
    size_t changed_settings; /* by one that was accepted */
    size_t wrong_settings;   /* of one that was refused; 0: it was for the keys */
};

/* All of it counts from now on; `keys` is how many there are. */
void reload_accept(struct reload *r, size_t changed_settings, size_t keys);

/* Nothing of it counts; `wrong_settings` is 0 when it was for the keys. */
void reload_refuse(struct reload *r, size_t wrong_settings);

/* {at, accepted, changed_settings, wrong_settings, keys_refused}, or null when there was none. The caller owns the result. */
json_t *reload_describe(const struct reload *r);

#endif

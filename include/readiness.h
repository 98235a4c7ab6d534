/* Whether traffic is wanted, and in words why not: for probes and for people. */
#ifndef READINESS_H
#define READINESS_H

#include <jansson.h>

struct routes;

/* Why no traffic is wanted, the most important reason first: an array of strings, empty when it is. A new reference. Maintenance is no
 * such reason: a balancer that took us out would answer clients with an error of its own. */
json_t *readiness_reasons(const struct routes *routes);

#endif

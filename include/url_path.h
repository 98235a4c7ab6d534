/* The path of a request, as it was written. Pure. */
#ifndef URL_PATH_H
#define URL_PATH_H

#include <stdbool.h>
#include <stddef.h>

/* Whether one of its segments is "." or "..", also when they or their slashes are percent-encoded. What follows a question mark is
 * not looked at. h2o resolves such segments, and a proxy in front may not: it would let pass what is another path here. */
bool url_path_has_dots(const char *path, size_t len);

/* Whether it is below /v1/. */
bool url_path_is_of_api(const char *path, size_t len);

#endif

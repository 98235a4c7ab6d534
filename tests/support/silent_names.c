/* codex-api in a place where the name `silent.invalid` is looked up for ever, as names are behind a resolver that has gone. */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

#define SILENT_NAME "silent.invalid"

typedef int (*lookup)(const char *node, const char *service, const struct addrinfo *hints,
                      struct addrinfo **res);

/* An executable's own comes before that of the C library. */
int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict res)
{
    lookup real = NULL;
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    while (node != NULL && strcmp(node, SILENT_NAME) == 0 &&
           (hints == NULL || (hints->ai_flags & AI_NUMERICHOST) == 0))
        pause();
    memcpy(&real, &symbol, sizeof(real));
    return real(node, service, hints, res);
}

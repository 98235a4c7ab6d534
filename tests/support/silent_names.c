/* codex-api in a place where the name `silent.invalid` is looked up for ever, as names are behind a resolver that has gone. */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

#define SILENT_NAME "silent.invalid"

typedef int (*lookup)(const char *name, const char *service, const struct addrinfo *req,
                      struct addrinfo **pai);

/* An executable's own comes before that of the C library. */
int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict req, struct addrinfo **restrict pai)
{
    lookup real = NULL;
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    while (name != NULL && strcmp(name, SILENT_NAME) == 0 &&
           (req == NULL || (req->ai_flags & AI_NUMERICHOST) == 0))
        pause();
    memcpy(&real, &symbol, sizeof(real));
    return real(name, service, req, pai);
}

/* codex-api itself, on a disk that hangs when a test says so: opening the folder FOLDER takes for as long as there is a file
 * FOLDER.stuck.
 *
 * The names that an executable defines come before those of the C library. */
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOOK_EVERY_US 2000

typedef DIR *(*opendir_fn)(const char *name);

DIR *opendir(const char *name)
{
    char stuck[4096];
    opendir_fn real = NULL;
    void *symbol = dlsym(RTLD_NEXT, "opendir");
    memcpy(&real, &symbol, sizeof(real)); /* ISO C has no cast from data to functions */
    int len = snprintf(stuck, sizeof(stuck), "%s.stuck", name);
    while (len > 0 && (size_t)len < sizeof(stuck) && access(stuck, F_OK) == 0)
        usleep(LOOK_EVERY_US);
    return real(name);
}

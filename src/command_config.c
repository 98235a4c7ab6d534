/* The settings of a command that looks at some of them only. */
#include "command_config.h"

#include <stdlib.h>
#include <string.h>

#define WARNING "warning: "

static bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* Each complaint is a line that begins with the name of the setting. A line of the file that is wrong is no setting; a file that
 * cannot be read may hold any of them. */
static bool is_fatal(const char *line, const char *const *needs)
{
    size_t len = strcspn(line, ":");
    if (begins(line, "SETTINGS_FILE: "))
        return !begins(line, "SETTINGS_FILE: line ");
    for (; *needs != NULL; needs++)
        if (strlen(*needs) == len && memcmp(*needs, line, len) == 0)
            return true;
    return false;
}

bool command_config_load(struct config *ret, const char *const *needs, FILE *err)
{
    char *complaints = NULL;
    size_t len = 0;
    bool ok = true;
    FILE *memory = open_memstream(&complaints, &len);
    if (memory == NULL)
        abort(); /* out of memory, as in mem.c */
    int wrong = config_load(ret, memory);
    (void)fclose(memory);
    char *rest = complaints;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
        bool fatal = wrong != 0 && is_fatal(line, needs);
        fprintf(err, "%s%s\n", fatal || begins(line, WARNING) ? "" : WARNING, line);
        ok = ok && !fatal;
    }
    free(complaints);
    return ok;
}

/* The form of the settings that are lists of free text. They are cut into entries as by their readers (cors.c, models.c,
 * launch.c), and empty entries are skipped as there. NULL is a list of none, and well formed. Pure. */
#ifndef SETTING_SYNTAX_H
#define SETTING_SYNTAX_H

#include <stdbool.h>

/* Origins as browsers send them: scheme://host[:port], null, file://; or *. */
bool setting_syntax_is_origins(const char *text);

/* alias=model or alias=model:effort. Which efforts there are only the model knows. */
bool setting_syntax_is_aliases(const char *text);

/* Lines of key=value; those of comment are skipped. The value is for the worker to judge. */
bool setting_syntax_is_assignments(const char *text);

/* Names that a shell can give to a variable. */
bool setting_syntax_is_variables(const char *text);

#endif

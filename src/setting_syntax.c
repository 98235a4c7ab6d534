/* The form of the settings that are lists of free text. */
#include "setting_syntax.h"

#include "entries.h"

#include <stddef.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"
#define BLANKS " \t\r"
#define PORT_MAX 65535

/* Whether each entry is `valid`. */
static bool each_is(const char *text, const char *separators, const char *blanks,
                    bool (*valid)(const char *at, size_t len))
{
    const char *entry = NULL;
    size_t len = 0;
    while ((entry = entries_next(&text, separators, blanks, &len)) != NULL)
        if (!valid(entry, len))
            return false;
    return true;
}

/* How many of the bytes from the first on are among the letters. */
static size_t span(const char *at, size_t len, const char *letters)
{
    size_t n = 0;
    while (n < len && at[n] != '\0' && strchr(letters, at[n]) != NULL)
        n++;
    return n;
}

static bool is_word(const char *at, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(at, word, len) == 0;
}

static bool is_port(const char *at, size_t len)
{
    long port = 0;
    for (size_t i = 0; i < len; i++) {
        if (at[i] < '0' || at[i] > '9' || port > PORT_MAX)
            return false;
        port = port * 10 + (at[i] - '0');
    }
    return port > 0 && port <= PORT_MAX;
}

/* The length of a name, an IPv4 address, or an IPv6 address in brackets; 0: none of them. */
static size_t host_len(const char *at, size_t len)
{
    if (len == 0 || *at != '[')
        return span(at, len, LOWER UPPER DIGITS ".-_");
    size_t inside = span(at + 1, len - 1, DIGITS "abcdefABCDEF:.");
    return inside != 0 && inside + 1 < len && at[inside + 1] == ']' ? inside + 2 : 0;
}

static bool is_origin(const char *at, size_t len)
{
    /* Pages without a host have one of the last two, by the browser. */
    if (is_word(at, len, "*") || is_word(at, len, "null") || is_word(at, len, "file://"))
        return true;
    size_t scheme = span(at, len, LOWER UPPER DIGITS "+-.");
    if (span(at, 1, LOWER UPPER) == 0 || len - scheme < 3 || memcmp(at + scheme, "://", 3) != 0)
        return false;
    at += scheme + 3;
    len -= scheme + 3;
    size_t host = host_len(at, len);
    if (host == 0 || host == len)
        return host != 0;
    return at[host] == ':' && is_port(at + host + 1, len - host - 1);
}

/* The last colon counts: ids of models may have some. */
static bool is_alias(const char *at, size_t len)
{
    const char *end = at + len;
    const char *equals = memchr(at, '=', len);
    if (equals == NULL || equals == at || equals + 1 == end)
        return false;
    const char *model = equals + 1;
    const char *colon = memrchr(model, ':', (size_t)(end - model));
    return colon == NULL || (colon != model && colon + 1 != end);
}

static bool is_assignment(const char *at, size_t len)
{
    return *at == '#' || (*at != '=' && memchr(at, '=', len) != NULL);
}

static bool is_variable(const char *at, size_t len)
{
    return span(at, 1, DIGITS) == 0 && span(at, len, LOWER UPPER DIGITS "_") == len;
}

bool setting_syntax_is_origins(const char *text)
{
    return each_is(text, ", ", "", is_origin);
}

bool setting_syntax_is_aliases(const char *text)
{
    return each_is(text, ", \t\r\n", "", is_alias);
}

bool setting_syntax_is_assignments(const char *text)
{
    return each_is(text, "\n", BLANKS, is_assignment);
}

bool setting_syntax_is_variables(const char *text)
{
    return each_is(text, ",", BLANKS, is_variable);
}

/* Secrets that are announced by a name. */
#include "secret_name.h"

#include "encoded.h"
#include "redact.h"

#include <string.h>
#include <strings.h>

enum strength {
    NAME_PLAIN,
    NAME_WEAK,   /* its value is one of secrets only if it looks like one */
    NAME_STRONG, /* its value is a secret, whatever it looks like */
    NAME_HEADER  /* and goes on to the end of the line */
};

/* The last that matches counts. A weak one must be a word of its own: "api_key" and "key", not "monkey". */
#define ENDING(text) (text), (sizeof(text) - 1)

static const struct ending {
    const char *text;
    size_t len;
    enum strength strength;
} endings[] = {
    { ENDING("key"), NAME_WEAK },
    { ENDING("token"), NAME_WEAK },
    { ENDING("auth"), NAME_WEAK },
    { ENDING("sig"), NAME_WEAK },
    { ENDING("signature"), NAME_WEAK },
    { ENDING("session"), NAME_WEAK },
    { ENDING("sid"), NAME_WEAK },
    { ENDING("jwt"), NAME_WEAK },
    { ENDING("otp"), NAME_WEAK },
    { ENDING("pass"), NAME_WEAK },
    { ENDING("pwd"), NAME_WEAK },
    { ENDING("publickey"), NAME_PLAIN },
    { ENDING("primarykey"), NAME_PLAIN },
    { ENDING("foreignkey"), NAME_PLAIN },
    { ENDING("sortkey"), NAME_PLAIN },
    { ENDING("partitionkey"), NAME_PLAIN },
    { ENDING("cachekey"), NAME_PLAIN },
    { ENDING("password"), NAME_STRONG },
    { ENDING("passwd"), NAME_STRONG },
    { ENDING("passphrase"), NAME_STRONG },
    { ENDING("passwort"), NAME_STRONG },
    { ENDING("secret"), NAME_STRONG },
    { ENDING("secrets"), NAME_STRONG },
    { ENDING("credential"), NAME_STRONG },
    { ENDING("credentials"), NAME_STRONG },
    { ENDING("apikey"), NAME_STRONG },
    { ENDING("accesskey"), NAME_STRONG },
    { ENDING("secretkey"), NAME_STRONG },
    { ENDING("privatekey"), NAME_STRONG },
    { ENDING("signingkey"), NAME_STRONG },
    { ENDING("encryptionkey"), NAME_STRONG },
    { ENDING("masterkey"), NAME_STRONG },
    { ENDING("adminkey"), NAME_STRONG },
    { ENDING("authkey"), NAME_STRONG },
    { ENDING("sharedkey"), NAME_STRONG },
    { ENDING("accountkey"), NAME_STRONG },
    { ENDING("accesstoken"), NAME_STRONG },
    { ENDING("refreshtoken"), NAME_STRONG },
    { ENDING("authtoken"), NAME_STRONG },
    { ENDING("idtoken"), NAME_STRONG },
    { ENDING("bearertoken"), NAME_STRONG },
    { ENDING("sessiontoken"), NAME_STRONG },
    { ENDING("securitytoken"), NAME_STRONG },
    { ENDING("csrftoken"), NAME_STRONG },
    { ENDING("xsrftoken"), NAME_STRONG },
    { ENDING("apitoken"), NAME_STRONG },
    { ENDING("bottoken"), NAME_STRONG },
    { ENDING("deploytoken"), NAME_STRONG },
    { ENDING("sessionid"), NAME_STRONG },
    { ENDING("sessid"), NAME_STRONG },
    { ENDING("connectsid"), NAME_STRONG },
    { ENDING("authorization"), NAME_HEADER },
    { ENDING("cookie"), NAME_HEADER },
};

/* ---- the name ---- */

void secret_name_forget(struct secret_name *n)
{
    n->len = 0;
    n->over = false;
    n->separated = false;
    n->part_begins = true;
    n->after_lower = false;
    n->of_element = false;
    n->dashes = 0;
}

static void add_letter(struct secret_name *n, unsigned char c, unsigned class)
{
    const size_t kept = SECRET_NAME_MAX / 2;
    if (n->over)
        secret_name_forget(n);
    if (n->len == SECRET_NAME_MAX) {
        memcpy(n->letters, n->letters + SECRET_NAME_MAX - kept, kept);
        memcpy(n->begins, n->begins + SECRET_NAME_MAX - kept, kept);
        n->len = kept;
    }
    bool upper = (class & CH_UPPER) != 0;
    n->begins[n->len] = n->part_begins || n->len == 0 || (upper && n->after_lower);
    n->letters[n->len++] = (char)(upper ? c | 0x20 : c);
    n->part_begins = false;
    n->after_lower = (class & CH_LOWER) != 0;
}

/* Blanks, quotes, and what is shown as a question mark. */
static bool may_stand_behind(unsigned char c, unsigned class)
{
    return (class & (CH_SPACE | CH_QUOTE)) != 0 || c == '\\' || c == ']' || c == '?' || c >= 0x80;
}

void secret_name_feed(struct secret_name *n, unsigned char c)
{
    unsigned class = char_class(c);
    if ((class & CH_ALNUM) != 0) {
        add_letter(n, c, class);
    } else if ((class & (CH_DASH | CH_UNDERSCORE | CH_DOT)) != 0) {
        if (n->over)
            secret_name_forget(n);
        n->part_begins = true;
        n->dashes += n->len == 0 && c == '-';
    } else if (c == ':' || c == '=') {
        n->over = true;
        n->separated = true;
    } else if (may_stand_behind(c, class)) {
        n->over = true;
    } else {
        secret_name_forget(n);
        n->of_element = c == '<';
    }
}

static bool ends_with(const struct secret_name *n, const char *text, size_t len, bool as_word)
{
    return n->len >= len && n->letters[n->len - 1] == text[len - 1] &&
           memcmp(n->letters + n->len - len, text, len) == 0 &&
           (!as_word || n->begins[n->len - len]);
}

static enum strength strength_of(const struct secret_name *n)
{
    static const char lasts[] = "ynhgdtpesl"; /* of the table: most names end with none */
    enum strength strength = NAME_PLAIN;
    if (memchr(lasts, n->letters[n->len - 1], sizeof(lasts) - 1) == NULL)
        return strength;
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++)
        if (ends_with(n, endings[i].text, endings[i].len, endings[i].strength == NAME_WEAK))
            strength = endings[i].strength;
    return strength;
}

bool secret_name_is_of_hash(const struct secret_name *n)
{
    static const struct {
        const char *text;
        size_t len;
    } names[] = {
        { ENDING("sha1") },   { ENDING("sha256") },   { ENDING("sha384") },
        { ENDING("sha512") }, { ENDING("md5") },      { ENDING("commit") },
        { ENDING("digest") }, { ENDING("checksum") }, { ENDING("etag") },
    };
    for (size_t i = 0; n->len != 0 && i < sizeof(names) / sizeof(names[0]); i++)
        if (ends_with(n, names[i].text, names[i].len, true))
            return true;
    return false;
}

/* ---- the value ---- */

/* How a value is written down. */
struct writing {
    unsigned char separator;
    size_t separator_width;
    bool blanks;         /* between separator and value */
    unsigned char quote; /* 0: none */
    size_t quote_width;
    bool quote_escaped;
};

static unsigned char char_at(const char *at, const char *end, size_t *ret_width)
{
    *ret_width = 0;
    return at < end ? encoded_char(at, end, ret_width) : 0;
}

/* Behind = : := => and the blanks. NULL for what is no assignment: == :: :// */
static const char *find_value(const char *at, const char *end, struct writing *w)
{
    size_t width;
    unsigned char next = char_at(at, end, &width);
    if (w->separator == '=' || w->separator == ':') {
        if (next == w->separator || (w->separator == ':' && next == '/'))
            return NULL;
        if ((w->separator == '=' && next == '>') || (w->separator == ':' && next == '='))
            at += width;
    }
    const char *value = encoded_run(at, end, CH_SPACE);
    w->blanks = value != at || w->separator == ' ';
    return value;
}

/* In a text that is quoted twice, a quote of the outer text is \" and one of the inner \\\". */
static const char *quoted_end(const char *at, const char *end, const struct writing *w)
{
    bool escaped = false;
    size_t width;
    for (; at < end; at += width) {
        unsigned char c = encoded_char(at, end, &width);
        if (c == w->quote && width == w->quote_width && escaped == w->quote_escaped)
            return escaped ? at - w->quote_width : at;
        if (*at == '\n')
            return at;
        escaped = w->quote_width != 1 && c == '\\' && width == w->quote_width && !escaped;
    }
    return at;
}

static bool ends_header(unsigned char c)
{
    return (char_class(c) & (CH_LINE_END | CH_QUOTE)) != 0;
}

static bool ends_word(unsigned char c)
{
    return (char_class(c) & (CH_SPACE | CH_LINE_END | CH_QUOTE)) != 0 ||
           (c != 0 && strchr("&;,)]}<>|", c) != NULL);
}

/* What is encoded more than the separator belongs to the value; but a line ends where it ends. */
static const char *bare_end(const char *at, const char *end, const struct writing *w,
                            bool (*ends)(unsigned char c))
{
    size_t width;
    const char *mark_end = encoded_word(at, end, REDACT_MARK);
    for (at = mark_end != NULL ? mark_end : at; at < end; at += width) {
        unsigned char c = encoded_char(at, end, &width);
        if (ends(c) && (width <= w->separator_width || width == 2))
            break;
    }
    return at;
}

/* "token: Bearer abc" */
static const char *over_scheme(const char *at, const char *end)
{
    static const char *const schemes[] = { "bearer ", "basic ", "token ", "digest " };
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        const char *behind = encoded_word_any_case(at, end, schemes[i]);
        if (behind != NULL)
            return encoded_run(behind, end, CH_SPACE);
    }
    return at;
}

static bool says_nothing(const char *value, size_t len)
{
    static const char *const words[] = { "null", "true", "false", "none", "nil", "undefined" };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strlen(words[i]) == len && strncasecmp(value, words[i], len) == 0)
            return true;
    size_t stars = 0;
    while (stars < len && value[stars] == '*')
        stars++;
    return stars == len;
}

#define WEAK_TIGHT_MIN 6 /* key=value */
#define WEAK_DIGIT_MIN 6 /* key: v4lue */
#define WEAK_LONG_MIN 20

static bool looks_secret(const char *value, const char *value_end, const struct writing *w)
{
    size_t len = (size_t)(value_end - value);
    bool digit = false;
    if (memmem(value, len, REDACT_MARK, sizeof(REDACT_MARK) - 2) != NULL)
        return false; /* or a second look could find what the first did not */
    if (w->separator == '=' && !w->blanks)
        return len >= WEAK_TIGHT_MIN;
    for (size_t i = 0; i < len && len < WEAK_LONG_MIN; i++)
        digit = digit || (value[i] >= '0' && value[i] <= '9');
    return len >= WEAK_LONG_MIN || (digit && len >= WEAK_DIGIT_MIN);
}

static bool may_separate(const struct secret_name *n, unsigned char c)
{
    if (c == '=' || c == ':')
        return !n->separated;
    if (n->over)
        return false;
    return (c == '>' && n->of_element) || (c == ' ' && n->dashes >= 2);
}

/* Nothing is to be done where it was done before. */
static bool is_mark(const char *at, const char *end)
{
    const char *behind = encoded_word(at, end, REDACT_MARK);
    return behind != NULL && !encoded_is(behind, end, CH_ALNUM);
}

/* Moves *value behind its opening quote, if it has one. */
static bool open_quote(const char **value, const char *end, struct writing *w, bool list)
{
    const char *at = *value;
    size_t width;
    unsigned char c = char_at(at, end, &width);
    if (c == '\\' && width > 1) {
        at += width;
        size_t quote_width;
        c = char_at(at, end, &quote_width);
        w->quote_escaped = quote_width == width;
    }
    if ((char_class(c) & CH_QUOTE) == 0 && !(list && c == '['))
        return false;
    w->quote = c == '[' ? ']' : c;
    w->quote_width = width;
    *value = at + width;
    return true;
}

struct secret_span secret_value(const struct secret_name *n, const char *at, const char *end,
                                unsigned char c, size_t width)
{
    const struct secret_span nothing = { NULL, NULL };
    struct writing w = { .separator = c, .separator_width = width };
    if (n->len == 0 || !may_separate(n, c))
        return nothing;
    enum strength strength = strength_of(n);
    const char *value = strength != NAME_PLAIN ? find_value(at + width, end, &w) : NULL;
    if (value == NULL || is_mark(value, end))
        return nothing;
    const char *value_end;
    if (open_quote(&value, end, &w, strength >= NAME_STRONG))
        value_end = quoted_end(value, end, &w);
    else if (strength == NAME_HEADER && c == ':')
        value_end = bare_end(value, end, &w, ends_header);
    else
        value_end = bare_end(over_scheme(value, end), end, &w, ends_word);
    if (value_end <= value || is_mark(value, end) ||
        says_nothing(value, (size_t)(value_end - value)) ||
        (strength == NAME_WEAK && !looks_secret(value, value_end, &w)))
        return nothing;
    return (struct secret_span){ value, value_end };
}

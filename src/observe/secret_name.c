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

/* By their last letters. The last that matches counts. A weak one must be a word of its own: "api_key" and "key", not "monkey". */
struct ending {
    const char *text;
    size_t len;
    enum strength strength;
};

#define ENDING(text) (text), (sizeof(text) - 1)
#define MARK_OPEN "[redacted" /* REDACT_MARK, perhaps cut */
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct ending endings_a[] = {
    { ENDING("keydata"), NAME_STRONG },
};

static const struct ending endings_d[] = {
    { ENDING("sid"), NAME_WEAK },          { ENDING("pwd"), NAME_WEAK },
    { ENDING("password"), NAME_STRONG },   { ENDING("passwd"), NAME_STRONG },
    { ENDING("sessionid"), NAME_STRONG },  { ENDING("sessid"), NAME_STRONG },
    { ENDING("connectsid"), NAME_STRONG },
};

static const struct ending endings_e[] = {
    { ENDING("signature"), NAME_WEAK },
    { ENDING("passphrase"), NAME_STRONG },
    { ENDING("passcode"), NAME_STRONG },
    { ENDING("cookie"), NAME_HEADER },
};

static const struct ending endings_g[] = {
    { ENDING("sig"), NAME_WEAK },
};

static const struct ending endings_h[] = {
    { ENDING("auth"), NAME_WEAK },
};

static const struct ending endings_l[] = {
    { ENDING("credential"), NAME_STRONG },
};

static const struct ending endings_n[] = {
    { ENDING("token"), NAME_WEAK },           { ENDING("session"), NAME_WEAK },
    { ENDING("accesstoken"), NAME_STRONG },   { ENDING("refreshtoken"), NAME_STRONG },
    { ENDING("authtoken"), NAME_STRONG },     { ENDING("idtoken"), NAME_STRONG },
    { ENDING("bearertoken"), NAME_STRONG },   { ENDING("sessiontoken"), NAME_STRONG },
    { ENDING("securitytoken"), NAME_STRONG }, { ENDING("csrftoken"), NAME_STRONG },
    { ENDING("xsrftoken"), NAME_STRONG },     { ENDING("apitoken"), NAME_STRONG },
    { ENDING("bottoken"), NAME_STRONG },      { ENDING("deploytoken"), NAME_STRONG },
    { ENDING("identitytoken"), NAME_STRONG }, { ENDING("registrytoken"), NAME_STRONG },
    { ENDING("authorization"), NAME_HEADER },
};

static const struct ending endings_p[] = {
    { ENDING("otp"), NAME_WEAK },
};

static const struct ending endings_s[] = {
    { ENDING("pass"), NAME_WEAK },          { ENDING("secrets"), NAME_STRONG },
    { ENDING("credentials"), NAME_STRONG }, { ENDING("authtokens"), NAME_STRONG },
    { ENDING("apikeys"), NAME_STRONG },
};

static const struct ending endings_t[] = {
    { ENDING("jwt"), NAME_WEAK },
    { ENDING("passwort"), NAME_STRONG },
    { ENDING("secret"), NAME_STRONG },
};

static const struct ending endings_y[] = {
    { ENDING("key"), NAME_WEAK },
    { ENDING("publickey"), NAME_PLAIN },
    { ENDING("primarykey"), NAME_PLAIN },
    { ENDING("foreignkey"), NAME_PLAIN },
    { ENDING("sortkey"), NAME_PLAIN },
    { ENDING("partitionkey"), NAME_PLAIN },
    { ENDING("cachekey"), NAME_PLAIN },
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
};

#define OF(letter, list) [(letter) - 'a'] = { list, COUNT_OF(list) }

static const struct {
    const struct ending *list;
    size_t count;
} endings['z' - 'a' + 1] = {
    OF('a', endings_a), OF('d', endings_d), OF('e', endings_e), OF('g', endings_g),
    OF('h', endings_h), OF('l', endings_l), OF('n', endings_n), OF('p', endings_p),
    OF('s', endings_s), OF('t', endings_t), OF('y', endings_y),
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

static void make_room(struct secret_name *n, size_t len)
{
    if (n->len + len <= SECRET_NAME_MAX)
        return;
    const size_t kept = SECRET_NAME_MAX - SECRET_WORD_MAX;
    const size_t gone = n->len - kept;
    memmove(n->letters, n->letters + gone, kept);
    memmove(n->begins, n->begins + gone, kept);
    n->len = kept;
}

static void add_letter(struct secret_name *n, unsigned char c, unsigned class)
{
    bool upper = (class & CH_UPPER) != 0;
    n->begins[n->len] = n->part_begins || n->len == 0 || (upper && n->after_lower);
    n->letters[n->len++] = (char)(upper ? c | 0x20 : c);
    n->part_begins = false;
    n->after_lower = (class & CH_LOWER) != 0;
}

void secret_name_feed_word(struct secret_name *n, const char *from, const char *to)
{
    if (n->over)
        secret_name_forget(n);
    if (to - from > SECRET_WORD_MAX) {
        from = to - SECRET_WORD_MAX;
        n->part_begins = false;
        n->after_lower = (char_class((unsigned char)from[-1]) & CH_LOWER) != 0;
    }
    make_room(n, (size_t)(to - from));
    for (; from < to; from++)
        add_letter(n, (unsigned char)*from, char_class((unsigned char)*from));
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
        if (n->over)
            secret_name_forget(n);
        make_room(n, 1);
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
    if (n->len < len)
        return false;
    const char *ending = n->letters + n->len - len;
    return *ending == *text && memcmp(ending, text, len) == 0 &&
           (!as_word || n->begins[n->len - len]);
}

static enum strength strength_of(const struct secret_name *n)
{
    enum strength strength = NAME_PLAIN;
    char last = n->letters[n->len - 1];
    if (last < 'a' || last > 'z')
        return strength;
    const struct ending *list = endings[last - 'a'].list;
    for (size_t i = 0; i < endings[last - 'a'].count; i++)
        if (ends_with(n, list[i].text, list[i].len, list[i].strength == NAME_WEAK))
            strength = list[i].strength;
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
    for (size_t i = 0; n->len != 0 && i < COUNT_OF(names); i++)
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

static bool ends_word(unsigned char c)
{
    return (char_class(c) & (CH_SPACE | CH_LINE_END | CH_QUOTE)) != 0 || c == '&' || c == ';' ||
           c == ',' || c == ')' || c == ']' || c == '}' || c == '<' || c == '>' || c == '|';
}

/* What is encoded more than the separator belongs to the value; but a line ends where it ends. */
static bool counts(const struct writing *w, size_t width)
{
    return width <= w->separator_width || width == 2;
}

/* One that may be refused ends before a mark: so each that is refused is short, and no text is looked at again and again. */
static const char *bare_end(const char *at, const char *end, const struct writing *w, bool weak)
{
    size_t width;
    const char *mark_end = encoded_word(at, end, REDACT_MARK);
    for (at = mark_end != NULL ? mark_end : at; at < end; at += width) {
        const char *behind = encoded_control_end(at, end);
        unsigned char c = encoded_char(at, end, &width);
        if (behind != NULL)
            width = (size_t)(behind - at);
        else if ((ends_word(c) && counts(w, width)) ||
                 (weak && c == '[' && encoded_word(at, end, MARK_OPEN) != NULL))
            break;
    }
    return at;
}

/* The header may be quoted, and so may be what stands behind an equals sign in it: username="x", realm="y". */
static const char *header_end(const char *at, const char *end, const struct writing *w)
{
    unsigned char inner = 0; /* quote that is open */
    unsigned char previous = 0;
    size_t width;
    for (; at < end; at += width) {
        unsigned char c = encoded_char(at, end, &width);
        const unsigned class = char_class(c);
        if ((class & CH_LINE_END) != 0 && counts(w, width))
            break;
        if (inner != 0)
            inner = c == inner ? 0 : inner;
        else if ((class & CH_QUOTE) != 0 && previous == '=')
            inner = c;
        else if ((class & CH_QUOTE) != 0 && counts(w, width))
            break;
        previous = c == '\\' ? previous : c;
    }
    return at;
}

/* "token: Bearer abc" */
static const char *over_scheme(const char *at, const char *end)
{
    static const char *const schemes[] = { "bearer ", "basic ", "token ", "digest " };
    for (size_t i = 0; i < COUNT_OF(schemes); i++) {
        const char *behind = encoded_word_any_case(at, end, schemes[i]);
        if (behind != NULL)
            return encoded_run(behind, end, CH_SPACE);
    }
    return at;
}

static bool says_nothing(const char *value, size_t len)
{
    static const char *const words[] = { "null", "true",      "false", "none",
                                         "nil",  "undefined", "lambda" };
    for (size_t i = 0; len <= 9 && i < COUNT_OF(words); i++)
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

/* As it will be shown. */
static bool holds_mark(const char *at, const char *end)
{
    size_t width;
    for (; at < end; at += width) {
        const char *behind = encoded_control_end(at, end);
        (void)encoded_char(at, end, &width);
        if (behind != NULL)
            width = (size_t)(behind - at);
        else if (encoded_word(at, end, MARK_OPEN) != NULL)
            return true;
    }
    return false;
}

static bool looks_secret(const char *value, const char *value_end, const struct writing *w)
{
    size_t len = (size_t)(value_end - value);
    bool digit = false;
    if (len < WEAK_TIGHT_MIN)
        return false;
    if (holds_mark(value, value_end))
        return false; /* or a second look could find what the first did not */
    if (w->separator == '=' && !w->blanks)
        return true;
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

/* A question mark is shown for each, and belongs to the value. */
static const char *over_controls(const char *at, const char *end, size_t *ret_count)
{
    *ret_count = 0;
    for (const char *behind; (behind = encoded_control_end(at, end)) != NULL; ++*ret_count)
        at = encoded_run(behind, end, CH_SPACE);
    return at;
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
    const char *from = value;
    const char *value_end;
    size_t controls;
    value = over_controls(value, end, &controls);
    bool coloured =
        value != from; /* then all of it goes: what is shown for the colour would be a value */
    bool quoted = open_quote(&value, end, &w, strength >= NAME_STRONG);
    if (!coloured && is_mark(value, end))
        return nothing;
    if (quoted)
        value_end = quoted_end(value, end, &w);
    else if (strength == NAME_HEADER && c == ':')
        value_end = header_end(value, end, &w);
    else
        value_end = bare_end(over_scheme(value, end), end, &w, strength == NAME_WEAK);
    const char *judged = value - controls;
    if (value_end <= judged || (strength == NAME_WEAK && !looks_secret(judged, value_end, &w)) ||
        (!coloured && says_nothing(value, (size_t)(value_end - value))))
        return nothing;
    return (struct secret_span){ coloured ? from : value, value_end };
}

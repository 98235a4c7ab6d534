/* Secrets that are known by their shape. */
#include "secret_shape.h"

#include "encoded.h"
#include "redact.h"
#include "secret_name.h"

#include <stdint.h>
#include <string.h>

#define BASE64_URL (CH_ALNUM | CH_DASH | CH_UNDERSCORE)
#define BASE64_ANY (BASE64_URL | CH_DOT | CH_PLUS | CH_SLASH | CH_EQUALS | CH_TILDE)

#define TOKEN_ANY (BASE64_URL | CH_PLUS | CH_SLASH)

/* A beginning, and of what at least so many characters must follow; all of them that follow belong to it. */
#define PREFIXED_MIN 15 /* bytes of the shortest: sk- with twelve */

struct prefix {
    const char *text;
    unsigned body;
    size_t min;
};

static const struct prefix prefixes_s[] = {
    { "sk-", BASE64_URL, 12 }, /* OpenAI (sk-proj-), Anthropic (sk-ant-), and our own */
    { "sk_live_", CH_ALNUM, 8 },   { "sk_test_", CH_ALNUM, 8 },   { "sq0atp-", BASE64_URL, 16 },
    { "sq0csp-", BASE64_URL, 16 }, { "sq0idp-", BASE64_URL, 16 }, { "shpat_", CH_ALNUM, 20 },
    { "shpca_", CH_ALNUM, 20 },    { "shppa_", CH_ALNUM, 20 },    { "shpss_", CH_ALNUM, 20 },
};

static const struct prefix prefixes_r[] = {
    { "rk_live_", CH_ALNUM, 8 },
    { "rk_test_", CH_ALNUM, 8 },
};

static const struct prefix prefixes_p[] = {
    { "pk_live_", CH_ALNUM, 8 },
    { "pk_test_", CH_ALNUM, 8 },
    { "pypi-", BASE64_URL, 20 },
};

static const struct prefix prefixes_w[] = {
    { "whsec_", BASE64_ANY, 16 },
};

static const struct prefix prefixes_e[] = {
    { "eyJ", BASE64_URL | CH_DOT | CH_EQUALS, 16 }, /* JSON in base64: a JWT */
};

static const struct prefix prefixes_upper_a[] = {
    { "AKIA", CH_UPPER | CH_DIGIT, 12 },
    { "ASIA", CH_UPPER | CH_DIGIT, 12 },
    { "AIza", BASE64_URL, 20 },
    { "AGE-SECRET-KEY-1", CH_UPPER | CH_DIGIT, 20 },
    { "ATATT3", BASE64_URL | CH_EQUALS, 20 },
};

static const struct prefix prefixes_y[] = {
    { "ya29.", BASE64_URL | CH_DOT, 16 },
};

static const struct prefix prefixes_one[] = {
    { "1//0", BASE64_URL, 24 },
};

static const struct prefix prefixes_upper_g[] = {
    { "GOCSPX-", BASE64_URL, 16 },
};

static const struct prefix prefixes_g[] = {
    { "ghp_", CH_ALNUM, 20 },
    { "gho_", CH_ALNUM, 20 },
    { "ghu_", CH_ALNUM, 20 },
    { "ghs_", CH_ALNUM, 20 },
    { "ghr_", CH_ALNUM, 20 },
    { "github_pat_", CH_ALNUM | CH_UNDERSCORE, 20 },
    { "glpat-", BASE64_URL | CH_DOT, 12 },
    { "gldt-", BASE64_URL, 12 },
    { "glrt-", BASE64_URL, 12 },
    { "glptt-", BASE64_URL, 12 },
    { "glcbt-", BASE64_URL, 12 },
    { "glsa_", CH_ALNUM | CH_UNDERSCORE, 20 },
    { "gsk_", CH_ALNUM, 20 },
};

static const struct prefix prefixes_x[] = {
    { "xoxa-", BASE64_URL, 10 }, { "xoxb-", BASE64_URL, 10 }, { "xoxc-", BASE64_URL, 10 },
    { "xoxd-", BASE64_ANY, 10 }, { "xoxe-", BASE64_URL, 10 }, { "xoxe.", BASE64_URL, 10 },
    { "xoxp-", BASE64_URL, 10 }, { "xoxr-", BASE64_URL, 10 }, { "xoxs-", BASE64_URL, 10 },
    { "xapp-", BASE64_URL, 10 }, { "xai-", CH_ALNUM, 20 },
};

static const struct prefix prefixes_n[] = {
    { "npm_", CH_ALNUM, 20 },
};

static const struct prefix prefixes_h[] = {
    { "hf_", CH_ALNUM, 20 },
    { "hvs.", BASE64_URL, 16 },
    { "hvb.", BASE64_URL, 16 },
    { "hooks.slack.com/", BASE64_URL | CH_SLASH, 8 },
};

static const struct prefix prefixes_upper_s[] = {
    { "SG.", BASE64_URL | CH_DOT, 20 },
};

static const struct prefix prefixes_d[] = {
    { "dop_v1_", CH_ALNUM, 20 },
    { "doo_v1_", CH_ALNUM, 20 },
    { "dor_v1_", CH_ALNUM, 20 },
    { "dckr_pat_", BASE64_URL, 16 },
    { "discord.com/api/webhooks/", BASE64_URL | CH_SLASH, 8 },
    { "discordapp.com/api/webhooks/", BASE64_URL | CH_SLASH, 8 },
};

static const struct prefix prefixes_k[] = {
    { "key-", CH_ALNUM, 32 }, /* Mailgun */
};

#define OF(letter, list) [letter] = { list, sizeof(list) / sizeof((list)[0]) }

/* By their first character: most words begin with none. */
static const struct {
    const struct prefix *list;
    size_t count;
} prefixes[128] = {
    OF('s', prefixes_s), OF('r', prefixes_r),       OF('p', prefixes_p),
    OF('w', prefixes_w), OF('e', prefixes_e),       OF('A', prefixes_upper_a),
    OF('y', prefixes_y), OF('1', prefixes_one),     OF('G', prefixes_upper_g),
    OF('g', prefixes_g), OF('x', prefixes_x),       OF('n', prefixes_n),
    OF('h', prefixes_h), OF('S', prefixes_upper_s), OF('d', prefixes_d),
    OF('k', prefixes_k),
};

static const struct secret_span nothing = { NULL, NULL };

/* ---- well-known beginnings ---- */

/* Behind at least `min` characters of the set, or NULL. */
static const char *at_least(const char *at, const char *end, unsigned set, size_t min)
{
    for (; min != 0; min--) {
        size_t width;
        if (at >= end || (encoded_class(at, end, &width) & set) == 0)
            return NULL;
        at += width;
    }
    return at;
}

static const char *known_prefix(const char *at, const char *end, unsigned char first, size_t width)
{
    size_t count = first < 128 ? prefixes[first].count : 0;
    if (count == 0 || at + width >= end)
        return NULL;
    size_t ignored;
    const unsigned char second = encoded_char(at + width, end, &ignored);
    for (const struct prefix *p = prefixes[first].list; count > 0; p++, count--) {
        if ((unsigned char)p->text[1] != second)
            continue;
        const char *body = encoded_word(at, end, p->text);
        const char *enough = body != NULL ? at_least(body, end, p->body, p->min) : NULL;
        if (enough != NULL)
            return encoded_run(enough, end, p->body);
    }
    return NULL;
}

/* ---- tokens of bots: three parts with dots between (Discord), or a number, a colon and what begins with AA (Telegram) ---- */

/* Behind a run of the set that is so long, or NULL. */
static const char *run_of(const char *at, const char *end, unsigned set, size_t min, size_t max)
{
    size_t len = 0;
    for (size_t width; at < end && (encoded_class(at, end, &width) & set) != 0; at += width)
        if (++len > max)
            return NULL;
    return len >= min ? at : NULL;
}

static const char *over_dot(const char *at, const char *end)
{
    return at != NULL && at < end && *at == '.' ? at + 1 : NULL;
}

#define BOT_TOKEN_MIN 32 /* bytes */

static const char *bot_token(const char *at, const char *end, unsigned char first,
                             unsigned char previous)
{
    if (first == 'A' && previous == ':' && encoded_word(at, end, "AA") != NULL)
        return run_of(at, end, BASE64_URL, 30, SIZE_MAX);
    if (first != 'M' && first != 'N' && first != 'O')
        return NULL;
    const char *p = over_dot(run_of(at, end, CH_ALNUM, 22, 30), end);
    p = p != NULL ? over_dot(run_of(p, end, BASE64_URL, 5, 8), end) : NULL;
    return p != NULL ? run_of(p, end, BASE64_URL, 24, SIZE_MAX) : NULL;
}

/* ---- Bearer, Basic ---- */

/* Prose has words behind these, too: "basic understanding". */
static bool is_no_word(const char *at, const char *end)
{
    size_t len = 0;
    bool digit = false;
    bool hump = false;
    bool lower_before = false;
    while (at < end && len < 20) {
        size_t width;
        unsigned class = encoded_class(at, end, &width);
        digit = digit || (class & (CH_DIGIT | CH_EQUALS)) != 0;
        hump = hump || (lower_before && (class & CH_UPPER) != 0);
        lower_before = (class & CH_LOWER) != 0;
        at += width;
        len++;
    }
    return len >= 20 || (len >= 6 && (digit || hump));
}

static struct secret_span after_scheme(const char *at, const char *end)
{
    static const char *const schemes[] = { "bearer", "basic" };
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        const char *p = encoded_word_any_case(at, end, schemes[i]);
        if (p == NULL || !encoded_is(p, end, CH_SPACE | CH_PLUS))
            continue;
        size_t width;
        (void)encoded_char(p, end, &width);
        const char *token = encoded_run(p + width, end, CH_SPACE);
        const char *token_end = encoded_run(token, end, BASE64_ANY);
        if (is_no_word(token, token_end))
            return (struct secret_span){ token, token_end };
    }
    return nothing;
}

/* ---- e-mail ---- */

/* Behind the domain, or NULL: it has a dot, and its last label is of letters. */
static const char *domain_end(const char *at, const char *end)
{
    const char *last_label = NULL;
    const char *p = at;
    for (;;) {
        const char *label_end = encoded_run(p, end, CH_ALNUM | CH_DASH);
        if (label_end == p)
            break;
        const char *letters_end = encoded_run(p, end, CH_LETTER);
        bool is_last = letters_end == label_end || encoded_word(letters_end, end, "---") != NULL;
        if (is_last && letters_end - p >= 2 && p != at)
            last_label = letters_end;
        if (!encoded_is(label_end, end, CH_DOT))
            break;
        size_t width;
        (void)encoded_char(label_end, end, &width);
        p = label_end + width;
    }
    return last_label;
}

static const char *address_at(const char *at, const char *end, struct shape_memo *memo)
{
    if (memo->local_end == NULL || at >= memo->local_end) {
        size_t width;
        const char *local_end =
            encoded_run(at, end, CH_ALNUM | CH_DOT | CH_UNDERSCORE | CH_PLUS | CH_DASH);
        bool found = local_end < end && encoded_char(local_end, end, &width) == '@';
        bool of_git = local_end - at == 3 && memcmp(at, "git", 3) == 0;
        memo->local_end = local_end;
        memo->address_end = found && !of_git ? domain_end(local_end + width, end) : NULL;
    }
    return memo->address_end;
}

/* ---- what looks random ---- */

/* Letters and digits without anything between. */
enum looks { LOOKS_LIKE_NOTHING, LOOKS_LIKE_A_WORD, LOOKS_RANDOM };

#define SEGMENT_MIN 5   /* characters: fewer say nothing */
#define SEGMENT_SURE 12 /* characters: a name is hardly so restless */
#define TOKEN_MIN                                                                                  \
    30 /* bytes of a token that looks random: 32, of which the ends may be dashes; ids of ours have fewer */
#define RANDOM_MIN 20 /* characters of those of its segments that do */
#define UNCLEAR_MAX 4 /* segments in a row that look like nothing: it is a path */
#define BETWEEN_MAX 2 /* of - _ + / between two segments */

struct counts {
    size_t len;
    unsigned classes; /* all that occur */
    size_t upper;     /* letters */
    size_t changes;   /* between lower case, upper case and digits */
    size_t numbers;   /* changes from or to a digit */
};

/* Returns where the segment ends. */
static const char *count_segment(const char *at, const char *end, struct counts *ret_counts)
{
    struct counts n = { 0, 0, 0, 0, 0 };
    unsigned before = 0;
    while (at < end) {
        size_t width;
        unsigned class = encoded_class(at, end, &width);
        unsigned kind = (class & CH_LOWER) != 0 ? CH_LOWER : class & CH_UPPER ? CH_UPPER : CH_DIGIT;
        if ((class & CH_ALNUM) == 0)
            break;
        if (before != 0 && kind != before) {
            n.changes++;
            n.numbers += kind == CH_DIGIT || before == CH_DIGIT;
        }
        before = kind;
        n.upper += kind == CH_UPPER;
        n.classes |= class;
        n.len++;
        at += width;
    }
    *ret_counts = n;
    return at;
}

static bool is_hash_length(size_t len)
{
    return len == 32 || len == 40 || len == 56 || len == 64 || len == 96 || len == 128;
}

static bool is_hash(const struct counts *n)
{
    bool one_case = (n->classes & CH_LETTER & ~(unsigned)CH_HEX_LOWER) == 0 ||
                    (n->classes & CH_LETTER & ~(unsigned)CH_HEX_UPPER) == 0;
    return one_case && is_hash_length(n->len);
}

/* Words have few changes: "response", "python3", "X86", "20260102T030405Z". In random text of all three kinds three characters out
 * of five change, in hexadecimal one every other. Names like getHttpResponse lie between. */
static enum looks judge(const struct counts *n)
{
    bool lower = (n->classes & CH_LOWER) != 0;
    bool upper = (n->classes & CH_UPPER) != 0;
    bool digit = (n->classes & CH_DIGIT) != 0;
    bool restless = n->changes * 100 >= n->len * 45;
    if (lower && upper && digit)
        return n->numbers >= 3 || restless ? LOOKS_RANDOM : LOOKS_LIKE_NOTHING;
    if (lower && upper) {
        if (n->changes == 1 && n->upper == 1)
            return LOOKS_LIKE_A_WORD;
        return restless && n->len >= SEGMENT_SURE ? LOOKS_RANDOM : LOOKS_LIKE_NOTHING;
    }
    if (!digit || n->numbers <= 1)
        return LOOKS_LIKE_A_WORD;
    return n->numbers <= 3 && n->len < SEGMENT_SURE ? LOOKS_LIKE_NOTHING : LOOKS_RANDOM;
}

/* A hash that is part of a path or names what it is: the name of a thing, no secret. */
static bool stands_in_path(const char *segment_end, const char *end, unsigned char previous)
{
    size_t width;
    if (previous == '/' || previous == '\\')
        return true;
    if (segment_end >= end)
        return false;
    unsigned char next = encoded_char(segment_end, end, &width);
    return next == '/' ||
           (next == '.' && (encoded_is(segment_end + width, end, CH_ALNUM) ||
                            encoded_word(segment_end + width, end, REDACT_MARK) != NULL));
}

struct segment {
    const char *begin;
    const char *end;
    struct counts counts;
    enum looks looks;
};

static struct segment look_at_segment(const char *at, const char *end, unsigned char previous,
                                      const struct secret_name *name)
{
    struct segment s = { .begin = at, .looks = LOOKS_LIKE_NOTHING };
    s.end = count_segment(at, end, &s.counts);
    if (s.counts.len < SEGMENT_MIN)
        return s;
    bool is_name = is_hash(&s.counts) && ((name != NULL && secret_name_is_of_hash(name)) ||
                                          stands_in_path(s.end, end, previous));
    s.looks = is_name ? LOOKS_LIKE_A_WORD : judge(&s.counts);
    return s;
}

/* 8-4-4-4-12 hexadecimal digits. */
static const char *uuid_end(const char *at, const char *end)
{
    static const int groups[] = { 8, 4, 4, 4, 12 };
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        if (i != 0 && (at >= end || *at++ != '-'))
            return NULL;
        for (int n = 0; n < groups[i]; n++)
            if (at >= end || (char_class((unsigned char)*at++) & CH_HEX) == 0)
                return NULL;
    }
    return encoded_is(at, end, CH_ALNUM) ? NULL : at;
}

static const char *skip_between(const char *at, const char *end, unsigned char *ret_last)
{
    for (int i = 0; i < BETWEEN_MAX && encoded_is(at, end, TOKEN_ANY & ~(unsigned)CH_ALNUM); i++) {
        size_t width;
        *ret_last = encoded_char(at, end, &width);
        at += width;
    }
    return at;
}

/* Whether what is joined by - _ + / is long enough for a token. */
static bool run_is_long(const char *at, const char *end, struct shape_memo *memo)
{
    if (at >= memo->token_end)
        memo->token_end = encoded_run(at, end, TOKEN_ANY);
    return memo->token_end - at >= TOKEN_MIN;
}

/* All segments of what may be a token. */
struct sum {
    size_t len;
    size_t changes;
    size_t numbers;
    unsigned classes;
    size_t random; /* characters of those that look random */
    int unclear;   /* segments in a row that look like nothing */
};

static void add_segment(struct sum *sum, const struct segment *s)
{
    sum->len += s->counts.len;
    sum->changes += s->counts.changes;
    sum->numbers += s->counts.numbers;
    sum->classes |= s->counts.classes;
    sum->random += s->looks == LOOKS_RANDOM ? s->counts.len : 0;
    sum->unclear = s->looks == LOOKS_LIKE_NOTHING ? sum->unclear + 1 : 0;
}

/* `size` with what is between the segments. */
static bool is_token(const struct sum *sum, ptrdiff_t size)
{
    bool both_cases = (sum->classes & CH_LOWER) != 0 && (sum->classes & CH_UPPER) != 0;
    bool restless = both_cases && sum->numbers >= 3 && sum->changes * 100 >= sum->len * 36;
    return size >= TOKEN_MIN && (sum->random >= RANDOM_MIN || restless);
}

/* The token that begins at `at`: segments that look random, with - _ + / and a few that look like nothing between. What looks like a
 * word ends it, and so do too many that look like nothing: then it is a path. Once it is known to be a token, all that follows
 * belongs to it. One that is none is a few dozen characters, and its end is remembered, for none begins within it. */
static const char *random_token(const char *at, const char *end, unsigned char previous,
                                const struct secret_name *name, struct shape_memo *memo)
{
    const char *begin = at;
    struct sum sum = { 0, 0, 0, 0, 0, 0 };
    if (at < memo->no_token_before || !run_is_long(at, end, memo))
        return NULL;
    while (encoded_is(at, end, CH_ALNUM)) {
        const struct segment s = look_at_segment(at, end, previous, name);
        const char *uuid = s.counts.len == 8 ? uuid_end(at, end) : NULL;
        if (uuid != NULL) {
            at = at == begin ? uuid : at;
            break;
        }
        if (s.looks == LOOKS_LIKE_A_WORD) {
            at = at == begin ? s.end : at;
            break;
        }
        add_segment(&sum, &s);
        if (is_token(&sum, s.end - begin))
            return encoded_run(encoded_run(s.end, end, TOKEN_ANY), end, CH_EQUALS);
        if (sum.unclear == UNCLEAR_MAX)
            break;
        at = skip_between(s.end, end, &previous);
        name = NULL; /* it stands before the first alone */
    }
    memo->no_token_before = at;
    return NULL;
}

/* Bytes of what may be a secret, with all that may be within one. Most words are too short to be looked at any further. */
static size_t run_len(const char *at, const char *end, struct shape_memo *memo)
{
    size_t width;
    if (at >= memo->run_end) {
        memo->run_end = encoded_run(at, end, BASE64_ANY);
        memo->run_ends_in_at =
            memo->run_end < end && encoded_char(memo->run_end, end, &width) == '@';
    }
    return (size_t)(memo->run_end - at);
}

struct secret_span secret_shape(const char *at, const char *end, unsigned char previous,
                                const struct secret_name *name, struct shape_memo *memo)
{
    size_t width;
    const unsigned char first = encoded_char(at, end, &width);
    const size_t len = run_len(at, end, memo);
    const char *to = NULL;
    if (len >= PREFIXED_MIN)
        to = known_prefix(at, end, first, width);
    if (to == NULL && len >= BOT_TOKEN_MIN)
        to = bot_token(at, end, first, previous);
    if (to == NULL && (first | 0x20) == 'b') {
        struct secret_span span = after_scheme(at, end);
        if (span.to != NULL)
            return span;
    }
    if (to == NULL && memo->run_ends_in_at)
        to = address_at(at, end, memo);
    if (to == NULL && len >= TOKEN_MIN)
        to = random_token(at, end, previous, name, memo);
    return (struct secret_span){ at, to };
}

/* ---- URLs ---- */

static bool ends_authority(unsigned char c)
{
    return (char_class(c) & (CH_SLASH | CH_SPACE | CH_LINE_END | CH_QUOTE)) != 0 || c == '?' ||
           c == '#' || c == '<' || c == '>';
}

/* What is encoded more than the colon was belongs to the password. */
static void find_authority(const char *at, const char *end, size_t colon_width,
                           struct shape_memo *memo)
{
    const char *last_at = NULL;
    size_t width;
    for (; at < end; at += width) {
        unsigned char c = encoded_char(at, end, &width);
        if ((width <= colon_width && ends_authority(c)) ||
            (c == '[' && encoded_word(at, end, REDACT_MARK) != NULL))
            break;
        if (c == '@')
            last_at = at;
    }
    memo->authority_end[colon_width] = at;
    memo->authority_at[colon_width] = last_at;
}

struct secret_span secret_in_url(const char *at, const char *end, size_t colon_width,
                                 struct shape_memo *memo)
{
    size_t width;
    if (memo->authority_end[colon_width] == NULL || at >= memo->authority_end[colon_width])
        find_authority(at, end, colon_width, memo);
    const char *to = memo->authority_at[colon_width];
    if (to == NULL || to <= at)
        return nothing;
    const char *user_end = encoded_run(at, to, BASE64_ANY & ~(unsigned)CH_SLASH);
    bool has_password = user_end < to && encoded_char(user_end, end, &width) == ':';
    bool is_name = !has_password && user_end == to && to - at < 16;
    return is_name ? nothing : (struct secret_span){ at, to };
}

/* ---- PEM ---- */

const char *secret_pem_begin(const char *at, const char *end)
{
    bool alone = end - at < 2 || (char_class((unsigned char)at[1]) & (CH_DASH | CH_UNSURE)) == 0;
    const char *label = !alone ? encoded_word(at, end, "-----BEGIN ") : NULL;
    if (label == NULL)
        return NULL;
    const char *label_end = label;
    for (int words = 0; words < 6 && encoded_is(label_end, end, CH_UPPER | CH_DIGIT | CH_SPACE);
         words++) {
        label_end = encoded_run(label_end, end, CH_UPPER | CH_DIGIT);
        label_end = encoded_run(label_end, end, CH_SPACE);
    }
    return encoded_word(label_end, end, "-----");
}

const char *secret_pem_end(const char *at, const char *end)
{
    const char *last = memmem(at, (size_t)(end - at), "-----END", 8);
    if (last == NULL)
        return NULL;
    last += 8;
    while (last < end && encoded_is(last, end, CH_UPPER | CH_DIGIT | CH_SPACE)) {
        size_t width;
        (void)encoded_char(last, end, &width);
        last += width;
    }
    const char *dashes = encoded_run(last, end, CH_DASH);
    return dashes;
}

/* Texts that are made to be slow to scrub. */
#include "hostile_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Each is repeated, and the mixes are drawn from all. */
static const char *const atoms[] = {
    "a",
    "a ",
    "1",
    "4 ",
    "sk-",
    "sk-a",
    "sk-0123456789abcdef.",
    "eyJ",
    "eyJ-",
    "Bearer ",
    "basic b",
    "password=",
    "\"password\":",
    "\"password\":\"",
    "password:'\n",
    "token: ",
    "key=\\\"",
    "key=[",
    "://",
    "://a@",
    ":\\/\\/",
    "%3A%2F%2Fa",
    "a.",
    "a@",
    "a.a@b",
    "a@b.",
    "a@1.1",
    "-----BEGIN ",
    "-----BEGIN A",
    "-----",
    "-a",
    "%25",
    "%2",
    "\\\\",
    "\\\"",
    "\\u0041",
    "+1",
    "+49 ",
    "(555",
    "0170 ",
    "555-",
    "DE00",
    "DE89 ",
    "RU89 ",
    "aB1-",
    "aB1cD2eF3-",
    "a1b2c3d4e5f6/x/y/",
    "a/b/c/",
    "A1",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/",
    "3f2a9c1b5d7e8f903f2a9c1b5d7e8f90",
    "_",
    "=",
    "==",
    ":",
    "'",
    "\"",
    "[",
    "[redacted",
    "[redacted]",
    "<secret>",
    "--token ",
    "Cookie: ",
    "\x1b[",
    "\x1b[0m",
    "\xc3",
    "\xf0\x9f",
    "\xff",
    "0199a213-81c0-7800-8aa1-bbab2a035a53-",
    "aB1_____",
    "k=",
    "a=b&",
    "A",
    "9",
    "4111 ",
    "4111-1111-",
    "411111111111111 ",
    "+49 170 ",
    "+1 (555) ",
    "DE89 3704 0044 0532 0130 00 ",
    "DE89370400440532013001 ",
    "DE89370400440532013001 A",
    "AB12CDEF34567890",
    "AB12 CDEF GHIJ KLMN ",
    ".",
    "-",
    "1.1.",
    "a-b.",
    "eyJhbGciOiJIUzI1NiJ9.",
    "eyJhbGciOiJIUzI1NiJ9.e.e ",
    "Bearer Bearer ",
    "Bearer abc ",
    "basic ",
    "b ",
    "key=key=",
    "key: ",
    "key : \"",
    "token=\"",
    "token token ",
    "password: ",
    "password = \"",
    "apiKey:",
    "apiKey: ",
    "api_key=\\\\\\\"",
    "authorization: Basic ",
    "Cookie: a\n",
    "--key ",
    "<token>",
    "<key>a</key>",
    "@",
    "@@@",
    "a@b ",
    "a.b@c.d ",
    "a+b@",
    "%",
    "%25%25",
    "%40",
    "%2540",
    "%3D%3D",
    "%61",
    "%2B1",
    "%5Cu0041",
    "\\",
    "\\n",
    "\\u",
    "\\u003d",
    "\\u0061",
    "\\\\\\\"",
    "{\"a\":",
    "{\"key\":{",
    "{\"secret\":[",
    "\"\"",
    "''",
    "`",
    "-----BEGIN",
    "-----BEGIN A-----",
    "-----BEGIN A-----x-----END A-----",
    "-----END ",
    "--",
    "://a:b@",
    "://a:b@c ",
    "http://",
    "%3A//",
    "a:b@c/",
    "hooks.slack.com/",
    "hooks.slack.com",
    "s ",
    "sk_live_",
    "sk_live_0",
    "xox",
    "ghp_0123456789abcdefghi ",
    "AKIA0123456789A ",
    "aB1cD2eF3gH4 ",
    "aB1cD2eF3gH4jK5mN6pQ7rS8tU9",
    "aB1cD2eF3gH4jK5mN6pQ7rS8tU9vW0/",
    "aaaaa-1a2b3-",
    "a1b2c3d4e5f6a7b8-",
    "0199a213-81c0-7800-8aa1-bbab2a035a5",
    "0199a213-81c0-7800-8aa1-bbab2a035a53 ",
    "3f2a9c1b5d7e8f903f2a9c1b5d7e8f90/",
    "commit ",
    "sha256:",
    "abcdefghij",
    "the quick brown fox ",
    "\n",
    " ",
    "\t",
    "?",
    "*",
    "key=****",
    "\xc3\xa4",
    "\xe2\x82\xac",
    "\xf0\x9f\x8e\x89",
    "\x80",
    "\x01",
    "\r\n",
    "\x1b",
    "\x1b[31;1",
    "]",
    "[r",
    "[redacted]a",
    "key=[redacted]",
    "key=[[redacted",
    "key=key=[redacted\\",
    "://--key ",
    "%5Bredacted%5D{\"secret\":[",
    "%5Bredacted%5D",
};

#define ATOMS (sizeof(atoms) / sizeof(atoms[0]))

static uint32_t roll(uint32_t *dice, uint32_t below)
{
    *dice ^= *dice << 13;
    *dice ^= *dice >> 17;
    *dice ^= *dice << 5;
    return *dice % below;
}

static void add_atom(struct buf *out, uint32_t *dice)
{
    buf_puts(out, atoms[roll(dice, ATOMS)]);
}

/* Three of them in turn: what one leaves open the next may prolong. */
static void add_rounds(struct buf *out, uint32_t *dice)
{
    const char *round[3];
    for (size_t i = 0; i < 3; i++)
        round[i] = atoms[roll(dice, ATOMS)];
    for (uint32_t times = 1 + roll(dice, 300); times > 0; times--)
        for (size_t i = 0; i < 3; i++)
            buf_puts(out, round[i]);
}

static void add_byte(struct buf *out, uint32_t *dice)
{
    buf_putc(out, (char)roll(dice, 256));
}

static void add_mark(struct buf *out, uint32_t *dice)
{
    static const char marks[] = " \n\"'`\\%[]{}<>()/@.-_+=:;,&?*aZ05";
    buf_putc(out, marks[roll(dice, sizeof(marks) - 1)]);
}

static void add_base64(struct buf *out, uint32_t *dice)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    buf_putc(out, letters[roll(dice, sizeof(letters) - 1)]);
}

/* As long as no secret, with a blank behind. */
static void add_short_base64(struct buf *out, uint32_t *dice)
{
    for (uint32_t len = 1 + roll(dice, 28); len > 0; len--)
        add_base64(out, dice);
    buf_putc(out, ' ');
}

static const struct mix {
    const char *name;
    uint32_t seed;
    void (*add)(struct buf *out, uint32_t *dice);
} mixes[] = {
    { "(mix of all)", 1, add_atom },        { "(another mix)", 77, add_atom },
    { "(rounds of three)", 5, add_rounds }, { "(other rounds of three)", 99, add_rounds },
    { "(random bytes)", 3, add_byte },      { "(random punctuation)", 4, add_mark },
    { "(base64)", 6, add_base64 },          { "(short base64)", 7, add_short_base64 },
};

size_t hostile_text_count(void)
{
    return ATOMS + sizeof(mixes) / sizeof(mixes[0]);
}

const char *hostile_text_name(size_t i)
{
    return i < ATOMS ? atoms[i] : mixes[i - ATOMS].name;
}

void hostile_text_write(struct buf *out, size_t i, size_t len)
{
    size_t wanted = out->len + len;
    uint32_t dice = i < ATOMS ? 0 : mixes[i - ATOMS].seed;
    while (out->len < wanted) {
        if (i < ATOMS)
            buf_puts(out, atoms[i]);
        else
            mixes[i - ATOMS].add(out, &dice);
    }
    out->len = wanted;
}

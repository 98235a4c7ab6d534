/* What the scrubber promises: secrets do not get through, ordinary text does, and no text makes it slow. */
#include "unit.h"

#include "buf.h"
#include "hostile_text.h"
#include "json.h"
#include "redact.h"

#include <ctype.h>
#include <time.h>

#define PIECE 12 /* bytes of a secret that would be too much */

/* ---- texts that are drawn, the same on every run ---- */

static uint32_t dice = 1;

static uint32_t roll(uint32_t below)
{
    dice ^= dice << 13;
    dice ^= dice >> 17;
    dice ^= dice << 5;
    return dice % below;
}

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"
#define ALNUM LOWER UPPER DIGIT
#define BASE64 ALNUM "+/"
#define BASE64_URL ALNUM "-_"
#define HEX DIGIT "abcdef"

static void draw(struct buf *out, const char *letters, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_putc(out, letters[roll((uint32_t)strlen(letters))]);
}

static void draw_card(struct buf *out, const char *head, size_t len)
{
    size_t start = out->len;
    buf_puts(out, head);
    draw(out, DIGIT, len - 1 - strlen(head));
    unsigned sum = 0;
    for (size_t i = 0; i < len - 1; i++) {
        unsigned n = (unsigned)(out->data[out->len - 1 - i] - '0');
        sum += i % 2 == 0 ? (n * 2 > 9 ? n * 2 - 9 : n * 2) : n;
    }
    buf_putc(out, (char)('0' + (10 - sum % 10) % 10));
    assert_int_equal(out->len - start, len);
}

/* ---- the families ---- */

/* `begin` and `end` may get through, the secret between them not: "*" draws a character, "#" a digit. */
static const struct family {
    const char *name;
    const char *begin;
    const char *fixed;   /* the beginning of the secret */
    const char *letters; /* what the rest is drawn from */
    size_t len;
    const char *end;
} families[] = {
    { "OpenAI", "", "sk-", ALNUM, 48, "" },
    { "OpenAI project", "", "sk-proj-", BASE64_URL, 120, "" },
    { "Anthropic", "", "sk-ant-api03-", BASE64_URL, 93, "" },
    { "ours", "", "sk-codex-api-", ALNUM, 40, "" },
    { "JWT", "", "eyJhbGciOiJIUzI1NiJ9.", BASE64_URL, 60, "" },
    { "bearer", "Bearer ", "a1", BASE64_URL, 30, "" },
    { "short bearer", "bearer ", "x7", BASE64_URL, 12, "" },
    { "basic", "Basic ", "dXNlcjpwYXNz", ALNUM, 12, "" },
    { "authorization", "Authorization: ", "Bearer ", LOWER, 24, "" },
    { "proxy authorization", "Proxy-Authorization: ", "Negotiate ", ALNUM, 40, "" },
    { "cookie", "Cookie: ", "theme=dark; sid=", LOWER, 20, "" },
    { "set-cookie", "set-cookie: ", "id=a3fWa; Path=/; Domain=", LOWER, 9, "" },
    { "AWS id", "", "AKIA", UPPER DIGIT, 16, "" },
    { "AWS session id", "", "ASIA", UPPER DIGIT, 16, "" },
    { "AWS secret", "aws_secret_access_key = ", "", BASE64, 40, "" },
    { "AWS secret of JSON", "\"SecretAccessKey\": \"", "", BASE64, 40, "\"" },
    { "Google", "", "AIza", BASE64_URL, 35, "" },
    { "Google OAuth", "", "ya29.", BASE64_URL, 60, "" },
    { "GitHub", "", "ghp_", ALNUM, 36, "" },
    { "GitHub OAuth", "", "gho_", ALNUM, 36, "" },
    { "GitHub fine-grained", "", "github_pat_11ABCDEFG0", ALNUM "_", 60, "" },
    { "GitLab", "", "glpat-", BASE64_URL, 20, "" },
    { "Slack", "", "xoxb-", DIGIT, 24, "" },
    { "Slack user", "", "xoxp-1234567890-", ALNUM, 24, "" },
    { "Slack webhook", "https://", "hooks.slack.com/services/T00000000/B00000000/", ALNUM, 24, "" },
    { "npm", "", "npm_", ALNUM, 36, "" },
    { "Hugging Face", "", "hf_", ALNUM, 34, "" },
    { "Stripe", "", "sk_live_", ALNUM, 24, "" },
    { "Stripe restricted", "", "rk_test_", ALNUM, 24, "" },
    { "URL", "postgres://", "admin:", ALNUM "!$*~._-", 16, "@db.internal:5432/x" },
    { "URL with a token alone", "https://", "", ALNUM, 24, "@git.example/x.git" },
    { "query key", "https://h.example/a?x=1&key=", "", ALNUM, 20, "&y=2" },
    { "query token", "/callback?token=", "", LOWER, 16, "" },
    { "assignment", "password=", "", ALNUM "!$%^*_+~.", 14, "" },
    { "environment", "export DB_PASSWORD=", "", ALNUM "!%^*_+~.", 18, "" },
    { "YAML", "client_secret: ", "", ALNUM, 16, "" },
    { "option", "login --password ", "", ALNUM, 16, " --verbose" },
    { "JSON", "\"password\":\"", "", ALNUM " ,;:{}!", 24, "\"" },
    { "JSON camel case", "\"apiKey\" : \"", "", LOWER, 20, "\"" },
    { "JSON refresh token", "\"refresh_token\":\"", "", BASE64_URL, 30, "\"" },
    { "XML", "<Password>", "", ALNUM, 15, "</Password>" },
    { "header of its own", "x-api-key: ", "", LOWER, 24, "" },
    { "e-mail", "", "jane.doe+x_", LOWER, 8, "@mail.example.org" },
    { "phone", "", "+49 170 12", DIGIT, 5, "" },
    { "American phone", "", "+1 (555) 01", DIGIT, 1, "-4567" },
    { "IBAN", "", "DE89370400440532013000", "", 0, "" },
    { "IBAN in groups", "", "GB29 NWBK 6016 1331 9268 19", "", 0, "" },
    { "hexadecimal", "", "", HEX, 40, "" },
    { "base64", "", "", BASE64, 64, "==" },
    { "base64 of URLs", "", "", BASE64_URL, 43, "" },
};

static struct buf draw_secret(const struct family *f)
{
    struct buf secret = BUF_INIT;
    buf_puts(&secret, f->fixed);
    draw(&secret, f->letters, f->len);
    (void)buf_str(&secret);
    return secret;
}

/* ---- the contexts ---- */

static void as_it_is(struct buf *out, const char *text, size_t len)
{
    buf_append(out, text, len);
}

static void url_encoded(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (isalnum(c) || (c != 0 && strchr("-_.!~*'()", c) != NULL))
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static void quoted_twice(struct buf *out, const char *text, size_t len)
{
    struct buf once = BUF_INIT;
    json_escape(&once, text, len);
    json_escape(out, once.data, once.len);
    buf_free(&once);
}

static const struct context {
    const char *before;
    const char *after;
    void (*put)(struct buf *out, const char *text, size_t len);
} contexts[] = {
    { "", "", as_it_is },
    { "", " was refused by the server", as_it_is },
    { "cannot log in: ", "", as_it_is },
    { "got '", "' from the file", as_it_is },
    { "the value `", "` is wrong", as_it_is },
    { "(", ")", as_it_is },
    { "a,", ",b", as_it_is },
    { "<", ">", as_it_is },
    { ";", ";", as_it_is },
    { "[", "], then", as_it_is },
    { "…", "…", as_it_is },
    { "\x1b[31m", "\x1b[0m", as_it_is },
    { "2026-01-31T12:00:00Z ERROR x::y: ", ": no", as_it_is },
    { "first\n", "\nlast", as_it_is },
    { "first\\n", "\\nlast", json_escape },
    { "{\"message\":\"", "\",\"n\":1}", json_escape },
    { "{\"m\":\"{\\\"x\\\":\\\"", "\\\"}\"}", quoted_twice },
    { "GET /x?q=", "&z=1 HTTP/1.1", url_encoded },
    { "%22", "%22", url_encoded },
};

static const char *piece_that_got_through(const struct buf *out, const char *secret, size_t len)
{
    size_t piece = len < PIECE ? len : PIECE;
    for (size_t i = 0; i + piece <= len; i++)
        if (memmem(out->data, out->len, secret + i, piece) != NULL)
            return secret + i;
    return NULL;
}

static void check_secret(const char *name, const char *begin, const char *secret, const char *end)
{
    for (size_t i = 0; i < COUNT_OF(contexts); i++) {
        const struct context *c = &contexts[i];
        struct buf plain = BUF_INIT;
        struct buf text = BUF_INIT;
        struct buf encoded = BUF_INIT;
        struct buf out = BUF_INIT;
        buf_printf(&plain, "%s%s%s", begin, secret, end);
        buf_puts(&text, c->before);
        c->put(&text, plain.data, plain.len);
        buf_puts(&text, c->after);
        c->put(&encoded, secret, strlen(secret));
        redact_text(&out, text.data, text.len);
        const char *piece = piece_that_got_through(&out, secret, strlen(secret));
        const char *coded = piece_that_got_through(&out, encoded.data, encoded.len);
        if (piece != NULL || coded != NULL)
            fail_msg("%s: %s\n  became %s", name, buf_str(&text), buf_str(&out));
        buf_free(&plain);
        buf_free(&text);
        buf_free(&encoded);
        buf_free(&out);
    }
}

static void test_no_piece_of_a_secret_gets_through_wherever_it_stands(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        const struct family *f = &families[i];
        for (int n = 0; n < 20; n++) {
            struct buf secret = draw_secret(f);
            check_secret(f->name, f->begin, buf_str(&secret), f->end);
            buf_free(&secret);
        }
    }
}

static void test_card_numbers_are_known_by_their_check_digit(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        size_t len;
    } kinds[] = { { "4", 16 }, { "5", 16 }, { "37", 15 }, { "6011", 16 }, { "2221", 16 } };
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        for (int n = 0; n < 20; n++) {
            struct buf card = BUF_INIT;
            draw_card(&card, kinds[i].head, kinds[i].len);
            check_secret("card", "", buf_str(&card), "");
            struct buf grouped = BUF_INIT;
            for (size_t at = 0; at < card.len; at += 4)
                buf_printf(&grouped, "%s%.4s", at == 0 ? "" : "-", card.data + at);
            check_secret("card in groups", "card ", buf_str(&grouped), " 12/30");
            buf_free(&grouped);
            buf_free(&card);
        }
    }
}

static struct buf redacted(const char *text)
{
    struct buf out = BUF_INIT;
    redact_text(&out, text, strlen(text));
    return out;
}

static void check(const char *text, const char *wanted)
{
    struct buf out = redacted(text);
    assert_string_equal(buf_str(&out), wanted);
    buf_free(&out);
}

static void test_what_is_around_a_secret_stays(void **state)
{
    (void)state;
    check("key sk-0123456789abcdef, retry", "key [redacted], retry");
    check("{\"a\":1,\"api_key\":\"x\\\"y\",\"b\":2}",
          "{\"a\":1,\"api_key\":\"[redacted]\",\"b\":2}");
    check("{\\\"token\\\":\\\"abc123def\\\",\\\"b\\\":2}",
          "{\\\"token\\\":\\\"[redacted]\\\",\\\"b\\\":2}");
    check("?a=1&token=abcdef&b=2", "?a=1&token=[redacted]&b=2");
    check("a%3D1%26token%3Dabcdef%26b%3D2", "a%3D1%26token%3D[redacted]%26b%3D2");
    check("http://me:pw@host:1/p?q", "http://[redacted]@host:1/p?q");
    check("curl -H 'Authorization: Bearer x y' http://h",
          "curl -H 'Authorization: [redacted]' http://h");
    check("mail a@b.example now", "mail [redacted] now");
    check("Password: hunter2\nnext", "Password: [redacted]\nnext");
    check("<secret>x</secret>", "<secret>[redacted]</secret>");
    check("{\"credentials\":[\"a\",\"b\"],\"n\":1}", "{\"credentials\":[[redacted]],\"n\":1}");
}

static void test_what_is_no_secret_stays(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "password: null",
        "\"token\": null, \"key\": true",
        "\"api_key\": \"****\"",
        "Authorization: [redacted]",
        "\"max_tokens\": 4096, \"total_tokens\": 123456789",
        "unexpected token: expected an identifier",
        "if (token == TOKEN_END || key == NULL)",
        "Token::Identifier and secret::Key",
        "the key: patience",
        "sort_key=created_at&public_key=none",
        "basic authentication is required",
        "4111111111111112",
        "1767225600123456",
        "git@github.com:owner/repo.git",
        "https://user@localhost/",
        "commit 3f2a9c1b5d7e8f903f2a9c1b5d7e8f903f2a9c1b",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "/objects/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b/x",
        "req_0123456789abcdefABCDEFGH chatcmpl-0123456789abcdefABCDEFGH",
        "0199a213-81c0-7800-8aa1-bbab2a035a53/0199a213-81c0-7800-8aa1-bbab2a035a53",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        check(texts[i], texts[i]);
}

/* ---- PEM ---- */

static const char *const pem[] = {
    "-----BEGIN OPENSSH PRIVATE KEY-----",
    "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW",
    "QyNTUxOQAAACDlongLineOfTheKey",
    "short",
    "-----END OPENSSH PRIVATE KEY-----",
};

static void test_a_pem_block_goes_as_a_whole(void **state)
{
    (void)state;
    check("key:\n-----BEGIN RSA PRIVATE KEY-----\nabc\nshort\n-----END RSA PRIVATE KEY-----\nafter",
          "key:\n[redacted]\nafter");
    check("\"k\":\"-----BEGIN PRIVATE KEY-----\\nabc\\n-----END PRIVATE KEY-----\\n\",\"b\":1",
          "\"k\":\"[redacted]\\n\",\"b\":1");
    check("-----BEGIN%20PRIVATE%20KEY-----%0Aabc%0A-----END%20PRIVATE%20KEY-----%0Ax",
          "[redacted]%0Ax");
    check("-----BEGIN PRIVATE KEY-----\nabc", "[redacted]");
    check("----- BEGIN of the story -----", "----- BEGIN of the story -----");
}

static void test_a_pem_block_goes_line_by_line(void **state)
{
    (void)state;
    for (size_t skipped = 0; skipped <= COUNT_OF(pem); skipped++) {
        struct redact r = { .in_pem = false };
        for (size_t i = 0; i < COUNT_OF(pem); i++) {
            struct buf out = BUF_INIT;
            if (i == skipped) {
                redact_skip(&r, pem[i], strlen(pem[i]));
                continue;
            }
            redact_line(&r, &out, pem[i], strlen(pem[i]));
            assert_string_equal(buf_str(&out), REDACT_MARK);
            buf_free(&out);
            if (skipped == COUNT_OF(pem) - 1 && i == skipped - 1)
                assert_true(r.in_pem);
        }
        struct buf out = BUF_INIT;
        redact_line(&r, &out, LITERAL("after it"));
        assert_string_equal(buf_str(&out), "after it");
        buf_free(&out);
    }
}

static void test_a_pem_block_without_an_end_does_not_last_for_ever(void **state)
{
    (void)state;
    struct redact r = { .in_pem = false };
    size_t lines = 0;
    redact_skip(&r, pem[0], strlen(pem[0]));
    while (r.in_pem) {
        struct buf out = BUF_INIT;
        redact_line(&r, &out, LITERAL("an ordinary line"));
        assert_string_equal(buf_str(&out), REDACT_MARK);
        buf_free(&out);
        lines++;
    }
    assert_in_range(lines, REDACT_PEM_MAX / 16, REDACT_PEM_MAX / 16 + 1);
}

/* ---- ordinary text ---- */

static const char *const benign[] = {
    "2026-01-31T12:34:56.789Z  INFO codex_app_server: listening on stdio",
    "2026-01-31T12:34:56.789123Z DEBUG reqwest::connect: starting new connection: "
    "https://api.openai.com/",
    "Jan 31 12:34:56 host kernel: [12345.678901] usb 1-1: new high-speed USB device number 5",
    "10.0.0.1 - - [31/Jan/2026:12:34:56 +0000] \"GET /v1/models HTTP/1.1\" 200 1234 \"-\" "
    "\"curl/8.5.0\"",
    "{\"timestamp\":\"2026-01-31T12:34:56.789Z\",\"level\":\"info\",\"component\":\"http\","
    "\"event\":\"request\",\"request_id\":\"req_a8Kd02LmZqPw4TnYx7Rb1CsE\",\"status\":200,"
    "\"latency_ms\":1234,\"tokens_prompt\":17}",
    "{\"id\":\"chatcmpl-a8Kd02LmZqPw4TnYx7Rb1CsE\",\"object\":\"chat.completion\",\"created\":"
    "1767225600,\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":12,\"total_tokens\":21}}",
    "thread 0199a213-81c0-7800-8aa1-bbab2a035a53 started, turn "
    "0199a213-9c11-7f02-b1d2-2f0a6f7c1e55",
    "thread 'main' panicked at src/main.rs:42:17: called `Option::unwrap()` on a `None` value",
    "   3: core::panicking::panic_fmt at "
    "/rustc/9fc6b43126469e3858e2fe86cafb4f0fd5068869/library/core/src/panicking.rs:75:14",
    "Error: Cannot find module '/usr/local/lib/node_modules/@openai/codex-linux-x64/vendor/codex'",
    "    at Module._resolveFilename (node:internal/modules/cjs/loader:1225:15)",
    "npm warn deprecated glob@7.2.3: Glob versions prior to v9 are no longer supported",
    "docker pull "
    "ghcr.io/owner/image@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "commit 3f2a9c1b5d7e8f903f2a9c1b5d7e8f903f2a9c1b (HEAD -> main, origin/main)",
    "/var/lib/git/objects/9f86d081884c7d659a2feaa0c55ad015a3bf4f1b/"
    "pack-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b.idx",
    "linux-image-6.1.0-18-amd64 libssl3:amd64 3.0.11-1~deb12u2 x86_64-unknown-linux-musl glibc "
    "2.36",
    "inet 192.168.178.23/24 brd 192.168.178.255 inet6 fe80::a00:27ff:fe4e:66a1/64 scope link",
    "ether 08:00:27:4e:66:a1 txqueuelen 1000, RX packets 123456 bytes 987654321",
    "total 48",
    "drwxr-xr-x 12 root root 4096 Jan 31 12:34 usr",
    "-rw-r--r-- 1 me me 1048576 Jan  1 2026 a.bin",
    "HTTP/1.1 429 Too Many Requests; retry-after: 20; x-request-id: req_a8Kd02LmZqPw4TnYx7Rb1CsE",
    "missing field `model` at line 1 column 345; unknown variant `x`, expected one of `a`, `b`",
    "error[E0308]: mismatched types: expected `Result<Option<String>, Error>`, found `()`",
    "warning: unused variable: `token_count` --> src/lib.rs:10:9",
    "rate limit reached for gpt-6.1-sol in organization on tokens per min (TPM): Limit 30000, Used "
    "29500",
    "This model's maximum context length is 128000 tokens, however you requested 130001 tokens.",
    "int main(void)",
    "{",
    "    for (size_t i = 0; i < count; i++)",
    "        sum += values[i] * 3.14159265358979;",
    "    return sum > 0x7fffffff ? EXIT_FAILURE : EXIT_SUCCESS;",
    "}",
    "const keys = Object.keys(table).filter((key) => key !== 'id' && table[key].length > 0);",
    "def parse(tokens):",
    "    while tokens and tokens[0].kind != Kind.END:",
    "        yield tokens.pop(0)",
    "#define CONTENT_TYPE_APPLICATION_JSON_WITH_CHARSET \"application/json; charset=utf-8\"",
    "SELECT id, created_at FROM sessions WHERE expires_at > now() ORDER BY id LIMIT 50;",
    "static const char *const getHttpResponseHeaderNameFromTheTable(struct headerTable *theTable);",
    "assertThatTheWorkerIsRestartedAfterTheHandshakeHasTimedOut -- ok 12 - 345.678 ms",
    "The quick brown fox jumps over the lazy dog. It was the best of times, it was the worst of "
    "times, it",
    "was the age of wisdom, it was the age of foolishness; the key to the secret garden was under "
    "a stone.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Der "
    "Rechtsschutzversicherungsbeitrag",
    "für Donaudampfschifffahrtsgesellschaftskapitäne steigt am 1.1.2027 um 3,5 % auf 1.234,56 €.",
    "Portez ce vieux whisky au juge blond qui fume. L'été dernier, à la plage, nous étions déjà "
    "là-bas.",
    "El veloz murciélago hindú comía feliz cardillo y kiwi. ¿Dónde está la biblioteca? ¡Mañana!",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Москва, 2026 год.",
    "いろはにほへと ちりぬるを。東京都は日本の首都です。バージョン2.0が公開されました。",
    "我能吞下玻璃而不伤身体。今天天气很好，我们去公园吧。人工智能模型的版本是三点五。",
    "صباح الخير، كيف حالك اليوم؟ שלום עולם. नमस्ते दुनिया। Γειά σου Κόσμε. Xin chào thế giới.",
    "Emoji: 🎉 ✅ → ≤ ½ × “quoted” ‘text’ – dash — long … done",
    "Meeting on 2026-02-14 at 09:30-10:15 UTC, room 4.21, agenda v1.2.3-rc.4+build.567; 1,234,567 "
    "views.",
    "pi=3.14159265358979323846 e=2.71828182845904523536 c=299792458 m/s h=6.62607015e-34",
    "C:\\Users\\name\\AppData\\Local\\Temp\\report-2026-01-31.txt and "
    "/opt/name/.config/codex/config.toml",
    "worker exited: code 101, signal 0, uptime 12345 ms, restart 3 in 250 ms; rss 123456789 bytes",
    "ISBN 978-3-16-148410-0, order no. 2026-000123, § 433 BGB, DIN EN ISO 9001:2015, A4 210x297 mm",
};

static void test_ordinary_text_is_left_alone(void **state)
{
    (void)state;
    size_t altered = 0;
    size_t all = 0;
    for (size_t i = 0; i < COUNT_OF(benign); i++) {
        struct buf out = BUF_INIT;
        const char *line = benign[i];
        size_t len = strlen(line);
        all += len;
        redact_text(&out, line, len);
        size_t marks = 0;
        for (const char *at = buf_str(&out); (at = strstr(at, REDACT_MARK)) != NULL; at++)
            marks++;
        if (out.len != len || memcmp(out.data, line, len) != 0) {
            assert_true(marks != 0); /* nothing else is ever changed in it */
            altered += len - (out.len - marks * strlen(REDACT_MARK));
            print_message("altered: %s\n", buf_str(&out));
        }
        buf_free(&out);
    }
    assert_true(altered * 100 <= all);
}

/* ---- text that is no text ---- */

static bool is_utf8(const struct buf *text)
{
    json_t *value = json_stringn(text->data != NULL ? text->data : "", text->len);
    json_decref(value);
    return value != NULL;
}

static void test_the_result_is_valid_and_harmless_text(void **state)
{
    (void)state;
    check("a\r\x01\x7f\x1b]b\tc\nd", "a????]b\tc\nd");
    check("\xc3\xa4\xc3 \xff \xe2\x82\xac \xf0\x9f\x8e\x89 \xed\xa0\x80 \xc0\xaf \xc2\x9b",
          "\xc3\xa4? ? \xe2\x82\xac \xf0\x9f\x8e\x89 ??? ?? ??");
    for (int n = 0; n < 2000; n++) {
        char noise[200];
        struct buf out = BUF_INIT;
        for (size_t i = 0; i < sizeof(noise); i++)
            noise[i] = (char)roll(256);
        redact_text(&out, noise, sizeof(noise));
        assert_true(is_utf8(&out));
        redact_cut(&out, 100);
        assert_true(out.len <= 100 && is_utf8(&out));
        buf_free(&out);
    }
}

static void test_a_cut_comes_after_the_scrubbing(void **state)
{
    (void)state;
    for (size_t before = 1000; before < 1100; before++) {
        struct buf text = BUF_INIT;
        struct buf out = BUF_INIT;
        for (size_t i = 0; i < before; i++)
            buf_putc(&text, i % 7 == 0 ? ' ' : 'x');
        buf_puts(&text, " sk-0123456789abcdefghijklmnopqrstuvwxyz");
        redact_text(&out, text.data, text.len);
        redact_cut(&out, REDACT_LINE_MAX);
        assert_null(memmem(out.data, out.len, "sk-", 3));
        assert_true(out.len <= REDACT_LINE_MAX);
        buf_free(&text);
        buf_free(&out);
    }
}

/* ---- a second time changes nothing ---- */

static const char *const atoms[] = {
    "sk-",
    "sk-0123456789abcdef",
    "eyJhbGciOiJIUzI1NiJ9",
    "password",
    "token",
    "key",
    "api_key",
    "Cookie",
    "authorization",
    "=",
    ":",
    ": ",
    " = ",
    "\"",
    "'",
    "\\\"",
    "\\\\\\\"",
    "%22",
    "%3D",
    "%3A",
    "%26",
    "&",
    ";",
    ",",
    " ",
    "\n",
    "\\n",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "(",
    ")",
    "/",
    "//",
    "://",
    "@",
    ".",
    "-",
    "_",
    "+",
    "--",
    "a",
    "Ab1",
    "x9",
    "hunter2",
    "user",
    "host.example",
    "Bearer ",
    "Basic ",
    "0123456789",
    "4111111111111111",
    "+49170",
    "1234567",
    "DE89370400440532013000",
    "3f2a9c1b5d7e8f903f2a9c1b5d7e8f90",
    "0199a213-81c0-7800-8aa1-bbab2a035a53",
    "aB3dE6gH9jK2mN5pQ8",
    "git",
    "commit ",
    "-----BEGIN A-----",
    "-----END A-----",
    "-----",
    "\x1b[31m",
    "\xc3\xa4",
    "\xff",
    "[redacted]",
    "[redacted",
    "null",
    "****",
    "\\u0041",
    "%",
    "\\",
    "?",
};

static void test_a_second_time_changes_nothing(void **state)
{
    (void)state;
    for (int n = 0; n < 60000; n++) {
        struct buf text = BUF_INIT;
        struct buf once = BUF_INIT;
        struct buf twice = BUF_INIT;
        for (uint32_t i = 1 + roll(14); i > 0; i--)
            buf_puts(&text, atoms[roll(COUNT_OF(atoms))]);
        redact_text(&once, text.data, text.len);
        redact_text(&twice, once.data, once.len);
        if (once.len != twice.len || memcmp(buf_str(&once), buf_str(&twice), once.len) != 0)
            fail_msg("%s\n became %s\n then   %s", buf_str(&text), buf_str(&once), buf_str(&twice));
        buf_free(&text);
        buf_free(&once);
        buf_free(&twice);
    }
}

/* ---- linear time ---- */

#ifdef __SANITIZE_ADDRESS__ /* ten times slower */
#define LARGE (64 * 1024)
#else
#define LARGE (256 * 1024)
#endif
#define SMALL (LARGE / 4)

static double time_to_redact(size_t i, size_t len)
{
    struct buf text = BUF_INIT;
    double best = 1e9;
    hostile_text_write(&text, i, len);
    for (int run = 0; run < 3; run++) {
        struct buf out = BUF_INIT;
        struct timespec begin;
        struct timespec end;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
        redact_text(&out, text.data, len);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
        double ms =
            (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
        best = ms < best ? ms : best;
        buf_free(&out);
    }
    buf_free(&text);
    return best;
}

static void test_four_times_the_text_takes_four_times_the_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < hostile_text_count(); i++) {
        double small = time_to_redact(i, SMALL);
        double large = time_to_redact(i, LARGE);
        if (large > 8 * small && large > 5) /* below that the clock is too coarse */
            fail_msg("\"%s\": %.1f ms, then %.1f ms for four times the text", hostile_text_name(i),
                     small, large);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_piece_of_a_secret_gets_through_wherever_it_stands),
        cmocka_unit_test(test_card_numbers_are_known_by_their_check_digit),
        cmocka_unit_test(test_what_is_around_a_secret_stays),
        cmocka_unit_test(test_what_is_no_secret_stays),
        cmocka_unit_test(test_a_pem_block_goes_as_a_whole),
        cmocka_unit_test(test_a_pem_block_goes_line_by_line),
        cmocka_unit_test(test_a_pem_block_without_an_end_does_not_last_for_ever),
        cmocka_unit_test(test_ordinary_text_is_left_alone),
        cmocka_unit_test(test_the_result_is_valid_and_harmless_text),
        cmocka_unit_test(test_a_cut_comes_after_the_scrubbing),
        cmocka_unit_test(test_a_second_time_changes_nothing),
        cmocka_unit_test(test_four_times_the_text_takes_four_times_the_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* No piece of a secret gets through the scrubber, whatever its family and wherever it stands. */
#include "unit.h"

#include "buf.h"
#include "drawn_text.h"
#include "json.h"
#include "redact.h"

#include <ctype.h>

#define PIECE 12 /* bytes of a secret that would be too much */

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
    { "Stripe publishable", "", "pk_live_", ALNUM, 24, "" },
    { "Stripe webhook", "", "whsec_", ALNUM, 32, "" },
    { "GitHub server", "", "ghs_", ALNUM, 36, "" },
    { "PyPI", "", "pypi-AgEIcHlwaS5vcmc", BASE64_URL, 80, "" },
    { "DigitalOcean", "", "dop_v1_", HEX, 64, "" },
    { "SendGrid", "", "SG.", BASE64_URL, 66, "" },
    { "Mailgun", "", "key-", LOWER DIGIT, 32, "" },
    { "Square", "", "sq0atp-", BASE64_URL, 22, "" },
    { "Square secret", "", "sq0csp-", BASE64_URL, 43, "" },
    { "Shopify", "", "shpat_", HEX, 32, "" },
    { "coloured", "\x1b[3mpassword\x1b[0m\x1b[2m=\x1b[0m\"", "", ALNUM " ", 20, "\"" },
    { "coloured and weak", "\x1b[3mtoken\x1b[0m\x1b[2m=\x1b[0;1m", "", LOWER, 20, "" },
    { "Telegram", "bot123456789:", "AA", BASE64_URL, 33, "" },
    { "Telegram of a setting", "bot=8234567890:", "AAH", BASE64_URL, 32, "" },
    { "Discord", "", "MTk4NjIyNDgzNDcxOTI1MjQ4.Cl2FMQ.", BASE64_URL, 34, "" },
    { "Discord webhook", "https://", "discord.com/api/webhooks/123456789012345678/", BASE64_URL, 68,
      "" },
    { "age", "", "AGE-SECRET-KEY-1", UPPER DIGIT, 58, "" },
    { "Atlassian", "", "ATATT3xFfGF0", BASE64_URL, 60, "" },
    { "Azure account", "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=", "", BASE64, 86,
      "==;EndpointSuffix=y" },
    { "Azure signature", "https://x.blob.example/c?sv=2024-01-01&sig=", "", ALNUM, 43,
      "%3D&se=2026" },
    { "Azure shared access", "SharedAccessSignature sr=x&sig=", "", ALNUM, 40,
      "%3D&se=1&skn=root" },
    { "mysql", "mysql://", "root:", ALNUM "!$*~._-", 16, "@db:3306/x" },
    { "redis", "redis://", ":", ALNUM, 20, "@cache:6379/0" },
    { "mongodb", "mongodb+srv://", "app:", ALNUM "%", 18, "@c0.example.net/?w=1" },
    { "amqp", "amqps://", "guest:", ALNUM, 14, "@mq:5671/%2f" },
    { "digest", "Authorization: ", "Digest username=\"jane\", realm=\"x\", response=\"", HEX, 32,
      "\"" },
    { "cookie in quotes", "Cookie: ", "a=\"b c\"; theme=dark; id=", LOWER, 20, "" },
    { "X-Api-Key", "X-Api-Key: ", "", ALNUM, 12, "" },
    { "kubeconfig", "    token: ", "", ALNUM, 40, "" },
    { "kubeconfig key", "    client-key-data: ", "LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVkt", ALNUM, 60,
      "" },
    { "docker", "{\"auths\":{\"h\":{\"auth\":\"", "", ALNUM, 24, "\"}}}" },
    { "docker identity", "\"identitytoken\":\"", "", ALNUM, 18, "\"" },
    { "Google service account", "\"private_key\": \"", "-----BEGIN PRIVATE KEY-----\\nMIIEv",
      BASE64, 100, "\\n-----END PRIVATE KEY-----\\n\"" },
    { "PEM", "", "-----BEGIN EC PRIVATE KEY-----\nMHc", BASE64, 70,
      "\n-----END EC PRIVATE KEY-----" },
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
    { "The worker has said ", ".", as_it_is },
    { "said \"", "\".", as_it_is },
    { "X-Debug: ", "\r\nHost: h", as_it_is },
    { "export X=", "\n", as_it_is },
    { "debug:\n  value: ", "\n  other: 1", as_it_is },
    { "<p>", "</p>", as_it_is },
    { "| ", " | 12 |", as_it_is },
    { "_", "_", as_it_is },
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_piece_of_a_secret_gets_through_wherever_it_stands),
        cmocka_unit_test(test_card_numbers_are_known_by_their_check_digit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Ordinary text, which somebody has to read at night, is left alone by the scrubber. */
#include "unit.h"

#include "buf.h"
#include "drawn_text.h"
#include "redact.h"

#define CORPUS_MIN ((size_t)96 * 1024)

/* Lines as they are. */
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

/* Lines with blanks to be filled in: see blanks. */
static const char *const templates[] = {
    "@t  INFO codex_app_server::@w: @w @w finished in @d ms request_id=@u",
    "@t DEBUG hyper_util::client::legacy::pool: reuse idle connection for (\"https\", "
    "api.@w.example)",
    "@t  WARN codex_core::@w: stream disconnected before completion: retrying @d/5 in @dms",
    "@t ERROR codex_core::exec: exec error: Sandbox(Denied { output: ExecToolCallOutput { "
    "exit_code: @d, duration: @fs } })",
    "@t TRACE tokio::runtime::@w: worker=@d polls=@d steals=@d parked=@d mean_poll=@fus",
    "@t  INFO session_loop{thread_id=@u}:turn{turn.id=@u model=gpt-@v}: codex_core::@w: post "
    "sampling token usage total_usage_tokens=@d limit=@d",
    "\x1b["
    "2m@t\x1b["
    "0m \x1b["
    "32m INFO\x1b["
    "0m \x1b["
    "2mcodex_core::@w\x1b["
    "0m\x1b["
    "2m:\x1b["
    "0m @w @w \x1b["
    "3mcount\x1b["
    "0m\x1b["
    "2m=\x1b["
    "0m@d",
    "thread 'tokio-runtime-worker' panicked at core/src/@w/@w.rs:@d:@d: index out of bounds: the "
    "len is @d but the index is @d",
    "  @d: core::ops::function::FnOnce::call_once at "
    "/rustc/@h/library/core/src/ops/function.rs:@d:@d",
    "  @d: 0x@b - <std::sys::backtrace::BacktraceLock::print::DisplayBacktrace as "
    "core::fmt::Display>::fmt::h@b",
    "  File \"/usr/lib/python3.11/site-packages/@w/@w.py\", line @d, in @w_@w",
    "\tat org.@w.@w.@WFactory.get@W(@WFactory.java:@d)",
    "    at async @W.@w (file:///app/node_modules/@w/dist/index.js:@d:@d)",
    "goroutine @d [running]: main.(*@W).@w(0x@b, {0x@b, 0x@d})",
    "commit @h",
    "Author date: @t, parent @s, tree @s, merge base @s",
    " create mode 100644 src/@w/@w_@w.c",
    "index @s..@s 100644",
    "[main @s] @w: @w the @w of the @w",
    "From https://github.com/@w/@w   @s..@s  main -> origin/main",
    "Digest: sha256:@H",
    "@i - - [31/Jan/2026:12:34:56 +0000] \"GET /v1/@w/@u HTTP/1.1\" 200 @d \"-\" \"Mozilla/5.0 "
    "(X11; Linux x86_64)\"",
    "@i:@d -> @i:@d ESTABLISHED, rtt @f ms, retransmits @d",
    "connect to [2001:db8::@d:1]:443 failed: Connection timed out after @d ms",
    "HTTP/1.1 503 Service Unavailable; content-length: @d; date: Sat, 31 Jan 2026 12:34:56 GMT; "
    "server: @w/@v",
    "{\"timestamp\":\"@t\",\"level\":\"info\",\"component\":\"@w\",\"event\":\"@w\",\"request_id\":"
    "\"@r\",\"status\":200,\"latency_ms\":@f,\"tokens\":@d}",
    "{\"id\":@D,\"name\":\"@w\",\"created_at\":@D,\"ratio\":@f,\"tags\":[\"@w\",\"@w\"],\"parent\":"
    "null,\"key\":\"@w\",\"active\":true}",
    "{\"type\":\"thread.started\",\"thread_id\":\"@u\",\"usage\":{\"input_tokens\":@d,\"cached_"
    "input_tokens\":@d,\"output_tokens\":@d}}",
    "    Compiling @w-@w v@v (/srv/build/@w/@w)",
    " Downloaded @w_@w v@v (registry `crates-io`), @d crates in @fs",
    "warning: unused import: `@w::@W` --> src/@w.rs:@d:@d",
    "npm notice New minor version of npm available! @v -> @v",
    "added @d packages, and audited @d packages in @ds; found 0 vulnerabilities",
    "/var/lib/docker/overlay2/@H/merged/usr/bin/@w",
    "/srv/build/.cache/@w/@h/target/release/deps/lib@w-@b.rlib",
    "C:\\Program Files\\@W\\@w-@v\\bin\\@w.exe exited with 0x@b",
    "eth0: link/ether @m brd ff:ff:ff:ff:ff:ff mtu @d qdisc fq_codel state UP",
    "body { color: #@c; background: #@c url(/img/@w-@dx@d.png) no-repeat; margin: @dpx @dpx; }",
    "Invoice 2026-@d: @d items, net EUR @d.@d, VAT 19 %, total $@f, due 2026-02-28",
    "ISBN 978-3-16-148410-0, page @d, chapter @v, volume @d, pp. @d-@d",
    "| @w | @d | @f | @d % | @w @w |",
    "@d @d @d @d @d @d",
    "@f\t@f\t@f\t@f\t@w",
    "The @w of the @w was @w for @d years; the key to it lay with the @w, and nobody had the "
    "password.",
    "Please note: a token is about four characters of English text, so @d tokens are some @d "
    "words.",
    "He said that basic authentication is @w, and that the bearer of this letter is @w the @w.",
    "Access was granted to the session of the @w after a secret ballot; signature: the @w @w.",
    "for (size_t i = @d; i < @w_len && @w[i] != '\\0'; i++) total_@w += (@w[i] & 0x@b) << @d;",
    "fn @w_@w(&mut self, @w: &str) -> Result<Vec<@W>, @WError> { self.@w.get(@w).map(|x| x + "
    "@d).ok_or(@WError::@W)? }",
    "const @w = await fetch(`${base}/@w/${id}?limit=@d&offset=@d&sort=@w`, { method: 'POST' });",
    "def @w_@w(self, *, @w: int = @d, key=None) -> dict[str, list[@W]]: return sorted(self.@w, "
    "key=lambda x: x.@w)[:@d]",
    "SELECT count(*) FROM @w_@w WHERE @w_id = @D AND updated_at BETWEEN '@t' AND '@t' GROUP BY @w;",
    "if token.kind == TokenKind::@W && tokens[@d].span.start < @d { parser.bump(); }",
    "#include <@w/@w_@w.h> // see RFC @d, section @v",
    "export PATH=/usr/local/bin:/usr/bin:/opt/@w/bin LANG=en_US.UTF-8 RUST_LOG=@w=debug COUNT=@d",
    "@w@d.@w.svc.cluster.local:@d/@w/@v?shard=@d&replica=@d",
    "systemd[1]: codex-@w.service: Main process exited, code=exited, status=@d/FAILURE after @dmin "
    "@f s",
    "kernel: [@d.@D] @w[@D]: segfault at 7f@b ip 00007f@b sp 00007f@b error 4 in "
    "lib@w.so[7f@b+@d000]",
    "PING @i: 64 bytes: icmp_seq=@d ttl=64 time=@f ms; rtt min/avg/max = @f/@f/@f ms",
    "test @w::@w::tests::it_@w_the_@w_when_the_@w_is_@w ... ok (@f s)",
    "Uploading artifact @w-@v-x86_64-unknown-linux-gnu.tar.gz (@d KiB, md5 @M)",
    "etag: \"@M\", last-modified: Sat, 31 Jan 2026 12:34:56 GMT, max-age=@d",
    "build @D: checksum @H, duration @d s, exit @d",
};

static const char *const words[] = {
    "server",  "stream", "reader",  "upstream", "worker",  "config",  "parser",   "cache",
    "queue",   "table",  "index",   "account",  "handler", "request", "response", "engine",
    "thread",  "buffer", "socket",  "journal",  "ledger",  "catalog", "turn",     "model",
    "planet",  "garden", "harbour", "window",   "letter",  "morning", "river",    "quiet",
    "ancient", "usual",  "narrow",  "possible",
};

static void put_number(struct buf *out)
{
    buf_putc(out, "123456789"[roll(9)]);
    draw(out, DIGIT, roll(6));
}

static void put_word(struct buf *out)
{
    buf_puts(out, words[roll(COUNT_OF(words))]);
}

static void put_camel(struct buf *out)
{
    for (uint32_t n = 1 + roll(2); n > 0; n--) {
        size_t at = out->len;
        put_word(out);
        out->data[at] = (char)(out->data[at] & ~0x20);
    }
}

static void put_groups(struct buf *out, const char *letters, const char *lens, char between)
{
    for (const char *len = lens; *len != '\0'; len++) {
        if (len != lens)
            buf_putc(out, between);
        draw(out, letters, (size_t)(*len - '0'));
    }
}

static void put_address(struct buf *out)
{
    buf_printf(out, "%u.%u.%u.%u", 1 + roll(254), roll(256), roll(256), 1 + roll(254));
}

static void put_time(struct buf *out)
{
    buf_printf(out, "2026-%02u-%02uT%02u:%02u:%02u.%06uZ", 1 + roll(12), 1 + roll(28), roll(24),
               roll(60), roll(60), roll(1000000));
}

static void put_uuid(struct buf *out)
{
    draw(out, HEX, 4);
    put_groups(out, HEX, "44444", '-');
    draw(out, HEX, 8);
}

static void put_mac(struct buf *out)
{
    put_groups(out, HEX, "222222", ':');
}

static void put_request_id(struct buf *out)
{
    buf_puts(out, "req_");
    draw(out, ALNUM, 24);
}

static void put_ratio(struct buf *out)
{
    buf_printf(out, "%u.%03u", roll(1000), roll(1000));
}

static void put_version(struct buf *out)
{
    buf_printf(out, "%u.%u.%u", roll(20), roll(30), roll(100));
}

/* By the letter behind the @: what is put there, or what letters and how many are drawn. */
static const struct blank {
    char kind;
    void (*put)(struct buf *out);
    const char *letters;
    size_t len;
} blanks[] = {
    { 't', put_time, NULL, 0 },     { 'd', put_number, NULL, 0 },
    { 'f', put_ratio, NULL, 0 },    { 'v', put_version, NULL, 0 },
    { 'w', put_word, NULL, 0 },     { 'W', put_camel, NULL, 0 },
    { 'i', put_address, NULL, 0 },  { 'u', put_uuid, NULL, 0 },
    { 'm', put_mac, NULL, 0 },      { 'r', put_request_id, NULL, 0 },
    { 'D', NULL, "123456789", 10 }, /* id, or seconds */
    { 's', NULL, HEX, 9 },          /* short commit */
    { 'b', NULL, HEX, 8 },          /* of a pointer */
    { 'c', NULL, HEX, 6 },          /* colour */
    { 'M', NULL, HEX, 32 },         { 'h', NULL, HEX, 40 },
    { 'H', NULL, HEX, 64 },
};

static void put_blank(struct buf *out, char kind)
{
    const struct blank *blank = blanks;
    while (blank->kind != kind)
        blank++;
    if (blank->put != NULL)
        blank->put(out);
    else
        draw(out, blank->letters, blank->len);
}

static void fill_in(struct buf *out, const char *template)
{
    for (const char *at = template; *at != '\0'; at++) {
        if (*at == '@')
            put_blank(out, *++at);
        else
            buf_putc(out, *at);
    }
}

struct altered {
    size_t bytes;
    size_t all_bytes;
    size_t lines;
    size_t all_lines;
};

/* What of a line is not shown as it is. A colour becomes a question mark: that is no loss. */
static void look_at(struct altered *a, struct buf *line)
{
    struct buf out = BUF_INIT;
    size_t marks = 0;
    size_t marked = 0;
    redact_text(&out, line->data, line->len);
    for (const char *at = buf_str(&out); (at = strstr(at, REDACT_MARK)) != NULL; at++)
        marks++;
    if (marks != 0) {
        marked = out.len - marks * strlen(REDACT_MARK);
        marked = marked < line->len ? line->len - marked : 0;
        a->lines++;
        print_message("altered: %s\n     was: %s\n", buf_str(&out), buf_str(line));
    } else if (memchr(line->data, '\x1b', line->len) == NULL) {
        assert_int_equal(out.len, line->len); /* nothing else is ever changed */
        assert_memory_equal(out.data, line->data, out.len);
    }
    a->bytes += marked;
    a->all_bytes += line->len;
    a->all_lines++;
    buf_free(&out);
}

static void check_share(const struct altered *a)
{
    print_message("altered: %zu of %zu bytes, %zu of %zu lines\n", a->bytes, a->all_bytes, a->lines,
                  a->all_lines);
    assert_true(a->bytes * 100 <= a->all_bytes);
    assert_true(a->lines * 100 <= a->all_lines);
}

static void test_lines_as_they_are_stay(void **state)
{
    (void)state;
    struct altered a = { 0, 0, 0, 0 };
    for (size_t i = 0; i < COUNT_OF(benign); i++) {
        struct buf line = BUF_INIT;
        buf_puts(&line, benign[i]);
        look_at(&a, &line);
        buf_free(&line);
    }
    check_share(&a);
}

static void test_of_a_day_of_logs_hardly_anything_is_taken_out(void **state)
{
    (void)state;
    struct altered a = { 0, 0, 0, 0 };
    for (size_t i = 0; a.all_bytes < CORPUS_MIN; i++) {
        struct buf line = BUF_INIT;
        fill_in(&line, templates[i % COUNT_OF(templates)]);
        look_at(&a, &line);
        buf_free(&line);
    }
    check_share(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_as_they_are_stay),
        cmocka_unit_test(test_of_a_day_of_logs_hardly_anything_is_taken_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

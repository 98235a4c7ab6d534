/* Encryption of trace files. */
#include "trace_seal.h"

#include "file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define HEX_LEN (2 * KEY_BYTES)
#define TEXT_SIZE (HEX_LEN + 3) /* line end, and one byte that tells a file that is too long */
#define MAGIC "cdxtrce1"        /* with the version of the format; no NUL is written */
#define MAGIC_BYTES 8
#define KEY_ID_BYTES 8
#define HEAD_BYTES (MAGIC_BYTES + KEY_ID_BYTES)

_Static_assert(HEAD_BYTES + NONCE_BYTES + TAG_BYTES == TRACE_SEAL_BYTES, "as trace_seal.h says");

/* Lies in memory of libsodium's: guarded, never swapped, wiped when freed. */
struct trace_seal_key {
    unsigned char bytes[KEY_BYTES];
    unsigned char id[KEY_ID_BYTES]; /* of the key, in each record: tells another key from damage */
};

static void *guarded(size_t size_bytes)
{
    void *memory = sodium_malloc(size_bytes);
    if (memory == NULL)
        abort(); /* out of memory, as in mem.c */
    return memory;
}

static void make_id(struct trace_seal_key *key)
{
    static const char what[] = "codex-api trace key";
    unsigned char hash[crypto_generichash_BYTES];
    crypto_generichash(hash, sizeof(hash), (const unsigned char *)what, sizeof(what) - 1,
                       key->bytes, KEY_BYTES);
    memcpy(key->id, hash, KEY_ID_BYTES);
    sodium_memzero(hash, sizeof(hash));
}

/* ---- the file ---- */

/* Not blocking: it might be a pipe. */
static int open_private(const char *path, char **ret_why)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &st) != 0)
        *ret_why = xasprintf("%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        *ret_why = xasprintf("%s: is not a file", path);
    else if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        *ret_why = xasprintf("%s: others than its owner may use it (mode %03o); chmod 600 it", path,
                             (unsigned)(st.st_mode & 0777));
    else
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool parse(const char *text, size_t len, unsigned char ret[KEY_BYTES])
{
    size_t bytes = 0;
    if (len == HEX_LEN + 1 && text[HEX_LEN] == '\n')
        len--;
    else if (len == HEX_LEN + 2 && memcmp(text + HEX_LEN, "\r\n", 2) == 0)
        len -= 2;
    return len == HEX_LEN && sodium_hex2bin(ret, KEY_BYTES, text, len, NULL, &bytes, NULL) == 0 &&
           bytes == KEY_BYTES;
}

struct trace_seal_key *trace_seal_key_read(const char *path, char **ret_why)
{
    int fd = open_private(path, ret_why);
    if (fd < 0)
        return NULL;
    char *text = guarded(TEXT_SIZE);
    struct trace_seal_key *key = guarded(sizeof(*key));
    ssize_t len = read(fd, text, TEXT_SIZE);
    bool ok = len >= 0 && parse(text, (size_t)len, key->bytes);
    if (len < 0)
        *ret_why = xasprintf("%s: %s", path, strerror(errno));
    else if (!ok)
        *ret_why =
            xasprintf("%s: holds no key: it must be one line of %d hex digits", path, (int)HEX_LEN);
    close(fd);
    sodium_free(text);
    make_id(key);
    if (ok)
        return key;
    trace_seal_key_free(key);
    return NULL;
}

bool trace_seal_key_make(const char *path, char **ret_why)
{
    unsigned char *bytes = guarded(KEY_BYTES);
    char *text = guarded(HEX_LEN + 1);
    randombytes_buf(bytes, KEY_BYTES);
    sodium_bin2hex(text, HEX_LEN + 1, bytes, KEY_BYTES);
    text[HEX_LEN] = '\n';
    bool ok = file_make(path, text, HEX_LEN + 1) || errno == EEXIST;
    if (!ok)
        *ret_why = xasprintf("%s: cannot be made: %s", path, strerror(errno));
    sodium_free(text);
    sodium_free(bytes);
    return ok;
}

void trace_seal_key_free(struct trace_seal_key *key)
{
    sodium_free(key);
}

/* ---- a record: magic, id of the key, nonce, text and tag ---- */

/* What is authenticated beside the text. */
static void write_context(struct buf *out, const struct trace_seal_key *key, const char *name)
{
    buf_append(out, MAGIC, MAGIC_BYTES);
    buf_append(out, key->id, KEY_ID_BYTES);
    buf_puts(out, name);
}

void trace_seal(const struct trace_seal_key *key, const char *name, const char *text, size_t len,
                struct buf *out)
{
    struct buf context = BUF_INIT;
    unsigned char nonce[NONCE_BYTES];
    unsigned long long sealed = 0;
    write_context(&context, key, name);
    randombytes_buf(nonce, sizeof(nonce));
    buf_append(out, context.data, HEAD_BYTES);
    buf_append(out, nonce, sizeof(nonce));
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        (unsigned char *)buf_reserve(out, len + TAG_BYTES), &sealed, (const unsigned char *)text,
        len, (const unsigned char *)context.data, context.len, NULL, nonce, key->bytes);
    assert(sealed == len + TAG_BYTES);
    out->len += sealed;
    buf_free(&context);
}

enum trace_unseal trace_unseal(const struct trace_seal_key *key, const char *name,
                               const char *bytes, size_t len, struct buf *out)
{
    struct buf context = BUF_INIT;
    unsigned long long opened = 0;
    if (len < TRACE_SEAL_BYTES || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0)
        return TRACE_UNSEAL_DAMAGED;
    if (memcmp(bytes + MAGIC_BYTES, key->id, KEY_ID_BYTES) != 0)
        return TRACE_UNSEAL_OTHER_KEY;
    const unsigned char *nonce = (const unsigned char *)bytes + HEAD_BYTES;
    const unsigned char *sealed = nonce + NONCE_BYTES;
    write_context(&context, key, name);
    int rc = crypto_aead_xchacha20poly1305_ietf_decrypt(
        (unsigned char *)buf_reserve(out, len), &opened, NULL, sealed,
        len - HEAD_BYTES - NONCE_BYTES, (const unsigned char *)context.data, context.len, nonce,
        key->bytes);
    buf_free(&context);
    if (rc != 0)
        return TRACE_UNSEAL_DAMAGED;
    out->len += opened;
    return TRACE_UNSEAL_OK;
}

/* Encryption of trace files: one AEAD record a file (XChaCha20-Poly1305), under a key from a file. The name of the file is part of
 * what is authenticated, so files cannot take each other's place. Everything here may be used in any thread. */
#ifndef TRACE_SEAL_H
#define TRACE_SEAL_H

#include "buf.h"
#include "mem.h"

#include <stdbool.h>

#define TRACE_SEAL_BYTES 56 /* that sealing adds */

struct trace_seal_key;

/* Reads the key: 64 hex digits. NULL with a message for people in `ret_why` (owned by the caller) when there is none, or when others
 * than the file's owner may read it. The caller owns the result. */
CHECK_RESULT struct trace_seal_key *trace_seal_key_read(const char *path, char **ret_why);

/* Makes the file with a random key, mode 0600; one that somebody else has made meanwhile stays. False with a message as above. */
CHECK_RESULT bool trace_seal_key_make(const char *path, char **ret_why);

/* Wipes it. Safe on NULL. */
void trace_seal_key_free(struct trace_seal_key *key);

/* Appends the record to `out`. `name` is that of the file. */
void trace_seal(const struct trace_seal_key *key, const char *name, const char *text, size_t len,
                struct buf *out);

enum trace_unseal {
    TRACE_UNSEAL_OK,
    TRACE_UNSEAL_OTHER_KEY, /* it is a record, of another key */
    TRACE_UNSEAL_DAMAGED    /* cut off, changed, or under another name */
};

/* Appends the text to `out`, which is as before unless all is well. */
CHECK_RESULT enum trace_unseal trace_unseal(const struct trace_seal_key *key, const char *name,
                                            const char *bytes, size_t len, struct buf *out);

#endif

/* One trace file. */
#include "trace_file.h"

#include "file.h"
#include "json.h"
#include "trace_seal.h"

#include <errno.h>
#include <stdlib.h>

static char *path_of(const char *folder, const struct trace_name *name)
{
    return xasprintf("%s/%s", folder, name->text);
}

static bool write_bytes(const char *folder, const struct trace_name *name, const struct buf *bytes)
{
    char *path = path_of(folder, name);
    bool ok = file_replace_unsynced(path, bytes->data, bytes->len);
    if (!ok && errno == ENOENT) /* somebody has removed the folder */
        ok = file_make_folder(folder) && file_replace_unsynced(path, bytes->data, bytes->len);
    int error = errno;
    free(path);
    errno = error;
    return ok;
}

bool trace_file_write(const char *folder, const struct trace_name *name,
                      const struct trace_seal_key *key, const char *text, size_t len)
{
    struct buf bytes = BUF_INIT;
    buf_reserve(&bytes, len + TRACE_SEAL_BYTES);
    if (name->sealed)
        trace_seal(key, name->text, text, len, &bytes);
    else
        buf_append(&bytes, text, len);
    bool ok = write_bytes(folder, name, &bytes);
    int error = errno;
    buf_free(&bytes);
    errno = error;
    return ok;
}

static enum trace_read unseal(const struct trace_name *name, const struct trace_seal_key *key,
                              const struct buf *bytes, struct buf *ret)
{
    switch (trace_unseal(key, name->text, bytes->data, bytes->len, ret)) {
    case TRACE_UNSEAL_OK:
        return TRACE_READ_OK;
    case TRACE_UNSEAL_OTHER_KEY:
        return TRACE_READ_OTHER_KEY;
    case TRACE_UNSEAL_DAMAGED:
        break;
    }
    return TRACE_READ_DAMAGED;
}

enum trace_read trace_file_read(const char *folder, const struct trace_name *name,
                                const struct trace_seal_key *key, struct buf *ret)
{
    struct buf bytes = BUF_INIT;
    enum trace_read result = TRACE_READ_FAILED;
    if (name->sealed && key == NULL)
        return TRACE_READ_NO_KEY;
    char *path = path_of(folder, name);
    if (!file_read(path, &bytes, TRACE_FILE_BYTES_MAX + TRACE_SEAL_BYTES))
        result = errno == ENOENT ? TRACE_READ_NONE : TRACE_READ_FAILED;
    else if (name->sealed)
        result = unseal(name, key, &bytes, ret);
    else
        result = TRACE_READ_OK;
    int error = errno;
    if (result == TRACE_READ_OK && !name->sealed)
        buf_append(ret, bytes.data, bytes.len);
    if (result == TRACE_READ_OK && !json_is_object_text(ret->data, ret->len))
        result = TRACE_READ_DAMAGED;
    buf_free(&bytes);
    free(path);
    errno = error;
    return result;
}

const char *trace_read_words(enum trace_read result)
{
    switch (result) {
    case TRACE_READ_OK:
        break;
    case TRACE_READ_NONE:
        return "is not there";
    case TRACE_READ_FAILED:
        return "cannot be read";
    case TRACE_READ_NO_KEY:
        return "is encrypted, and there is no key: see PROXY_TRACE_KEY_FILE";
    case TRACE_READ_OTHER_KEY:
        return "is encrypted with another key than that of PROXY_TRACE_KEY_FILE";
    case TRACE_READ_DAMAGED:
        return "is damaged";
    }
    return "is well";
}

/* The two keys of the settings: given as text, or in a file of their own. */
#include "key_sources.h"

#include "access_key.h"
#include "config.h"
#include "file.h"
#include "key_command.h"
#include "keyring.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct key_source {
    const char *text;    /* borrowed: or NULL, then it is in a file */
    const char *file;    /* borrowed: or NULL, then it is `name` in CODEX_HOME */
    const char *name;    /* static */
    const char *setting; /* static: of the file */
};

static struct key_source client_source(const struct config *c)
{
    return (struct key_source){ c->api_key, c->api_key_file, "api-key", "PROXY_API_KEY_FILE" };
}

static struct key_source admin_source(const struct config *c)
{
    return (struct key_source){ c->admin_key, c->admin_key_file, "admin-key",
                                "PROXY_ADMIN_KEY_FILE" };
}

/* The folder may be closed to others, or the file be one of a container's secrets. */
static void tell_of_exposed(const struct key_source *source, const char *path,
                            key_sources_exposed *on_exposed, void *ctx)
{
    char text[8];
    unsigned mode = access_key_exposed(path);
    snprintf(text, sizeof(text), "%03o", mode);
    if (mode != 0)
        on_exposed(ctx, source->setting, path, text);
}

typedef bool read_file(const char *path, struct buf *ret, char **ret_why);

static bool read_key(const struct key_source *source, const char *home, read_file *read,
                     struct buf *ret, key_sources_exposed *on_exposed, void *ctx, char **ret_why)
{
    char *why = NULL;
    if (source->text != NULL) {
        buf_puts(ret, source->text);
        return true;
    }
    char *path =
        source->file != NULL ? xstrdup(source->file) : xasprintf("%s/%s", home, source->name);
    bool ok = read(path, ret, &why);
    if (ok)
        tell_of_exposed(source, path, on_exposed, ctx);
    else
        *ret_why = xasprintf("%s: %s", source->setting, why);
    free(why);
    free(path);
    return ok;
}

bool key_sources_read(const struct config *config, const char *home, struct buf *ret_client,
                      struct buf *ret_admin, key_sources_exposed *on_exposed, char **ret_why)
{
    const struct key_source client = client_source(config);
    const struct key_source admin = admin_source(config);
    return read_key(&client, home, access_key_from_file, ret_client, on_exposed, NULL, ret_why) &&
           read_key(&admin, home, access_key_from_file, ret_admin, on_exposed, NULL, ret_why);
}

void key_sources_wipe(struct buf *key)
{
    if (key->data != NULL)
        sodium_memzero(key->data, key->cap);
    buf_free(key);
}

/* ---- without a start ---- */

static void warn_of_exposed(void *ctx, const char *setting, const char *path, const char *mode)
{
    FILE *complaints = ctx;
    fprintf(complaints, "warning: %s: others may use the key file %s: its mode is %s\n", setting,
            path, mode);
}

/* In the words of a start. */
static int complain(FILE *complaints, char *why)
{
    fprintf(complaints, "codex-api: %s\n", why);
    free(why);
    return 1;
}

/* The key is empty when there is none, or it is wrong. */
static int check_key(const struct key_source *source, const char *home, struct buf *ret,
                     FILE *complaints)
{
    char *why = NULL;
    if (read_key(source, home, access_key_if_there, ret, warn_of_exposed, complaints, &why))
        return 0;
    buf_clear(ret);
    return complain(complaints, why);
}

static const char *text_or_null(struct buf *key)
{
    return key->len != 0 ? buf_str(key) : NULL;
}

static int check_together(const struct config *c, struct buf *client, struct buf *admin,
                          FILE *complaints)
{
    struct keyring_texts texts = { text_or_null(client), text_or_null(admin) };
    char *why = NULL;
    if (c->api_key != NULL && c->admin_key != NULL)
        texts.client = NULL; /* config_load has compared them */
    char *path = key_command_path(c, c->codex_home);
    struct keyring *ring = keyring_load(path, 0, 0, &texts, &why);
    free(path);
    if (ring == NULL)
        return complain(complaints, why);
    keyring_free(ring);
    return 0;
}

int key_sources_check(const struct config *config, FILE *complaints)
{
    const struct key_source sources[] = { client_source(config), admin_source(config) };
    struct buf client = BUF_INIT;
    struct buf admin = BUF_INIT;
    int wrong = check_key(&sources[0], config->codex_home, &client, complaints);
    wrong += check_key(&sources[1], config->codex_home, &admin, complaints);
    wrong += check_together(config, &client, &admin, complaints);
    key_sources_wipe(&client);
    key_sources_wipe(&admin);
    return wrong;
}

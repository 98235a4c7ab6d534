/* What tokens cost, by a file of prices. */
#include "prices.h"

#include "file.h"
#include "json.h"
#include "lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct price {
    char *model; /* owned */
    double input;
    double cached_input; /* negative: as input */
    double output;       /* negative while it was not seen */
};

struct prices {
    struct price *list; /* owned; sorted by model */
    size_t count;
};

/* What is being read. */
struct reading {
    const char *path;       /* borrowed */
    const struct buf *text; /* borrowed: valid JSON */
    char **ret_why;
};

/* ---- where things are, for messages: jansson does not keep it ---- */

/* Behind the string that begins at `at`, with its quotes. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\';
    return at + 1;
}

/* The line of the `number`-th member, from 0, of the outermost object: a string that a colon follows, at the first level. */
static size_t line_of_member(const struct buf *text, size_t number)
{
    const char *end = text->data + text->len;
    int depth = 0;
    for (const char *at = text->data; at < end; at++) {
        depth += *at == '{' || *at == '[';
        depth -= *at == '}' || *at == ']';
        if (*at != '"')
            continue;
        const char *behind = skip_string(at, end);
        size_t blank = strspn(behind, " \t\r\n");
        if (depth == 1 && behind[blank] == ':' && number-- == 0)
            return 1 + lines_count(text->data, (size_t)(at - text->data));
        at = behind - 1;
    }
    return 0;
}

/* ---- the file ---- */

static bool is_name(const char *model)
{
    size_t len = strlen(model);
    for (const char *c = model; *c != '\0'; c++)
        if (*c <= ' ' || *c > '~')
            return false;
    return len >= 1 && len <= PRICES_MODEL_MAX;
}

static bool wrong(const struct reading *r, size_t number, const char *model, const char *what)
{
    size_t line = line_of_member(r->text, number);
    *r->ret_why = is_name(model)
                      ? xasprintf("%s: line %zu: model %s: %s", r->path, line, model, what)
                      : xasprintf("%s: line %zu: %s", r->path, line, what);
    return false;
}

/* Where the price of that name goes, or NULL. */
static double *place_of(struct price *p, const char *name)
{
    if (strcmp(name, "input") == 0)
        return &p->input;
    if (strcmp(name, "cached_input") == 0)
        return &p->cached_input;
    return strcmp(name, "output") == 0 ? &p->output : NULL;
}

/* Returns what is wrong with the prices of a model, or NULL. */
static const char *take_prices(struct price *ret, const json_t *prices)
{
    const char *name = NULL;
    json_t *value = NULL;
    if (!json_is_object(prices))
        return "its prices must be an object";
    json_object_foreach((json_t *)(uintptr_t)prices, name, value)
    {
        double *place = place_of(ret, name);
        double number = json_number_value(value);
        if (place == NULL)
            return "only input, cached_input and output have prices";
        if (!json_is_number(value) || !(number >= 0 && number <= PRICES_MOST))
            return "a price is a number from 0 to 1000000";
        *place = number;
    }
    return ret->input < 0 || ret->output < 0 ? "needs the prices input and output" : NULL;
}

static bool take_model(const struct reading *r, struct prices *prices, const char *model,
                       const json_t *value)
{
    struct price price = { .input = -1, .cached_input = -1, .output = -1 };
    if (!is_name(model))
        return wrong(r, prices->count, model,
                     "the name of a model is 1 to 63 printable characters without spaces");
    if (prices->count == PRICES_MODELS_MAX)
        return wrong(r, prices->count, model, "more than 1000 models");
    const char *what = take_prices(&price, value);
    if (what != NULL)
        return wrong(r, prices->count, model, what);
    price.model = xstrdup(model);
    prices->list[prices->count++] = price;
    return true;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct price *)a)->model, ((const struct price *)b)->model);
}

static struct prices *take_all(const struct reading *r, json_t *root)
{
    const char *model = NULL;
    json_t *value = NULL;
    struct prices *prices = xcalloc(1, sizeof(*prices));
    prices->list = xcalloc(PRICES_MODELS_MAX, sizeof(*prices->list));
    json_object_foreach(root, model, value)
    {
        if (!take_model(r, prices, model, value)) {
            prices_free(prices);
            return NULL;
        }
    }
    qsort(prices->list, prices->count, sizeof(*prices->list), compare);
    return prices;
}

/* What jansson says of an error quotes the file, which may be a wrong one: a file of keys. */
static char *describe(const char *path, const json_error_t *error)
{
    bool twice = json_error_code(error) == json_error_duplicate_key;
    return xasprintf("%s: line %d: %s", path, error->line,
                     twice ? "a name is there twice" : "is not JSON");
}

static struct prices *parse(const char *path, const struct buf *text, char **ret_why)
{
    json_error_t error;
    struct prices *prices = NULL;
    const struct reading r = { path, text, ret_why };
    json_t *root = json_loadb(text->data, text->len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        *ret_why = describe(path, &error);
    else if (!json_is_object(root))
        *ret_why = xasprintf("%s: must be an object of models", path);
    else
        prices = take_all(&r, root);
    json_decref(root);
    return prices;
}

/* A pipe or a device could keep the loop waiting. */
static bool is_file(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    return S_ISREG(st.st_mode);
}

struct prices *prices_load(const char *path, char **ret_why)
{
    struct prices *prices = NULL;
    struct buf text = BUF_INIT;
    if (is_file(path) && file_read(path, &text, PRICES_FILE_MAX)) {
        (void)buf_str(&text); /* a NUL ends it, for strspn */
        prices = parse(path, &text, ret_why);
    } else {
        *ret_why = xasprintf("cannot be read: %s", strerror(errno)); /* the path may be anything */
    }
    buf_free(&text);
    return prices;
}

void prices_free(struct prices *prices)
{
    if (prices == NULL)
        return;
    for (size_t i = 0; i < prices->count; i++)
        free(prices->list[i].model);
    free(prices->list);
    free(prices);
}

size_t prices_count(const struct prices *prices)
{
    return prices->count;
}

bool prices_cost(const struct prices *prices, const char *model, const struct token_counts *tokens,
                 double *ret_usd)
{
    struct price wanted = { .model = (char *)(uintptr_t)model };
    if (prices == NULL)
        return false;
    const struct price *p =
        bsearch(&wanted, prices->list, prices->count, sizeof(*prices->list), compare);
    if (p == NULL)
        return false;
    /* The upstream's counts are its own affair; a cost is never negative. */
    int64_t cached = tokens->cached < tokens->prompt ? tokens->cached : tokens->prompt;
    double cached_input = p->cached_input >= 0 ? p->cached_input : p->input;
    *ret_usd = ((double)(tokens->prompt - cached) * p->input + (double)cached * cached_input +
                (double)tokens->completion * p->output) /
               1e6;
    return true;
}

/* The schema of an answer: whether strict mode takes it, and what of it can be made so that it does. */
#include "schema.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NO_INDEX SIZE_MAX
#define NAME_SHOWN_MAX 40  /* bytes of a client's name in a message */
#define PATH_SHOWN_MAX 240 /* bytes of a path; of a longer one the end is shown */
#define FAULT_MAX 200      /* bytes of what is said of the fault itself */
#define NOTE_MAX 200       /* bytes of the value of a constraint that is told in a description */

/* Where in the schema the walk is: a chain on the stack. */
struct place {
    const struct place *up; /* borrowed; NULL at the root */
    const char *keyword;    /* borrowed; NULL at the root */
    const char *name;       /* borrowed: of a property or definition; NULL if there is none */
    size_t index;           /* of a branch; NO_INDEX if there is none */
    int depth;              /* schemas around this one */
    int levels;             /* objects and arrays around this one */
};

struct walk {
    const json_t *root;      /* borrowed */
    const char *param;       /* borrowed */
    struct api_error *error; /* borrowed */
    size_t properties, enum_values, text;
};

/* jansson iterates over what could be changed, also when it is not. */
static json_t *iterable(const json_t *value)
{
    return (json_t *)(uintptr_t)value;
}

/* ---- faults and their places ---- */

static struct place inside(const struct place *up, const char *keyword, const char *name,
                           size_t index)
{
    return (struct place){ up, keyword, name, index, up->depth + 1, up->levels };
}

/* The beginning of a client's text, without controls and what turns or hides the text around it. */
static const char *shown(char ret[NAME_SHOWN_MAX + 4], const char *text)
{
    size_t len = strnlen(text, NAME_SHOWN_MAX + 1);
    bool cut = len > NAME_SHOWN_MAX;
    for (len -= cut; cut && len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80; len--)
        ;
    memcpy(ret, text, len);
    memcpy(ret + len, cut ? "..." : "", cut ? 4 : 1);
    for (unsigned char *at = (unsigned char *)ret; *at != '\0'; at++) {
        bool c1 = at[0] == 0xC2 && at[1] < 0xA0;                       /* U+0080 to U+009F */
        bool format = at[0] == 0xE2 && (at[1] == 0x80 || at[1] == 0x81); /* U+2000 to U+207F */
        if (c1 || format)
            memset(at, '?', c1 ? 2 : 3);
        else if (*at < 0x20 || *at == 0x7F)
            *at = '?';
    }
    return ret;
}

static void put_path(struct buf *out, const struct place *at)
{
    if (at->up == NULL) {
        buf_putc(out, '$');
        return;
    }
    char name[NAME_SHOWN_MAX + 4];
    put_path(out, at->up);
    buf_printf(out, ".%s", at->keyword);
    if (at->name != NULL && *at->name != '\0' && strpbrk(at->name, " .[]\"'\\") == NULL)
        buf_printf(out, ".%s", shown(name, at->name));
    else if (at->name != NULL)
        buf_printf(out, "[\"%s\"]", shown(name, at->name));
    if (at->index != NO_INDEX)
        buf_printf(out, "[%zu]", at->index);
}

__attribute__((format(printf, 3, 4))) static bool fault(struct walk *w, const struct place *at,
                                                        const char *format, ...)
{
    char what[FAULT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    struct buf path = BUF_INIT;
    put_path(&path, at);
    const char *from = buf_str(&path);
    bool cut = path.len > PATH_SHOWN_MAX;
    if (cut)
        from += path.len - PATH_SHOWN_MAX;
    while (((unsigned char)*from & 0xC0) == 0x80)
        from++;
    api_error_bad(w->error, "invalid_json_schema", w->param, "Invalid schema for %s: in %s%s, %s.",
                  w->param, cut ? "$..." : "", from, what);
    buf_free(&path);
    return false;
}

/* ---- the words of JSON Schema ---- */

static bool is_any(const json_t *value)
{
    return value != NULL;
}

static bool is_none(const json_t *value)
{
    return value == NULL;
}

static bool is_number(const json_t *value)
{
    return json_is_number(value);
}

static bool is_one_of(const char *text, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return true;
    return false;
}

static bool is_format(const json_t *value)
{
    static const char *const formats[] = { "date-time", "time", "date", "duration", "email",
                                           "hostname",  "ipv4", "ipv6", "uuid" };
    return json_is_string(value) && is_one_of(json_string_value(value), formats, COUNT(formats));
}

/* A pattern that looks around, as that of zod's email(), is refused upstream. */
static bool is_pattern(const json_t *value)
{
    bool in_class = false;
    const char *at = json_string_value(value);
    for (; at != NULL && *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0') {
            at++;
            continue;
        }
        in_class = *at == '[' || (in_class && *at != ']');
        if (!in_class && strncmp(at, "(?", 2) == 0) {
            const char *look = at + 2 + (at[2] == '<'); /* (?<name> is a group */
            if (*look == '=' || *look == '!')
                return false;
        }
    }
    return at != NULL;
}

/* Keywords of one fate; those in no row are annotations, which strict mode passes over and the making
 * drops. */
struct words {
    bool (*checked)(const json_t *); /* whether strict mode takes this value */
    bool (*copied)(const json_t *);  /* whether the making copies this value as it is */
    bool told;                       /* what is not copied is told in the description */
    bool stuck;                      /* no strict schema says this: it cannot be made */
    const char *wanted;              /* said of values that the check does not take */
    const char *names[24];
};

static const struct words rows[] = {
    { is_any, is_none, false, false, "",
      { "$ref", "additionalProperties", "anyOf", "items", "properties", "required", "type" } },
    { is_none, is_none, false, false, "is not permitted", { "allOf", "oneOf" } },
    { is_any, is_any, false, false, "", { "const", "enum" } },
    { is_number, is_number, true, false, "has to be a number",
      { "exclusiveMaximum", "exclusiveMinimum", "maxItems", "maximum", "minItems", "minimum",
        "multipleOf" } },
    { is_format, is_format, true, false,
      "has to be date-time, time, date, duration, email, hostname, ipv4, ipv6 or uuid",
      { "format" } },
    { is_pattern, is_pattern, true, false, "has to be a string without regex lookaround",
      { "pattern" } },
    /* Measured to be taken, documented to be "possibly" refused. */
    { is_any, is_none, true, false, "",
      { "contentEncoding", "contentMediaType", "default", "maxLength", "minLength" } },
    { is_none, is_none, true, false, "is not permitted",
      { "contentSchema", "maxProperties", "minProperties", "uniqueItems" } },
    { is_any, is_none, false, true, "", { "$dynamicRef", "$recursiveRef" } },
    { is_none, is_none, false, true, "is not permitted",
      { "additionalItems",   "contains",         "dependencies",          "dependentRequired",
        "dependentSchemas",  "else",             "if",                    "maxContains",
        "minContains",       "not",              "patternProperties",     "prefixItems",
        "propertyNames",     "then",             "unevaluatedItems",      "unevaluatedProperties" } },
};

static const struct words annotation = { is_any, is_none, false, false, "", { NULL } };

static const struct words *find_words(const char *name)
{
    for (size_t i = 0; i < COUNT(rows); i++)
        for (const char *const *word = rows[i].names; *word != NULL; word++)
            if (strcmp(*word, name) == 0)
                return &rows[i];
    return &annotation;
}

static const char *const type_names[] = { "object", "array",   "string", "number",
                                          "integer", "boolean", "null" };
enum type {
    OBJECT = 1 << 0,
    ARRAY = 1 << 1,
    STRING = 1 << 2,
    NUMBER = 1 << 3,
    INTEGER = 1 << 4,
    BOOLEAN = 1 << 5,
    NIL = 1 << 6,
};

/* The types that a schema names, as bits; 0 when it names none, or one that does not exist. */
static unsigned types_named(const json_t *type)
{
    unsigned types = 0;
    for (size_t i = 0; i < json_array_size(type); i++) {
        const json_t *name = json_array_get(type, i);
        unsigned one = json_is_array(name) ? 0 : types_named(name);
        types |= one;
        if (one == 0)
            return 0;
    }
    for (size_t i = 0; json_is_string(type) && i < COUNT(type_names); i++)
        if (strcmp(json_string_value(type), type_names[i]) == 0)
            types = 1U << i;
    return types;
}

/* The narrowest type of a value. */
static unsigned type_of(const json_t *value)
{
    static const unsigned types[] = {
        [JSON_OBJECT] = OBJECT,   [JSON_ARRAY] = ARRAY, [JSON_STRING] = STRING,
        [JSON_INTEGER] = INTEGER, [JSON_REAL] = NUMBER, [JSON_TRUE] = BOOLEAN,
        [JSON_FALSE] = BOOLEAN,   [JSON_NULL] = NIL,
    };
    return types[json_typeof(value)];
}

static size_t characters(const char *text)
{
    size_t count = 0;
    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

/* The names in `required` as the keys of a new object; NULL when it is no list of names. */
static json_t *names_in(const json_t *required)
{
    json_t *names = json_object();
    for (size_t i = 0; i < json_array_size(required); i++) {
        const json_t *name = json_array_get(required, i);
        const char *text = json_string_value(name);
        if (text == NULL || strlen(text) != json_string_length(name) ||
            json_object_set_new(names, text, json_true()) != 0) {
            json_decref(names);
            return NULL;
        }
    }
    if (required == NULL || json_is_array(required))
        return names;
    json_decref(names);
    return NULL;
}

/* The first key of `a` that `b` does not have; NULL if it has them all. */
static const char *first_not_in(const json_t *a, const json_t *b)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(iterable(a), key, value)
    {
        if (json_object_get(b, key) == NULL)
            return key;
    }
    return NULL;
}

/* What a reference points to: the root or one of its definitions. NULL for every other reference, which
 * upstream refuses. */
static const json_t *referenced(const json_t *root, const json_t *ref)
{
    static const char *const maps[] = { "$defs", "definitions" };
    const char *text = json_string_value(ref);
    if (text == NULL || strlen(text) != json_string_length(ref))
        return NULL;
    if (strcmp(text, "#") == 0)
        return root;
    for (size_t i = 0; i < COUNT(maps); i++) {
        size_t len = strlen(maps[i]);
        if (strncmp(text, "#/", 2) == 0 && strncmp(text + 2, maps[i], len) == 0 &&
            text[2 + len] == '/')
            return json_object_get(json_object_get(root, maps[i]), text + 3 + len);
    }
    return NULL;
}

/* ---- checking ---- */

static bool check(struct walk *w, const json_t *schema, struct place at); /* schemas hold schemas */

static bool check_map(struct walk *w, const json_t *map, const char *keyword,
                      const struct place *at)
{
    const char *name = NULL;
    json_t *schema = NULL;
    json_object_foreach(iterable(map), name, schema)
    {
        w->text += characters(name);
        if (!check(w, schema, inside(at, keyword, name, NO_INDEX)))
            return false;
    }
    return true;
}

static bool check_required(struct walk *w, const json_t *schema, const struct place *at)
{
    static const char rule[] = "'required' has to be an array of every key in 'properties'";
    const json_t *properties = json_object_get(schema, "properties");
    json_t *names = names_in(json_object_get(schema, "required"));
    if (names == NULL)
        return fault(w, at, "%s", rule);
    char text[NAME_SHOWN_MAX + 4];
    const char *missing = first_not_in(properties, names);
    const char *extra = first_not_in(names, properties);
    bool fine = missing == NULL && extra == NULL;
    if (!fine)
        fault(w, at, "%s and of no other: '%s' is %s", rule,
              shown(text, missing != NULL ? missing : extra),
              missing != NULL ? "missing" : "no property");
    json_decref(names);
    return fine;
}

static bool check_object(struct walk *w, const json_t *schema, const struct place *at)
{
    const json_t *properties = json_object_get(schema, "properties");
    if (!json_is_false(json_object_get(schema, "additionalProperties")))
        return fault(w, at, "'additionalProperties' is required to be supplied and to be false");
    if (!json_is_object(properties))
        return fault(w, at, "'properties' is required to be supplied and to be an object");
    w->properties += json_object_size(properties);
    if (w->properties > SCHEMA_PROPERTIES_MAX)
        return fault(w, at, "the schema has more than %d properties in total",
                     SCHEMA_PROPERTIES_MAX);
    return check_required(w, schema, at) && check_map(w, properties, "properties", at);
}

static bool check_values(struct walk *w, const json_t *schema, unsigned types,
                         const struct place *at)

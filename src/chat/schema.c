/* The schema of an answer: whether strict mode takes it, and how one is made that it takes. */
#include "schema.h"

#include "utf8.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define NO_INDEX SIZE_MAX
#define NAME_SHOWN_MAX 40 /* bytes of a client's name in a message */
#define FAULT_MAX 240     /* bytes of what is said of a fault */
#define NOTE_MAX 200      /* bytes of the value of a constraint that is told in a description */

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

static const char *const definitions[] = { "$defs", "definitions" };

/* jansson iterates over what could be changed, also when it is not. */
static json_t *iterable(const json_t *value)
{
    return (json_t *)(uintptr_t)value;
}

/* Takes the values in `value`, itself included, off `left`. False when there are more. */
static bool fits(const json_t *value, size_t *left)
{
    const char *name = NULL;
    json_t *member = NULL;
    if (*left == 0)
        return false;
    --*left;
    json_object_foreach(iterable(value), name, member)
    {
        if (!fits(member, left))
            return false;
    }
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!fits(json_array_get(value, i), left))
            return false;
    return true;
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
    if (cut)
        len = utf8_cut(text, NAME_SHOWN_MAX);
    memcpy(ret, text, len);
    memcpy(ret + len, cut ? "..." : "", cut ? 4 : 1);
    for (unsigned char *at = (unsigned char *)ret; *at != '\0'; at++) {
        if (at[0] == 0xC2 && at[1] < 0xA0) /* U+0080 to U+009F */
            memset(at, '?', 2);
        else if (at[0] == 0xE2 && (at[1] & 0xFE) == 0x80) /* U+2000 to U+207F */
            memset(at, '?', 3);
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
    api_error_bad(w->error, "invalid_json_schema", w->param,
                  "Invalid schema for %s: %s. Found at %s", w->param, what, buf_str(&path));
    buf_free(&path);
    return false;
}

/* ---- the words of JSON Schema ---- */

/* A string as C has it; NULL for everything else, strings with U+0000 among it. */
static const char *word(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && strlen(text) == json_string_length(value) ? text : NULL;
}

static bool is_number(const json_t *value)
{
    return json_is_number(value);
}

static bool is_format(const json_t *value)
{
    static const char *const formats[] = { "date-time", "time", "date", "duration", "email",
                                           "hostname",  "ipv4", "ipv6", "uuid" };
    const char *text = word(value);
    for (size_t i = 0; text != NULL && i < COUNT(formats); i++)
        if (strcmp(text, formats[i]) == 0)
            return true;
    return false;
}

/* A pattern that looks around, as that of zod's email(), is refused upstream. */
static bool is_pattern(const json_t *value)
{
    bool in_class = false;
    const char *at = word(value);
    for (; at != NULL && *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0') {
            at++;
            continue;
        }
        in_class = *at == '[' || (in_class && *at != ']');
        if (!in_class && strncmp(at, "(?", 2) == 0 &&
            strchr("=!", at[2] == '<' ? at[3] : at[2]) != NULL) /* (?<name> is a group */
            return false;
    }
    return at != NULL;
}

/* What the making does with a keyword. */
enum fate {
    FATE_DROP,
    FATE_SHAPE, /* built anew */
    FATE_COPY,
    FATE_TELL, /* a constraint or a hint: dropped, and told in the description */
    FATE_STUCK /* no strict schema says this: there is nothing to make */
};

struct words {
    enum fate fate;
    const char *wanted;            /* what is said of a refusal; NULL if there is none */
    bool (*takes)(const json_t *); /* what is not refused; FATE_COPY tells what is. NULL: nothing */
    const char *const names[20];
};

#define REFUSED "is not permitted"
#define A_NUMBER "has to be a number"
#define A_PATTERN "has to be a string without regex lookaround"
#define A_FORMAT "has to be date-time, time, date, duration, email, hostname, ipv4, ipv6 or uuid"

/* A keyword in no row is an annotation, or unknown: the making drops it, the check leaves it. */
static const struct words rows[] = {
    { FATE_SHAPE,
      NULL,
      NULL,
      { "$ref", "anyOf", "items", "properties", "required", "type", "additionalProperties" } },
    { FATE_SHAPE, REFUSED, NULL, { "allOf", "oneOf" } },
    { FATE_COPY, NULL, NULL, { "const", "enum" } },
    { FATE_COPY,
      A_NUMBER,
      is_number,
      { "exclusiveMaximum", "exclusiveMinimum", "multipleOf", "maxItems", "maximum", "minItems",
        "minimum" } },
    { FATE_COPY, A_PATTERN, is_pattern, { "pattern" } },
    { FATE_COPY, A_FORMAT, is_format, { "format" } },
    { FATE_TELL, NULL, NULL, { "default", "maxLength", "minLength", "contentEncoding" } },
    { FATE_TELL, REFUSED, NULL, { "maxProperties", "minProperties", "uniqueItems" } },
    { FATE_STUCK,
      REFUSED,
      NULL,
      { "additionalItems", "contains", "contentSchema", "dependencies", "dependentRequired",
        "dependentSchemas", "else", "if", "maxContains", "minContains", "not", "patternProperties",
        "prefixItems", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties" } },
};

static const struct words *find_words(const char *name)
{
    static const struct words annotation = { FATE_DROP, NULL, NULL, { NULL } };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (const char *const *at = rows[i].names; *at != NULL; at++)
            if (strcmp(*at, name) == 0)
                return &rows[i];
    return &annotation;
}

static bool takes(const struct words *words, const json_t *value)
{
    return words->wanted == NULL || (words->takes != NULL && words->takes(value));
}

enum type { OBJECT = 1, ARRAY = 2, STRING = 4, INTEGER = 8, NUMBER = 16, BOOLEAN = 32, NIL = 64 };

static const char *const type_names[] = { "object", "array",   "string", "integer",
                                          "number", "boolean", "null" };

static unsigned type_named(const json_t *name)
{
    const char *text = word(name);
    for (size_t i = 0; text != NULL && i < COUNT(type_names); i++)
        if (strcmp(text, type_names[i]) == 0)
            return 1U << i;
    return 0;
}

/* The types that `type` names, as bits of enum type; 0 for none and for one that does not exist. */
static unsigned types_named(const json_t *type)
{
    unsigned types = type_named(type);
    for (size_t i = 0; i < json_array_size(type); i++) {
        unsigned one = type_named(json_array_get(type, i));
        if (one == 0)
            return 0;
        types |= one;
    }
    return types;
}

/* The value of `type` that names the types: a new reference. */
static json_t *type_list(unsigned types)
{
    json_t *list = json_array();
    for (size_t i = 0; i < COUNT(type_names); i++) {
        if (types == 1U << i) {
            json_decref(list);
            return json_string(type_names[i]);
        }
        if ((types & 1U << i) != 0)
            json_array_append_new(list, json_string(type_names[i]));
    }
    return list;
}

static unsigned type_of(const json_t *value)
{
    static const unsigned types[] = {
        [JSON_OBJECT] = OBJECT,   [JSON_ARRAY] = ARRAY, [JSON_STRING] = STRING,
        [JSON_INTEGER] = INTEGER, [JSON_REAL] = NUMBER, [JSON_TRUE] = BOOLEAN,
        [JSON_FALSE] = BOOLEAN,   [JSON_NULL] = NIL,
    };
    return types[json_typeof(value)];
}

/* The names in `required` as the keys of a new object; NULL when it is no list of names. */
static json_t *names_in(const json_t *required)
{
    json_t *names = json_object();
    bool fine = required == NULL || json_is_array(required);
    for (size_t i = 0; fine && i < json_array_size(required); i++)
        fine = json_object_set_new(names, word(json_array_get(required, i)), json_true()) == 0;
    if (fine)
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

/* What a reference points to: the root or a definition of it. NULL for what upstream refuses. */
static const json_t *referenced(const json_t *root, const json_t *ref)
{
    const char *text = word(ref);
    if (text != NULL && strcmp(text, "#") == 0)
        return root;
    for (size_t i = 0; text != NULL && i < COUNT(definitions); i++) {
        size_t len = strlen(definitions[i]);
        if (strncmp(text, "#/", 2) == 0 && strncmp(text + 2, definitions[i], len) == 0 &&
            text[2 + len] == '/')
            return json_object_get(json_object_get(root, definitions[i]), text + 3 + len);
    }
    return NULL;
}

/* ---- checking ---- */

static bool check(struct walk *w, const json_t *schema, struct place here); /* it recurs */

static bool count_text(struct walk *w, const char *text, const struct place *at)
{
    for (; text != NULL && *text != '\0'; text++)
        w->text += ((unsigned char)*text & 0xC0) != 0x80;
    return w->text <= SCHEMA_TEXT_MAX ||
           fault(w, at, "the names, enum values and const values have more than %d characters",
                 SCHEMA_TEXT_MAX);
}

static bool check_map(struct walk *w, const json_t *map, const char *keyword,
                      const struct place *at)
{
    const char *name = NULL;
    json_t *schema = NULL;
    json_object_foreach(iterable(map), name, schema)
    {
        if (!count_text(w, name, at) || !check(w, schema, inside(at, keyword, name, NO_INDEX)))
            return false;
    }
    return true;
}

static bool check_object(struct walk *w, const json_t *schema, const struct place *at)
{
    static const char rule[] = "'required' has to be an array of every key in 'properties'";
    const json_t *properties = json_object_get(schema, "properties");
    if (!json_is_false(json_object_get(schema, "additionalProperties")))
        return fault(w, at, "'additionalProperties' is required to be supplied and to be false");
    if (!json_is_object(properties))
        return fault(w, at, "'properties' is required to be supplied and to be an object");
    json_t *names = names_in(json_object_get(schema, "required"));
    if (names == NULL)
        return fault(w, at, "%s", rule);
    char text[NAME_SHOWN_MAX + 4];
    const char *missing = first_not_in(properties, names);
    const char *extra = first_not_in(names, properties);
    bool fine = missing == NULL && extra == NULL;
    if (missing != NULL)
        fault(w, at, "%s: '%s' is missing", rule, shown(text, missing));
    else if (extra != NULL)
        fault(w, at, "%s: '%s' is not one", rule, shown(text, extra));
    json_decref(names);
    w->properties += json_object_size(properties);
    if (fine && w->properties > SCHEMA_PROPERTIES_MAX)
        return fault(w, at, "there are more than %d properties", SCHEMA_PROPERTIES_MAX);
    return fine && check_map(w, properties, "properties", at);
}

static bool check_value(struct walk *w, const json_t *value, unsigned types, struct place here)
{
    unsigned type = type_of(value);
    if (types != 0 && (type & types) == 0 &&
        !((type & (unsigned)(INTEGER | NUMBER)) != 0 && (types & NUMBER) != 0))
        return fault(w, &here, "the value is of another type than 'type' names");
    return count_text(w, json_string_value(value), &here);
}

static bool check_enum(struct walk *w, const json_t *values, unsigned types, const struct place *at)
{
    size_t count = json_array_size(values);
    size_t text = w->text;
    if (count == 0)
        return fault(w, at, "'enum' has to be an array of values");
    w->enum_values += count;
    if (w->enum_values > SCHEMA_ENUM_VALUES_MAX)
        return fault(w, at, "there are more than %d enum values", SCHEMA_ENUM_VALUES_MAX);
    for (size_t i = 0; i < count; i++)
        if (!check_value(w, json_array_get(values, i), types, inside(at, "enum", NULL, i)))
            return false;
    return count <= SCHEMA_ENUM_LONG || w->text - text <= SCHEMA_ENUM_LONG_TEXT_MAX ||
           fault(w, at, "an enum of more than %d values has more than %d characters",
                 SCHEMA_ENUM_LONG, SCHEMA_ENUM_LONG_TEXT_MAX);
}

static bool check_any_of(struct walk *w, const json_t *branches, const struct place *at)
{
    if (json_array_size(branches) == 0)
        return fault(w, at, "'anyOf' has to be an array of schemas");
    for (size_t i = 0; i < json_array_size(branches); i++)
        if (!check(w, json_array_get(branches, i), inside(at, "anyOf", NULL, i)))
            return false;
    return true;
}

static bool check_keywords(struct walk *w, const json_t *schema, const struct place *at)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(iterable(schema), name, value)
    {
        const struct words *words = find_words(name);
        if (!takes(words, value)) /* the name is one of ours */
            return fault(w, at, "'%s' %s", name, words->wanted);
    }
    return true;
}

static bool check(struct walk *w, const json_t *schema, struct place here)
{
    const json_t *ref = json_object_get(schema, "$ref");
    const json_t *any_of = json_object_get(schema, "anyOf");
    const json_t *type = json_object_get(schema, "type");
    const json_t *values = json_object_get(schema, "enum");
    const json_t *constant = json_object_get(schema, "const");
    unsigned types = types_named(type);
    here.levels += (types & (OBJECT | ARRAY)) != 0;
    if (here.depth > SCHEMA_DEPTH_MAX || here.levels > SCHEMA_LEVELS_MAX)
        return fault(w, &here, "the levels of nesting exceed the limit of %d", SCHEMA_LEVELS_MAX);
    if (!json_is_object(schema))
        return fault(w, &here, "a schema has to be an object");
    if (ref != NULL && json_object_size(schema) != 1)
        return fault(w, &here, "'$ref' cannot have other keywords next to it");
    if (ref != NULL)
        return referenced(w->root, ref) != NULL ||
               fault(w, &here, "'$ref' can only point to '#' or to a definition at the top level");
    if (!check_keywords(w, schema, &here))
        return false;
    if (type == NULL && any_of == NULL)
        return fault(w, &here, "a schema has to have a 'type'");
    if (type != NULL && types == 0)
        return fault(w, &here, "'type' names no type of JSON Schema");
    if ((types & OBJECT) != 0 && !check_object(w, schema, &here))
        return false;
    if ((types & ARRAY) != 0 &&
        !check(w, json_object_get(schema, "items"), inside(&here, "items", NULL, NO_INDEX)))
        return false;
    return (values == NULL || check_enum(w, values, types, &here)) &&
           (constant == NULL ||
            check_value(w, constant, types, inside(&here, "const", NULL, NO_INDEX))) &&
           (any_of == NULL || check_any_of(w, any_of, &here));
}

/* ---- making ---- */

static json_t *make(const json_t *schema, int depth); /* it recurs */

/* Whether null is valid for what was made, as far as can be seen without following references. */
static bool admits_null(const json_t *made)
{
    const json_t *values = json_object_get(made, "enum");
    const json_t *branches = json_object_get(made, "anyOf");
    bool found = (types_named(json_object_get(made, "type")) & NIL) != 0 && values == NULL &&
                 json_object_get(made, "const") == NULL;
    for (size_t i = 0; !found && i < json_array_size(values); i++)
        found = json_is_null(json_array_get(values, i));
    for (size_t i = 0; !found && i < json_array_size(branches); i++)
        found = admits_null(json_array_get(branches, i));
    return found;
}

/* Adds null to what is valid. Next to enum and const it takes a branch of its own: upstream checks
 * their values against the type, and refuses an enum of two types. Takes `made` and returns what it
 * became. */
static json_t *make_nullable(json_t *made)
{
    if (made == NULL || admits_null(made))
        return made;
    unsigned types = types_named(json_object_get(made, "type"));
    json_t *branches = json_object_get(made, "anyOf");
    bool valued = json_object_get(made, "enum") != NULL || json_object_get(made, "const") != NULL;
    if (branches == NULL && (types == 0 || valued))
        return json_pack("{s:[o, {s:s}]}", "anyOf", made, "type", "null");
    if (branches != NULL)
        json_array_append_new(branches, json_pack("{s:s}", "type", "null"));
    else
        json_object_set_new(made, "type", type_list(types | NIL));
    return made;
}

/* Gives `made` the description of `schema`, with the constraints that were dropped told behind it.
 * Takes `made` and returns what it became: a reference cannot have a description, a union of one
 * can. */
static json_t *describe(json_t *made, const json_t *schema)
{
    struct buf text = BUF_INIT;
    const json_t *said = json_object_get(schema, "description");
    if (!json_is_string(said))
        said = json_object_get(made, "description");
    buf_append(&text, json_string_value(said), json_string_length(said));
    const char *between = text.len != 0 ? " (" : "(";
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(iterable(schema), name, value)
    {
        const struct words *words = find_words(name);
        if (words->fate != FATE_TELL && (words->fate != FATE_COPY || takes(words, value)))
            continue;
        struct buf note = BUF_INIT;
        json_write(&note, value);
        if (note.len <= NOTE_MAX) {
            buf_printf(&text, "%s%s: %s", between, name, buf_str(&note));
            between = ", ";
        }
        buf_free(&note);
    }
    if (*between == ',')
        buf_putc(&text, ')');
    if (text.len != 0 && json_object_get(made, "$ref") != NULL)
        made = json_pack("{s:[o]}", "anyOf", made);
    if (text.len != 0)
        json_object_set_new(made, "description", json_stringn(text.data, text.len));
    buf_free(&text);
    return made;
}

static json_t *make_union(const json_t *branches, int depth)
{
    json_t *made = json_array();
    for (size_t i = 0; i < json_array_size(branches); i++)
        if (json_array_append_new(made, make(json_array_get(branches, i), depth)) != 0) {
            json_decref(made);
            return NULL;
        }
    return json_pack("{s:o}", "anyOf", made);
}

static bool make_object(json_t *made, const json_t *schema, int depth)
{
    const json_t *properties = json_object_get(schema, "properties");
    const json_t *additional = json_object_get(schema, "additionalProperties");
    json_t *names = names_in(json_object_get(schema, "required"));
    bool open = additional == NULL ? json_object_size(properties) == 0 : !json_is_false(additional);
    bool fine = !open && names != NULL && first_not_in(names, properties) == NULL;
    json_t *made_properties = json_object();
    json_t *required = json_array();
    const char *name = NULL;
    json_t *property = NULL;
    json_object_foreach(iterable(properties), name, property)
    {
        json_t *one = fine ? make(property, depth) : NULL;
        /* Strict mode has no optional properties: only one that may be null anyway can be required. */
        if (one != NULL && json_object_get(names, name) == NULL && !admits_null(one)) {
            json_decref(one);
            one = NULL;
        }
        fine = fine && json_object_set_new(made_properties, name, one) == 0;
        json_array_append_new(required, json_string(name));
    }
    json_decref(names);
    json_object_set_new(made, "properties", made_properties);
    json_object_set_new(made, "required", required);
    json_object_set_new(made, "additionalProperties", json_false());
    return fine;
}

/* The types that a schema names or, without `type`, means by its values and keywords; 0 if that
 * cannot be said in one strict schema. */
static unsigned types_meant(const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type");
    const json_t *values = json_object_get(schema, "enum");
    const json_t *constant = json_object_get(schema, "const");
    unsigned listed = constant != NULL ? type_of(constant) : 0;
    for (size_t i = 0; i < json_array_size(values); i++)
        listed |= type_of(json_array_get(values, i));
    if ((listed & NUMBER) != 0)
        listed &= ~(unsigned)INTEGER;
    unsigned one = listed & ~(unsigned)NIL;
    if ((one & (one - 1)) != 0) /* upstream wants one type of all the values of an enum */
        return 0;
    if (type != NULL || listed != 0)
        return type != NULL ? types_named(type) : listed;
    return (json_object_get(schema, "properties") != NULL ? OBJECT : 0U) |
           (json_object_get(schema, "items") != NULL ? ARRAY : 0U);
}

static json_t *make_plain(const json_t *schema, int depth)
{
    unsigned types = types_meant(schema);
    json_t *made = json_pack("{s:o}", "type", type_list(types));
    bool fine = types != 0;
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(iterable(schema), name, value)
    {
        const struct words *words = find_words(name);
        fine = fine && words->fate != FATE_STUCK;
        if (words->fate == FATE_COPY && takes(words, value))
            json_object_set_new(made, name, json_deep_copy(value));
    }
    fine = fine && ((types & OBJECT) == 0 || make_object(made, schema, depth));
    json_t *items =
        fine && (types & ARRAY) != 0 ? make(json_object_get(schema, "items"), depth) : NULL;
    if (items != NULL)
        json_object_set_new(made, "items", items);
    if (fine && (items != NULL || (types & ARRAY) == 0))
        return made;
    json_decref(made);
    return NULL;
}

/* Whether nothing next to the keyword has a say in what is valid. */
static bool stands_alone(const char *keyword, const json_t *schema)
{
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach(iterable(schema), name, value)
    {
        enum fate fate = find_words(name)->fate;
        if (fate != FATE_DROP && fate != FATE_TELL && strcmp(name, keyword) != 0)
            return false;
    }
    return true;
}

static json_t *make(const json_t *schema, int depth)
{
    const json_t *ref = json_object_get(schema, "$ref");
    const json_t *all_of = json_object_get(schema, "allOf");
    const json_t *one_of = json_object_get(schema, "oneOf"); /* a union will do: more is valid */
    const json_t *any_of = one_of != NULL ? one_of : json_object_get(schema, "anyOf");
    json_t *made = NULL;
    if (!json_is_object(schema) || ++depth > SCHEMA_DEPTH_MAX)
        return NULL;
    if (ref == NULL && any_of == NULL && all_of == NULL)
        made = make_plain(schema, depth);
    else if (ref != NULL && stands_alone("$ref", schema))
        made = json_pack("{s:o}", "$ref", json_deep_copy(ref));
    else if (any_of != NULL && stands_alone(one_of != NULL ? "oneOf" : "anyOf", schema))
        made = make_union(any_of, depth);
    else if (json_array_size(all_of) == 1 && stands_alone("allOf", schema))
        made = make(json_array_get(all_of, 0), depth);
    if (made != NULL)
        made = describe(made, schema);
    return json_is_true(json_object_get(schema, "nullable")) ? make_nullable(made) : made;
}

bool schema_check_strict(const json_t *schema, const char *place, struct api_error *ret)
{
    struct walk w = { .root = schema, .param = place, .error = ret };
    struct place root = { .index = NO_INDEX };
    size_t left = SCHEMA_VALUES_MAX;
    if (!fits(schema, &left))
        return fault(&w, &root, "there are more than %d values in it", SCHEMA_VALUES_MAX);
    if (type_named(json_object_get(schema, "type")) != OBJECT)
        return fault(&w, &root, "the schema has to be of 'type: \"object\"'");
    if (json_object_get(schema, "anyOf") != NULL)
        return fault(&w, &root, "'anyOf' is not permitted at the root");
    return check(&w, schema, root) &&
           check_map(&w, json_object_get(schema, definitions[0]), definitions[0], &root) &&
           check_map(&w, json_object_get(schema, definitions[1]), definitions[1], &root);
}

json_t *schema_make_strict(const json_t *schema)
{
    size_t left = SCHEMA_VALUES_MAX;
    const json_t *body = fits(schema, &left) ? schema : NULL;
    const json_t *ref = NULL; /* the root of a recursive model may only refer to a definition */
    for (int hops = 0; hops < SCHEMA_DEPTH_MAX && (ref = json_object_get(body, "$ref")); hops++)
        body = stands_alone("$ref", body) ? referenced(schema, ref) : NULL;
    json_t *made = make(body, 0);
    for (size_t i = 0; made != NULL && i < COUNT(definitions); i++) {
        json_t *map = json_object();
        const char *name = NULL;
        json_t *one = NULL;
        json_object_foreach(json_object_get(schema, definitions[i]), name, one)
        {
            /* One that cannot be made is left out: the check finds whether it is needed. */
            json_object_set_new(map, name, make(one, 1));
        }
        if (json_object_size(map) != 0)
            json_object_set(made, definitions[i], map);
        json_decref(map);
    }
    struct api_error ignored;
    if (made != NULL && schema_check_strict(made, "", &ignored))
        return made;
    json_decref(made);
    return NULL;
}

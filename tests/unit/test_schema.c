/* Schemas of answers: what strict mode refuses is refused with its place, or made fit. */
#include "schema.h"
#include "unit.h"

static json_t *parsed(const char *text)
{
    const char *why = "";
    json_t *value = json_parse(text, strlen(text), &why);
    if (value == NULL)
        fail_msg("%s: %s", why, text);
    return value;
}

static void assert_taken_value(const json_t *schema)
{
    struct api_error e;
    if (!schema_check_strict(schema, "response_format", &e))
        fail_msg("%s", e.message);
}

static void assert_taken(const char *text)
{
    json_t *schema = parsed(text);
    assert_taken_value(schema);
    json_decref(schema);
}

/* Refused, with `what` and the place `path` in the message. */
static void assert_refused_value(const json_t *schema, const char *path, const char *what)
{
    struct api_error e;
    char end[512];
    snprintf(end, sizeof(end), "Found at %s", path);
    assert_false(schema_check_strict(schema, "response_format", &e));
    assert_int_equal(e.status, 400);
    assert_string_equal(e.type, "invalid_request_error");
    assert_string_equal(e.code, "invalid_json_schema");
    assert_string_equal(e.param, "response_format");
    const char *found = strstr(e.message, "Found at ");
    if (found == NULL || strcmp(found, end) != 0 || strstr(e.message, what) == NULL)
        fail_msg("\"%s\" instead of \"... %s ... %s\"", e.message, what, end);
}

static void assert_refused(const char *text, const char *path, const char *what)
{
    json_t *schema = parsed(text);
    assert_refused_value(schema, path, what);
    json_decref(schema);
}

/* A schema of one property `a`, required, of the given schema. */
static void wrap(char ret[2048], const char *property)
{
    snprintf(ret, 2048,
             "{\"type\":\"object\",\"properties\":{\"a\":%s},\"required\":[\"a\"],"
             "\"additionalProperties\":false}",
             property);
}

static void assert_property_taken(const char *property)
{
    char text[2048];
    wrap(text, property);
    assert_taken(text);
}

static void assert_property_refused(const char *property, const char *path, const char *what)
{
    char text[2048];
    wrap(text, property);
    assert_refused(text, path, what);
}

/* What is made of the schema is this, which strict mode takes, and the schema is as it was. */
static void assert_made(const char *text, const char *wanted_text)
{
    json_t *schema = parsed(text);
    json_t *same = parsed(text);
    json_t *wanted = parsed(wanted_text);
    json_t *made = schema_make_strict(schema);
    if (made == NULL)
        fail_msg("nothing was made of %s", text);
    if (!json_equal(made, wanted))
        fail_msg("made %s\nof   %s", json_dumps(made, 0), text);
    assert_taken_value(made);
    assert_true(json_equal(schema, same));
    json_decref(schema);
    json_decref(same);
    json_decref(made);
    json_decref(wanted);
}

static void assert_property_made(const char *property, const char *wanted)
{
    char text[2048];
    char wanted_text[2048];
    wrap(text, property);
    wrap(wanted_text, wanted);
    assert_made(text, wanted_text);
}

static void assert_not_made(const char *text)
{
    json_t *schema = parsed(text);
    json_t *made = schema_make_strict(schema);
    if (made != NULL)
        fail_msg("made %s\nof   %s", json_dumps(made, 0), text);
    json_decref(schema);
}

static void assert_property_not_made(const char *property)
{
    char text[2048];
    wrap(text, property);
    assert_not_made(text);
}

/* An object of `count` properties p0, p1, ... of strings, closed, all required. */
static json_t *object_of(size_t count)
{
    json_t *properties = json_object();
    json_t *required = json_array();
    for (size_t i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof(name), "p%zu", i);
        json_object_set_new(properties, name, json_pack("{s:s}", "type", "string"));
        json_array_append_new(required, json_string(name));
    }
    return json_pack("{s:s, s:o, s:o, s:b}", "type", "object", "properties", properties, "required",
                     required, "additionalProperties", 0);
}

static json_t *object_with(const char *name, json_t *property)
{
    return json_pack("{s:s, s:{s:o}, s:[s], s:b}", "type", "object", "properties", name, property,
                     "required", name, "additionalProperties", 0);
}

static json_t *nested(size_t levels)
{
    json_t *schema = object_with("x", json_pack("{s:s}", "type", "string"));
    for (size_t i = 1; i < levels; i++)
        schema = object_with("x", schema);
    return schema;
}

/* ---- what strict mode takes ---- */

static void test_the_types_of_the_guide_are_taken(void **state)
{
    (void)state;
    static const char *const properties[] = {
        "{\"type\":\"string\",\"description\":\"d\",\"title\":\"t\"}",
        "{\"type\":\"string\",\"format\":\"date-time\"}",
        "{\"type\":\"string\",\"pattern\":\"^@[a-z(?=]+\\\\(?=(?:x)(?<name>y)$\"}",
        "{\"type\":[\"string\",\"null\"],\"enum\":[\"a\",null]}",
        "{\"type\":\"integer\",\"minimum\":1,\"maximum\":9,\"multipleOf\":2}",
        "{\"type\":\"number\",\"enum\":[1,2.5]}",
        "{\"type\":\"boolean\"}",
        "{\"type\":\"null\"}",
        "{\"type\":\"string\",\"const\":\"a\"}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"minItems\":1,\"maxItems\":3}",
        "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}],\"description\":\"d\"}",
        "{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false}",
        "{\"$ref\":\"#\"}",
    };
    for (size_t i = 0; i < COUNT_OF(properties); i++)
        assert_property_taken(properties[i]);
}

static void test_what_upstream_was_seen_to_take_is_left_to_upstream(void **state)
{
    (void)state;
    assert_property_taken("{\"type\":\"string\",\"minLength\":1,\"maxLength\":9,\"default\":\"a\","
                          "\"examples\":[\"b\"],\"x-mine\":true,\"$comment\":\"c\"}");
}

static void test_recursion_through_definitions_and_the_root_is_taken(void **state)
{
    (void)state;
    assert_taken(
        "{\"type\":\"object\",\"additionalProperties\":false,"
        "\"required\":[\"list\",\"old\",\"self\"],\"properties\":{"
        "\"list\":{\"$ref\":\"#/$defs/node\"},\"old\":{\"$ref\":\"#/definitions/o\"},"
        "\"self\":{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}},"
        "\"definitions\":{\"o\":{\"type\":\"string\"}},"
        "\"$defs\":{\"node\":{\"type\":\"object\",\"additionalProperties\":false,"
        "\"required\":[\"value\",\"next\"],\"properties\":{\"value\":{\"type\":\"number\"},"
        "\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/node\"},{\"type\":\"null\"}]}}}}}");
}

/* ---- what it refuses, and where ---- */

static void test_a_root_that_is_not_one_object_is_refused(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "null",
        "true",
        "3",
        "\"object\"",
        "[]",
        "{}",
        "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}",
        "{\"type\":[\"object\",\"null\"]}",
        "{\"type\":{\"a\":1}}",
        "{\"anyOf\":[{\"type\":\"string\"}]}",
        "{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"type\":\"string\"}}}",
    };
    for (size_t i = 0; i < COUNT_OF(schemas); i++)
        assert_refused(schemas[i], "$", "type: \"object\"");
    assert_refused_value(NULL, "$", "type: \"object\"");
    assert_refused("{\"type\":\"object\",\"anyOf\":[],\"properties\":{},"
                   "\"additionalProperties\":false}",
                   "$", "'anyOf' is not permitted at the root");
}

static void test_the_message_says_what_is_wrong_and_where(void **state)
{
    (void)state;
    static const struct {
        const char *property, *path, *what;
    } cases[] = {
        { "{\"type\":\"object\",\"properties\":{}}", "$.properties.a", "'additionalProperties'" },
        { "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}", "$.properties.a",
          "to be false" },
        { "{\"type\":[\"object\",\"null\"],\"additionalProperties\":false}", "$.properties.a",
          "'properties' is required" },
        { "{\"type\":\"object\",\"properties\":{\"b\":{\"type\":\"string\"}},\"required\":[],"
          "\"additionalProperties\":false}",
          "$.properties.a", "'b' is missing" },
        { "{\"type\":\"object\",\"properties\":{},\"required\":[\"c\"],"
          "\"additionalProperties\":false}",
          "$.properties.a", "'c' is not one" },
        { "{\"type\":\"object\",\"properties\":{},\"required\":true,"
          "\"additionalProperties\":false}",
          "$.properties.a", "'required' has to be an array" },
        { "{\"type\":\"object\",\"properties\":{},\"required\":[1],"
          "\"additionalProperties\":false}",
          "$.properties.a", "'required' has to be an array" },
        { "true", "$.properties.a", "has to be an object" },
        { "{}", "$.properties.a", "a 'type'" },
        { "{\"enum\":[\"b\"]}", "$.properties.a", "a 'type'" },
        { "{\"type\":\"date\"}", "$.properties.a", "no type" },
        { "{\"type\":[]}", "$.properties.a", "no type" },
        { "{\"type\":[[\"string\"]]}", "$.properties.a", "no type" },
        { "{\"type\":\"array\"}", "$.properties.a.items", "has to be an object" },
        { "{\"type\":\"array\",\"items\":[{\"type\":\"string\"}]}", "$.properties.a.items",
          "has to be an object" },
        { "{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"uniqueItems\":true}",
          "$.properties.a", "'uniqueItems' is not permitted" },
        { "{\"type\":\"string\",\"allOf\":[]}", "$.properties.a", "'allOf' is not permitted" },
        { "{\"oneOf\":[{\"type\":\"string\"}]}", "$.properties.a", "'oneOf' is not permitted" },
        { "{\"type\":\"string\",\"not\":{}}", "$.properties.a", "'not' is not permitted" },
        { "{\"type\":\"string\",\"format\":\"uri\"}", "$.properties.a", "'format' has to be" },
        { "{\"type\":\"string\",\"format\":7}", "$.properties.a", "'format' has to be" },
        { "{\"type\":\"string\",\"pattern\":\"^(?!a)\"}", "$.properties.a", "lookaround" },
        { "{\"type\":\"string\",\"pattern\":\"[b]](?<=a)\"}", "$.properties.a", "lookaround" },
        { "{\"type\":\"number\",\"minimum\":\"1\"}", "$.properties.a", "'minimum' has to be" },
        { "{\"type\":\"string\",\"enum\":[]}", "$.properties.a", "'enum' has to be" },
        { "{\"type\":\"string\",\"enum\":{\"b\":1}}", "$.properties.a", "'enum' has to be" },
        { "{\"type\":\"string\",\"enum\":[\"b\",3]}", "$.properties.a.enum[1]", "another type" },
        { "{\"type\":\"integer\",\"const\":1.5}", "$.properties.a.const", "another type" },
        { "{\"anyOf\":[]}", "$.properties.a", "'anyOf' has to be" },
        { "{\"anyOf\":{\"type\":\"string\"}}", "$.properties.a", "'anyOf' has to be" },
        { "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"array\",\"items\":{}}]}",
          "$.properties.a.anyOf[1].items", "a 'type'" },
        { "{\"$ref\":\"#\",\"description\":\"d\"}", "$.properties.a", "other keywords" },
        { "{\"$ref\":\"#/$defs/none\"}", "$.properties.a", "can only point to" },
        { "{\"$ref\":\"#/$defs\"}", "$.properties.a", "can only point to" },
        { "{\"$ref\":\"#/properties/a\"}", "$.properties.a", "can only point to" },
        { "{\"$ref\":\"https://example.com/a\"}", "$.properties.a", "can only point to" },
        { "{\"$ref\":\"\"}", "$.properties.a", "can only point to" },
        { "{\"$ref\":3}", "$.properties.a", "can only point to" },
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_property_refused(cases[i].property, cases[i].path, cases[i].what);
}

static void test_every_keyword_that_strict_mode_does_not_know_is_refused(void **state)
{
    (void)state;
    static const char *const keywords[] = {
        "allOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
        "dependencies",
        "dependentRequired",
        "dependentSchemas",
        "contains",
        "minContains",
        "maxContains",
        "prefixItems",
        "additionalItems",
        "unevaluatedItems",
        "uniqueItems",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "unevaluatedProperties",
    };
    for (size_t i = 0; i < COUNT_OF(keywords); i++) {
        json_t *schema = object_of(1);
        json_object_set_new(schema, keywords[i], json_true());
        assert_refused_value(schema, "$", keywords[i]);
        json_decref(schema);
        schema = object_with(keywords[i], json_pack("{s:s}", "type", "string"));
        assert_taken_value(schema); /* as a name of a property it means nothing */
        json_decref(schema);
    }
}

static void test_definitions_are_checked_wherever_they_are_used(void **state)
{
    (void)state;
    assert_refused("{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false,"
                   "\"$defs\":{\"b\":{\"type\":\"object\"}}}",
                   "$.$defs.b", "'additionalProperties'");
    assert_refused("{\"type\":\"object\",\"properties\":{},\"additionalProperties\":false,"
                   "\"definitions\":{\"b\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/c\"}}}}",
                   "$.definitions.b.items", "can only point to");
}

/* ---- limits ---- */

static void test_five_thousand_properties_are_taken_and_one_more_is_not(void **state)
{
    (void)state;
    json_t *schema = object_of(SCHEMA_PROPERTIES_MAX);
    assert_taken_value(schema);
    json_object_set_new(schema, "$defs", json_pack("{s:o}", "d", object_of(1)));
    assert_refused_value(schema, "$.$defs.d", "more than 5000 properties");
    assert_null(schema_make_strict(schema));
    json_decref(schema);
}

static void test_ten_levels_are_taken_and_one_more_is_not(void **state)
{
    (void)state;
    json_t *schema = nested(SCHEMA_LEVELS_MAX);
    assert_taken_value(schema);
    json_decref(schema);
    schema = nested(SCHEMA_LEVELS_MAX + 1);
    assert_refused_value(schema,
                         "$.properties.x.properties.x.properties.x.properties.x.properties.x"
                         ".properties.x.properties.x.properties.x.properties.x.properties.x",
                         "levels of nesting exceed the limit of 10");
    assert_null(schema_make_strict(schema));
    json_decref(schema);
}

static void test_a_depth_bomb_is_refused_and_nothing_is_made_of_it(void **state)
{
    (void)state;
    static const char *const bombs[] = { "anyOf", "oneOf", "allOf" };
    for (size_t i = 0; i < COUNT_OF(bombs); i++) {
        json_t *bomb = json_pack("{s:s}", "type", "string");
        for (int depth = 0; depth < 1000; depth++)
            bomb = json_pack("{s:[o]}", bombs[i], bomb);
        json_t *schema = object_with("a", bomb);
        struct api_error e;
        assert_false(schema_check_strict(schema, "response_format", &e));
        assert_null(schema_make_strict(schema));
        json_decref(schema);
    }
    json_t *schema = nested(600);
    struct api_error e;
    assert_false(schema_check_strict(schema, "response_format", &e));
    assert_null(schema_make_strict(schema));
    json_decref(schema);
}

static void test_a_schema_of_very_many_values_is_refused_before_it_is_read(void **state)
{
    (void)state;
    json_t *schema = object_of(1);
    for (int i = 0; i < SCHEMA_VALUES_MAX; i++) {
        char name[32];
        snprintf(name, sizeof(name), "x-%d", i);
        json_object_set_new(schema, name, json_true());
    }
    assert_refused_value(schema, "$", "more than 100000 values");
    assert_null(schema_make_strict(schema));
    json_decref(schema);
}

static json_t *enum_of(size_t count, size_t len)
{
    json_t *values = json_array();
    char value[512];
    for (size_t i = 0; i < count; i++) {
        memset(value, 'v', len);
        snprintf(value + len - 4, 5, "%04u", (unsigned)(i % 10000));
        json_array_append_new(values, json_string(value));
    }
    return json_pack("{s:s, s:o}", "type", "string", "enum", values);
}

static void test_the_limits_of_enums_are_those_of_the_guide(void **state)
{
    (void)state;
    static const struct {
        size_t count, len;
        bool taken;
    } cases[] = {
        { 1000, 15, true }, { 1001, 4, false }, { 251, 59, true },   { 251, 60, false },
        { 250, 60, true },  { 250, 479, true }, { 250, 480, false }, /* and the name */
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        json_t *schema = object_with("a", enum_of(cases[i].count, cases[i].len));
        struct api_error e;
        assert_int_equal(schema_check_strict(schema, "f", &e), cases[i].taken);
        json_t *made = schema_make_strict(schema);
        assert_int_equal(made != NULL, cases[i].taken);
        json_decref(made);
        json_decref(schema);
    }
}

static void test_names_are_counted_in_characters(void **state)
{
    (void)state;
    enum { CHARACTERS = SCHEMA_TEXT_MAX };
    char *name = xmalloc(CHARACTERS * 2 + 2);
    for (size_t i = 0; i < (size_t)CHARACTERS * 2; i++)
        name[i] = i % 2 == 0 ? '\xC3' : '\xA9';
    name[CHARACTERS * 2] = '\0';
    json_t *schema = object_with(name, json_pack("{s:s}", "type", "string"));
    assert_taken_value(schema);
    json_decref(schema);
    name[CHARACTERS * 2] = 'e';
    name[CHARACTERS * 2 + 1] = '\0';
    schema = object_with(name, json_pack("{s:s}", "type", "string"));
    assert_refused_value(schema, "$", "more than 120000 characters");
    json_decref(schema);
    free(name);
}

/* ---- hostile names ---- */

static void assert_shown(const char *name, const char *wanted)
{
    json_t *schema = object_with(name, json_object());
    char path[256];
    snprintf(path, sizeof(path), "$.properties%s", wanted);
    assert_refused_value(schema, path, "a 'type'");
    json_decref(schema);
}

static void test_names_in_paths_are_short_and_printable(void **state)
{
    (void)state;
    assert_shown("", "[\"\"]");
    assert_shown("a.b", "[\"a.b\"]");
    assert_shown("caf\xC3\xA9", ".caf\xC3\xA9");
    assert_shown("\xE5\xB9\xB4", ".\xE5\xB9\xB4");
    assert_shown("%s%n%d", ".%s%n%d");
    assert_shown("a\nb\x1B[31m", "[\"a?b?[31m\"]");
    assert_shown("\xC2\x9B"
                 "1",
                 ".??1"); /* a control of C1 */
    assert_shown("x\xE2\x80\xAE"
                 "y",
                 ".x???y"); /* text from right to left */
    assert_shown("0123456789012345678901234567890123456789",
                 ".0123456789012345678901234567890123456789");
    assert_shown("0123456789012345678901234567890123456789x",
                 ".0123456789012345678901234567890123456789...");
    assert_shown("012345678901234567890123456789012345678\xF0\x9F\x98\x80\xF0\x9F\x98\x80",
                 ".012345678901234567890123456789012345678...");
}

static void test_a_long_name_that_is_missing_is_not_echoed(void **state)
{
    (void)state;
    char *name = xmalloc(100001);
    memset(name, 'n', 100000);
    name[100000] = '\0';
    json_t *schema = object_with(name, json_pack("{s:s}", "type", "string"));
    json_object_set_new(schema, "required", json_array());
    struct api_error e;
    assert_false(schema_check_strict(schema, "response_format", &e));
    assert_true(strlen(e.message) < 200);
    assert_non_null(strstr(e.message, "nnn...' is missing"));
    json_decref(schema);
    free(name);
}

static void test_names_with_a_meaning_elsewhere_are_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "$ref", "properties", "__proto__", "#", "/", "~0", "$defs"
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        json_t *schema = object_with(names[i], json_pack("{s:s}", "type", "string"));
        json_t *made = schema_make_strict(schema);
        assert_taken_value(schema);
        assert_true(json_equal(schema, made));
        json_decref(made);
        json_decref(schema);
    }
}

static void test_a_string_with_nul_is_no_word_of_the_schema(void **state)
{
    (void)state;
    struct api_error e;
    json_t *schema = object_of(1);
    json_object_set_new(schema, "type", json_stringn(LITERAL("object\0x")));
    assert_false(schema_check_strict(schema, "f", &e));
    json_object_set_new(schema, "type", json_string("object"));
    json_object_set_new(schema, "required", json_pack("[o]", json_stringn(LITERAL("p0\0x"))));
    assert_false(schema_check_strict(schema, "f", &e));
    assert_null(schema_make_strict(schema));
    json_decref(schema);
    schema = object_with("a", json_pack("{s:o}", "$ref", json_stringn(LITERAL("#\0x"))));
    assert_false(schema_check_strict(schema, "f", &e));
    json_decref(schema);
}

/* ---- what is made ---- */

static void test_what_strict_mode_takes_is_made_into_itself(void **state)
{
    (void)state;
    assert_property_made("{\"type\":\"string\",\"description\":\"d\",\"format\":\"date\","
                         "\"pattern\":\"^a\",\"enum\":[\"b\"]}",
                         "{\"type\":\"string\",\"description\":\"d\",\"format\":\"date\","
                         "\"pattern\":\"^a\",\"enum\":[\"b\"]}");
    assert_property_made("{\"type\":\"array\",\"minItems\":2,\"items\":{\"type\":\"integer\","
                         "\"minimum\":1,\"exclusiveMaximum\":9.5}}",
                         "{\"type\":\"array\",\"minItems\":2,\"items\":{\"type\":\"integer\","
                         "\"minimum\":1,\"exclusiveMaximum\":9.5}}");
}

static void test_objects_are_closed_and_what_may_be_null_anyway_is_required(void **state)
{
    (void)state;
    assert_made("{\"type\":\"object\",\"required\":[\"id\"],\"properties\":{\"id\":{\"type"
                "\":\"integer\"},\"null\":{\"type\":[\"string\",\"null\"]},\"en\":{\"type\":"
                "[\"string\",\"null\"],\"enum\":[\"a\",null]},\"un\":{\"anyOf\":[{\"type\":"
                "\"string\"},{\"type\":\"null\"}]},\"nil\":{\"type\":\"null\"},\"old\":{\"ty"
                "pe\":\"string\",\"nullable\":true},\"e\":{\"enum\":[\"a\"],\"nullable\":t"
                "rue}}}",
                "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"i"
                "d\",\"null\",\"en\",\"un\",\"nil\",\"old\",\"e\"],\"properties\":{\"id\":{\"ty"
                "pe\":\"integer\"},\"null\":{\"type\":[\"string\",\"null\"]},\"en\":{\"type"
                "\":[\"string\",\"null\"],\"enum\":[\"a\",null]},\"un\":{\"anyOf\":[{\"type"
                "\":\"string\"},{\"type\":\"null\"}]},\"nil\":{\"type\":\"null\"},\"old\":{\""
                "type\":[\"string\",\"null\"]},\"e\":{\"anyOf\":[{\"type\":\"string\",\"enu"
                "m\":[\"a\"]},{\"type\":\"null\"}]}}}");
}

/* In strict mode it would come as null, which the client's own schema refuses. */
static void test_an_optional_property_that_may_not_be_null_cannot_be_made(void **state)
{
    (void)state;
    static const char *const properties[] = {
        "{\"type\":\"string\"}",
        "{\"type\":[\"string\",\"integer\"]}",
        "{\"type\":\"string\",\"enum\":[\"a\"]}",
        "{\"type\":[\"string\",\"null\"],\"enum\":[\"a\"]}",
        "{\"type\":\"string\",\"const\":\"a\"}",
        "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}",
        "{\"$ref\":\"#\"}",
        "{\"type\":\"array\",\"items\":{\"type\":[\"string\",\"null\"]}}",
        "{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"null\"}}}",
    };
    for (size_t i = 0; i < COUNT_OF(properties); i++) {
        char text[512];
        snprintf(text, sizeof(text), "{\"type\":\"object\",\"properties\":{\"a\":%s}}",
                 properties[i]);
        assert_not_made(text);
        snprintf(text, sizeof(text),
                 "{\"type\":\"object\",\"properties\":{\"o\":{\"type\":\"object\",\"properties\":{"
                 "\"a\":%s}}},"
                 "\"required\":[\"o\"]}",
                 properties[i]);
        assert_not_made(text);
    }
}

static void test_properties_keep_their_order(void **state)
{
    (void)state;
    json_t *schema = parsed("{\"type\":\"object\",\"properties\":{\"z\":{\"type\":\"string\"},"
                            "\"a\":{\"type\":\"null\"},\"m\":{\"type\":\"string\"}},"
                            "\"required\":[\"m\",\"z\"]}");
    json_t *made = schema_make_strict(schema);
    char *text = json_dumps(json_object_get(made, "required"), JSON_COMPACT);
    assert_string_equal(text, "[\"z\",\"a\",\"m\"]");
    free(text);
    const char *first = json_object_iter_key(json_object_iter(json_object_get(made, "properties")));
    assert_string_equal(first, "z");
    json_decref(made);
    json_decref(schema);
}

static void test_annotations_are_dropped_and_constraints_told(void **state)
{
    (void)state;
    assert_property_made("{\"title\":\"A\",\"type\":\"string\",\"examples\":[\"b\"],\"$comment\":1,"
                         "\"x-mine\":{},\"readOnly\":true,\"deprecated\":true}",
                         "{\"type\":\"string\"}");
    assert_property_made(
        "{\"type\":\"string\",\"format\":\"uri\",\"minLength\":2,\"default\":\"b\"}",
        "{\"type\":\"string\",\"description\":"
        "\"(format: \\\"uri\\\", minLength: 2, default: \\\"b\\\")\"}");
    assert_property_made("{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"uniqueItems\":true,"
                         "\"description\":\"Tags\"}",
                         "{\"type\":\"array\",\"items\":{\"type\":\"string\"},"
                         "\"description\":\"Tags (uniqueItems: true)\"}");
    assert_property_made("{\"type\":\"number\",\"minimum\":0,\"exclusiveMinimum\":true}",
                         "{\"type\":\"number\",\"minimum\":0,"
                         "\"description\":\"(exclusiveMinimum: true)\"}");
}

static void test_a_long_constraint_is_not_told(void **state)
{
    (void)state;
    json_t *schema = object_with("a", json_pack("{s:s}", "type", "string"));
    char *pattern = xmalloc(1001);
    memset(pattern, 'p', 1000);
    pattern[1000] = '\0';
    memcpy(pattern, "(?=", 3);
    json_object_set_new(json_at(schema, "properties.a"), "pattern", json_string(pattern));
    json_t *made = schema_make_strict(schema);
    assert_null(json_at(made, "properties.a.description"));
    assert_null(json_at(made, "properties.a.pattern"));
    json_decref(made);
    json_decref(schema);
    free(pattern);
}

static void test_a_type_that_is_only_meant_is_said(void **state)
{
    (void)state;
    assert_property_made("{\"enum\":[\"b\",\"c\"]}",
                         "{\"type\":\"string\",\"enum\":[\"b\",\"c\"]}");
    assert_property_made("{\"enum\":[\"b\",null]}",
                         "{\"type\":[\"string\",\"null\"],\"enum\":[\"b\",null]}");
    assert_property_made("{\"enum\":[1,2.5]}", "{\"type\":\"number\",\"enum\":[1,2.5]}");
    assert_property_made("{\"const\":true}", "{\"type\":\"boolean\",\"const\":true}");
    assert_property_made("{\"items\":{\"type\":\"string\"}}",
                         "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}");
    assert_made("{\"properties\":{\"a\":{\"type\":\"string\"}},\"required\":[\"a\"]}",
                "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
                "\"required\":[\"a\"],\"additionalProperties\":false}");
}

static void test_a_pydantic_model_is_made_strict(void **state)
{
    (void)state;
    assert_made(
        "{\"$defs\":{\"Kind\":{\"enum\":[\"a\",\"b\"],\"title\":\"Kind\",\"type\":\"string\"},"
        "\"Cat\":{\"properties\":{\"kind\":{\"const\":\"cat\",\"default\":\"cat\",\"title\":"
        "\"Kind\","
        "\"type\":\"string\"},\"lives\":{\"title\":\"Lives\",\"type\":\"integer\",\"maximum\":9}},"
        "\"required\":[\"kind\",\"lives\"],\"title\":\"Cat\",\"type\":\"object\"}},"
        "\"properties\":{"
        "\"kind\":{\"$ref\":\"#/$defs/Kind\",\"description\":\"what it is\"},"
        "\"nick\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}],\"default\":null,"
        "\"title\":\"Nick\"},"
        "\"old\":{\"allOf\":[{\"$ref\":\"#/$defs/Kind\"}],\"description\":\"as pydantic 1 has "
        "it\"},"
        "\"pets\":{\"title\":\"Pets\",\"type\":\"array\",\"items\":{\"oneOf\":["
        "{\"$ref\":\"#/$defs/Cat\"}],\"discriminator\":{\"propertyName\":\"kind\","
        "\"mapping\":{\"cat\":\"#/$defs/Cat\"}}}}},"
        "\"required\":[\"kind\",\"old\",\"pets\"],\"title\":\"Model\",\"type\":\"object\"}",
        "{\"$defs\":{\"Kind\":{\"enum\":[\"a\",\"b\"],\"type\":\"string\"},"
        "\"Cat\":{\"properties\":{\"kind\":{\"const\":\"cat\",\"type\":\"string\","
        "\"description\":\"(default: \\\"cat\\\")\"},"
        "\"lives\":{\"type\":\"integer\",\"maximum\":9}},\"required\":[\"kind\",\"lives\"],"
        "\"additionalProperties\":false,\"type\":\"object\"}},"
        "\"properties\":{"
        "\"kind\":{\"anyOf\":[{\"$ref\":\"#/$defs/Kind\"}],\"description\":\"what it is\"},"
        "\"nick\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}],"
        "\"description\":\"(default: null)\"},"
        "\"old\":{\"anyOf\":[{\"$ref\":\"#/$defs/Kind\"}],"
        "\"description\":\"as pydantic 1 has it\"},"
        "\"pets\":{\"type\":\"array\",\"items\":{\"anyOf\":[{\"$ref\":\"#/$defs/Cat\"}]}}},"
        "\"required\":[\"kind\",\"nick\",\"old\",\"pets\"],\"additionalProperties\":false,"
        "\"type\":\"object\"}");
}

static void test_a_recursive_model_whose_root_is_a_reference_is_made_strict(void **state)
{
    (void)state;
    assert_made("{\"$defs\":{\"Node\":{\"type\":\"object\",\"title\":\"Node\",\"properties\":{"
                "\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/Node\"},{\"type\":\"null\"}]}},"
                "\"required\":[\"next\"]}},\"$ref\":\"#/$defs/Node\"}",
                "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"next\"],"
                "\"properties\":{\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/Node\"},"
                "{\"type\":\"null\"}]}},\"$defs\":{\"Node\":{\"type\":\"object\","
                "\"additionalProperties\":false,\"required\":[\"next\"],\"properties\":{"
                "\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/Node\"},{\"type\":\"null\"}]}}}}}");
    assert_not_made("{\"$ref\":\"#\"}");
    assert_not_made("{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},"
                    "\"b\":{\"$ref\":\"#/$defs/a\"}}}");
    assert_not_made("{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"type\":\"string\"}}}");
    assert_not_made("{\"$ref\":\"#/$defs/a\"}");
}

static void test_a_zod_schema_is_made_strict(void **state)
{
    (void)state;
    assert_made(
        "{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\",\"type\":\"object\","
        "\"properties\":{\"mail\":{\"type\":\"string\",\"format\":\"email\","
        "\"pattern\":\"^(?!\\\\.)[a-z]+@[a-z]+$\"},"
        "\"age\":{\"type\":\"integer\",\"exclusiveMinimum\":0,\"maximum\":9007199254740991},"
        "\"step\":{\"oneOf\":[{\"type\":\"object\",\"properties\":{\"t\":{\"type\":\"string\","
        "\"const\":\"go\"}},\"required\":[\"t\"],\"additionalProperties\":false},"
        "{\"type\":\"object\",\"properties\":{\"t\":{\"type\":\"string\",\"const\":\"stop\"}},"
        "\"required\":[\"t\"],\"additionalProperties\":false}]},"
        "\"tag\":{\"anyOf\":[{\"type\":\"string\",\"minLength\":1},{\"type\":\"null\"}]}},"
        "\"required\":[\"mail\",\"age\",\"step\"],\"additionalProperties\":false}",
        "{\"type\":\"object\",\"properties\":{\"mail\":{\"type\":\"string\",\"format\":\"email\","
        "\"description\":\"(pattern: \\\"^(?!\\\\\\\\.)[a-z]+@[a-z]+$\\\")\"},"
        "\"age\":{\"type\":\"integer\",\"exclusiveMinimum\":0,\"maximum\":9007199254740991},"
        "\"step\":{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"t\":{\"type\":\"string\","
        "\"const\":\"go\"}},\"required\":[\"t\"],\"additionalProperties\":false},"
        "{\"type\":\"object\",\"properties\":{\"t\":{\"type\":\"string\",\"const\":\"stop\"}},"
        "\"required\":[\"t\"],\"additionalProperties\":false}]},"
        "\"tag\":{\"anyOf\":[{\"type\":\"string\",\"description\":\"(minLength: "
        "1)\"},{\"type\":\"null\"}]}},"
        "\"required\":[\"mail\",\"age\",\"step\",\"tag\"],\"additionalProperties\":false}");
}

static void test_openapi_nullable_becomes_null(void **state)
{
    (void)state;
    assert_property_made("{\"type\":\"string\",\"nullable\":true}",
                         "{\"type\":[\"string\",\"null\"]}");
    assert_property_made("{\"type\":\"string\",\"nullable\":false}", "{\"type\":\"string\"}");
}

/* ---- what cannot be made ---- */

static void test_what_would_change_too_much_is_not_made(void **state)
{
    (void)state;
    static const char *const properties[] = {
        "{}",
        "true",
        "false",
        "null",
        "{\"description\":\"anything\"}",
        "{\"type\":\"object\"}",
        "{\"type\":\"object\",\"properties\":{}}",
        "{\"type\":\"object\",\"additionalProperties\":true}",
        "{\"type\":\"object\",\"properties\":{\"b\":{\"enum\":[1]}},\"additionalProperties\":true}",
        "{\"type\":\"object\",\"additionalProperties\":{\"type\":\"string\"}}",
        "{\"type\":\"object\",\"properties\":{\"b\":{\"type\":\"string\"}},\"required\":[\"c\"]}",
        "{\"type\":\"object\",\"properties\":{\"b\":{\"type\":\"string\"}},\"required\":\"b\"}",
        "{\"type\":\"object\",\"properties\":{\"b\":{}}}",
        "{\"type\":\"object\",\"properties\":[],\"additionalProperties\":false,\"required\":1}",
        "{\"type\":\"object\",\"properties\":{\"b\":{\"enum\":[1]}},\"patternProperties\":{}}",
        "{\"type\":\"array\"}",
        "{\"type\":\"array\",\"items\":{}}",
        "{\"type\":\"array\",\"items\":[{\"type\":\"string\"}]}",
        "{\"type\":\"array\",\"prefixItems\":[],\"items\":{\"type\":\"null\"}}",
        "{\"type\":\"string\",\"not\":{\"const\":\"b\"}}",
        "{\"type\":\"string\",\"if\":{},\"then\":{}}",
        "{\"enum\":[\"b\",1]}",
        "{\"type\":[\"string\",\"integer\"],\"enum\":[\"b\",1]}",
        "{\"type\":\"string\",\"enum\":[1]}",
        "{\"enum\":[]}",
        "{\"enum\":[{\"b\":1}]}",
        "{\"const\":[1]}",
        "{\"type\":\"file\"}",
        "{\"anyOf\":[]}",
        "{\"anyOf\":[{\"type\":\"string\"},true]}",
        "{\"anyOf\":[{\"type\":\"string\"}],\"type\":\"string\"}",
        "{\"anyOf\":[{\"type\":\"string\"}],\"oneOf\":[{\"type\":\"string\"}]}",
        "{\"allOf\":[{\"type\":\"string\"},{\"type\":\"string\"}]}",
        "{\"allOf\":[{\"type\":\"string\"}],\"type\":\"string\"}",
        "{\"allOf\":[]}",
        "{\"$ref\":\"#\",\"type\":\"object\"}",
        "{\"$ref\":\"#/properties/a\"}",
        "{\"$ref\":7}",
    };
    for (size_t i = 0; i < COUNT_OF(properties); i++)
        assert_property_not_made(properties[i]);
}

static void test_nothing_is_made_of_what_is_no_schema(void **state)
{
    (void)state;
    static const char *const schemas[] = {
        "null",
        "true",
        "3",
        "\"a\"",
        "[]",
        "{}",
        "{\"type\":\"string\"}",
        "{\"type\":\"object\"}", /* any object: that is json_object, not a schema */
        "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}",
        "{\"anyOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}}}]}",
    };
    for (size_t i = 0; i < COUNT_OF(schemas); i++)
        assert_not_made(schemas[i]);
    assert_null(schema_make_strict(NULL));
}

static void test_a_definition_that_cannot_be_made_matters_only_when_it_is_used(void **state)
{
    (void)state;
    assert_made("{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
                "\"required\":[\"a\"],\"$defs\":{\"any\":{}}}",
                "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"}},"
                "\"required\":[\"a\"],\"additionalProperties\":false}");
    assert_not_made("{\"type\":\"object\",\"properties\":{\"a\":{\"$ref\":\"#/$defs/any\"}},"
                    "\"required\":[\"a\"],\"$defs\":{\"any\":{}}}");
}

int main(void)
{
    json_setup();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_types_of_the_guide_are_taken),
        cmocka_unit_test(test_what_upstream_was_seen_to_take_is_left_to_upstream),
        cmocka_unit_test(test_recursion_through_definitions_and_the_root_is_taken),
        cmocka_unit_test(test_a_root_that_is_not_one_object_is_refused),
        cmocka_unit_test(test_the_message_says_what_is_wrong_and_where),
        cmocka_unit_test(test_every_keyword_that_strict_mode_does_not_know_is_refused),
        cmocka_unit_test(test_definitions_are_checked_wherever_they_are_used),
        cmocka_unit_test(test_five_thousand_properties_are_taken_and_one_more_is_not),
        cmocka_unit_test(test_ten_levels_are_taken_and_one_more_is_not),
        cmocka_unit_test(test_a_depth_bomb_is_refused_and_nothing_is_made_of_it),
        cmocka_unit_test(test_a_schema_of_very_many_values_is_refused_before_it_is_read),
        cmocka_unit_test(test_the_limits_of_enums_are_those_of_the_guide),
        cmocka_unit_test(test_names_are_counted_in_characters),
        cmocka_unit_test(test_names_in_paths_are_short_and_printable),
        cmocka_unit_test(test_a_long_name_that_is_missing_is_not_echoed),
        cmocka_unit_test(test_names_with_a_meaning_elsewhere_are_names),
        cmocka_unit_test(test_a_string_with_nul_is_no_word_of_the_schema),
        cmocka_unit_test(test_what_strict_mode_takes_is_made_into_itself),
        cmocka_unit_test(test_objects_are_closed_and_what_may_be_null_anyway_is_required),
        cmocka_unit_test(test_an_optional_property_that_may_not_be_null_cannot_be_made),
        cmocka_unit_test(test_properties_keep_their_order),
        cmocka_unit_test(test_annotations_are_dropped_and_constraints_told),
        cmocka_unit_test(test_a_long_constraint_is_not_told),
        cmocka_unit_test(test_a_type_that_is_only_meant_is_said),
        cmocka_unit_test(test_a_pydantic_model_is_made_strict),
        cmocka_unit_test(test_a_recursive_model_whose_root_is_a_reference_is_made_strict),
        cmocka_unit_test(test_a_zod_schema_is_made_strict),
        cmocka_unit_test(test_openapi_nullable_becomes_null),
        cmocka_unit_test(test_what_would_change_too_much_is_not_made),
        cmocka_unit_test(test_nothing_is_made_of_what_is_no_schema),
        cmocka_unit_test(test_a_definition_that_cannot_be_made_matters_only_when_it_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

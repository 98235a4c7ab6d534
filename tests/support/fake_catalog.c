/* The models that the fake worker claims to know, in the two shapes that the real one prints. */
#include "fake.h"

static const struct model {
    const char *slug;
    const char *name;
    const char *description;
    bool hidden;
    bool lite; /* as the newer bundled models are: client tools hide inside a code tool */
} models[] = {
    { "fake-large", "Fake-Large", "Echoes with great care.", false, true },
    { "fake-small", "Fake-Small", "Echoes.", false, false },
    { "fake-hidden", "Fake-Hidden", "Echoes where nobody looks.", true, true },
};

#define MODELS_LEN (sizeof(models) / sizeof(models[0]))
#define HIDDEN_LEN 1 /* hidden models are the last ones */

static void write_debug(struct buf *out, const struct model *m, size_t priority)
{
    buf_printf(out,
               "{\"slug\":\"%s\",\"display_name\":\"%s\",\"description\":\"%s\","
               "\"default_reasoning_level\":\"low\",\"supported_reasoning_levels\":["
               "{\"effort\":\"low\",\"description\":\"Fast\"},"
               "{\"effort\":\"medium\",\"description\":\"Balanced\"},"
               "{\"effort\":\"high\",\"description\":\"Deep\"}],",
               m->slug, m->name, m->description);
    buf_printf(out,
               "\"shell_type\":\"unified_exec\",\"visibility\":\"%s\",\"supported_in_api\":true,"
               "\"priority\":%zu,\"apply_patch_tool_type\":\"freeform\",\"context_window\":272000,"
               "\"input_modalities\":[\"text\",\"image\"],\"supports_search_tool\":true,"
               "\"base_instructions\":\"You are a fake worker.\",",
               m->hidden ? "hide" : "list", priority);
    /* The real catalog leaves tool_mode out where there is none. */
    buf_printf(out,
               "%s\"use_responses_lite\":%s,\"multi_agent_version\":%s,"
               "\"experimental_supported_tools\":[%s]}",
               m->lite ? "\"tool_mode\":\"code_mode_only\"," : "", m->lite ? "true" : "false",
               m->lite ? "\"v2\"" : "null", m->lite ? "\"clock\"" : "");
}

void catalog_write_debug(struct buf *out)
{
    buf_puts(out, "{\"models\":[");
    for (size_t i = 0; i < MODELS_LEN; i++) {
        buf_puts(out, i != 0 ? "," : "");
        write_debug(out, &models[i], i + 1);
    }
    buf_puts(out, "]}");
}

static void write_listed(struct buf *out, const struct model *m, bool is_default)
{
    buf_printf(out,
               "{\"id\":\"%s\",\"model\":\"%s\",\"upgrade\":null,\"upgradeInfo\":null,"
               "\"availabilityNux\":null,\"displayName\":\"%s\",\"description\":\"%s\","
               "\"modelSpecialty\":null,\"hidden\":%s,\"supportedReasoningEfforts\":["
               "{\"reasoningEffort\":\"low\",\"description\":\"Fast\"},"
               "{\"reasoningEffort\":\"medium\",\"description\":\"Balanced\"},"
               "{\"reasoningEffort\":\"high\",\"description\":\"Deep\"}],",
               m->slug, m->slug, m->name, m->description, m->hidden ? "true" : "false");
    buf_printf(out,
               "\"defaultReasoningEffort\":\"low\",\"inputModalities\":[\"text\",\"image\"],"
               "\"supportsPersonality\":false,\"multiAgentVersion\":%s,\"additionalSpeedTiers\":[],"
               "\"serviceTiers\":[],\"defaultServiceTier\":null,\"availableAccessPrograms\":null,"
               "\"isDefault\":%s}",
               m->lite ? "\"v2\"" : "null", is_default ? "true" : "false");
}

void catalog_write_page(struct buf *out, size_t from, size_t page, bool hidden)
{
    size_t known = hidden ? MODELS_LEN : MODELS_LEN - HIDDEN_LEN;
    size_t shown = 0;
    size_t i = from;
    buf_puts(out, "{\"data\":[");
    for (; i < known && (page == 0 || shown < page); i++) {
        buf_puts(out, shown++ != 0 ? "," : "");
        write_listed(out, &models[i], i == 0);
    }
    if (i < known)
        buf_printf(out, "],\"nextCursor\":\"%zu\"}", i);
    else
        buf_puts(out, "],\"nextCursor\":null}");
}

/* A text on its way out, piece by piece. */
#include "stub_speech.h"

void stub_speech_begin(struct stub_speech *s, const char *text, size_t len, const json_t *step)
{
    const json_t *cuts = json_object_get(step, "cuts");
    const json_t *seed = json_object_get(step, "random_cuts");
    *s = (struct stub_speech){ .text = text, .len = len, .sizes = cuts };
    if (len != 0)
        s->again = json_int_at(step, "repeat", 1) - 1;
    if (json_is_array(cuts)) {
        s->cut = STUB_CUT_SIZES;
    } else if (cuts != NULL) {
        s->cut = STUB_CUT_WORDS;
    } else if (seed != NULL) {
        s->cut = STUB_CUT_RANDOM;
        s->random = (uint64_t)json_integer_value(seed);
    }
}

bool stub_speech_over(const struct stub_speech *s)
{
    return s->at == s->len && s->again == 0;
}

static bool take_code_point(struct stub_speech *s, struct buf *piece)
{
    if (stub_speech_over(s))
        return false;
    if (s->at == s->len) {
        s->again--;
        s->at = 0;
    }
    size_t start = s->at++;
    while (s->at < s->len && ((unsigned char)s->text[s->at] & 0xc0) == 0x80)
        s->at++;
    buf_append(piece, s->text + start, s->at - start);
    return true;
}

/* A word and the blanks behind it. */
static void take_word(struct stub_speech *s, struct buf *piece)
{
    while (take_code_point(s, piece)) {
        bool next_is_blank = s->at < s->len && s->text[s->at] == ' ';
        if (piece->data[piece->len - 1] == ' ' && !next_is_blank)
            return;
    }
}

/* splitmix64: the same seed makes the same cuts on every machine. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t next_size(struct stub_speech *s)
{
    switch (s->cut) {
    case STUB_CUT_SIZES:
        return (size_t)json_integer_value(
            json_array_get(s->sizes, s->next_size++ % json_array_size(s->sizes)));
    case STUB_CUT_RANDOM:
        return 1 + next_random(&s->random) % STUB_SPEECH_RANDOM_CUT_MAX;
    case STUB_CUT_NONE:
    case STUB_CUT_WORDS:
        break;
    }
    return SIZE_MAX;
}

bool stub_speech_next(struct stub_speech *s, struct buf *piece)
{
    buf_clear(piece);
    if (s->cut == STUB_CUT_WORDS) {
        take_word(s, piece);
    } else {
        for (size_t left = next_size(s); left > 0 && take_code_point(s, piece);)
            left--;
    }
    return piece->len != 0;
}

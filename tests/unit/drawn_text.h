/* Texts that are drawn, the same on every run. */
#ifndef DRAWN_TEXT_H
#define DRAWN_TEXT_H

#include "buf.h"

#include <stdint.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"
#define ALNUM LOWER UPPER DIGIT
#define BASE64 ALNUM "+/"
#define BASE64_URL ALNUM "-_"
#define HEX DIGIT "abcdef"

static uint32_t dice = 1;

static inline uint32_t roll(uint32_t below)
{
    dice ^= dice << 13;
    dice ^= dice >> 17;
    dice ^= dice << 5;
    return dice % below;
}

static inline void draw(struct buf *out, const char *letters, size_t len)
{
    for (size_t i = 0; i < len; i++)
        buf_putc(out, letters[roll((uint32_t)strlen(letters))]);
}

#endif

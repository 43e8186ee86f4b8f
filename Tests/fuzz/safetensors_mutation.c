#include "safetensors_mutation.h"

#include <stdio.h>
#include <string.h>

enum { COUNT = 8 };

bool is_safetensors(const unsigned char *bytes, size_t size) {
    return size > COUNT && bytes[COUNT] == '{' && bytes[COUNT - 1] == 0;
}

static uint64_t get_count(const unsigned char *bytes) {
    uint64_t n = 0;
    for (size_t i = 0; i < COUNT; i++)
        n |= (uint64_t)bytes[i] << 8 * i;
    return n;
}

static void put_count(unsigned char *bytes, uint64_t n) {
    for (size_t i = 0; i < COUNT; i++)
        bytes[i] = (unsigned char)(n >> 8 * i);
}

/* Replaces `old` bytes at `at` by `length` others, from the header or behind it, so that the file keeps its size: the data
 * moves, and what is pushed out at the end is lost. */
static void replace(unsigned char *bytes, size_t size, size_t at, size_t old, const char *text, size_t length) {
    if (at > size || old > size - at || length > size - at)
        return;
    size_t rest = size - at - (old > length ? old : length);
    memmove(bytes + at + length, bytes + at + old, rest);
    memcpy(bytes + at, text, length);
}

/* The start of a number or a word in the header, from `at` on; `header` where there is none. */
static size_t find(const unsigned char *bytes, size_t header, size_t at, bool digit) {
    for (size_t i = at; i < header; i++) {
        bool is_digit = bytes[i] >= '0' && bytes[i] <= '9', was_digit = bytes[i - 1] >= '0' && bytes[i - 1] <= '9';
        if (digit ? is_digit && !was_digit : bytes[i] == '"')
            return i;
    }
    return header;
}

static void change_header(unsigned char *bytes, size_t size, size_t header, generator *g) {
    static const char *const numbers[] = {"0", "1", "-1", "2", "9223372036854775807", "9223372036854775808",
                                          "18446744073709551615", "4294967296", "1e3", "1.5", "00", "null", "[1]", "1e999"};
    static const char *const texts[] = {"\"F64\"", "\"F16\"", "\"BF16\"", "\"I64\"", "\"I32\"", "\"U8\"", "\"F4\"", "\"\"",
                                        "\"shape\"", "\"dtype\"", "\"data_offsets\"", "\"__metadata__\"", "\"\\u0000\"",
                                        "\"\\ud800\"", "\"classifier.l1.weight\"", "\"encoder.c0.weight\"", "{}", "[]", "0",
                                        "\"\xff\""};
    static const char marks[] = "{}[]:,\"\\ \n0-9aFIe";
    size_t start = COUNT + below(g, header - COUNT), at;
    switch (below(g, 8)) {
    case 0:                     /* a bit */
        bytes[start] ^= (unsigned char)(1u << below(g, 8));
        break;
    case 1:                     /* a mark */
        bytes[start] = (unsigned char)marks[below(g, sizeof marks - 1)];
        break;
    case 2: {                   /* another number */
        if ((at = find(bytes, header, start + 1, true)) == header)
            return;
        size_t length = 0;
        uint64_t now = 0;
        char near[32];
        for (; at + length < header && bytes[at + length] >= '0' && bytes[at + length] <= '9'; length++)
            now = 10 * now + (uint64_t)(bytes[at + length] - '0');
        const char *text = ONE_OF(g, numbers);
        if (once_in(g, 2)) {    /* a little more or less */
            snprintf(near, sizeof near, "%llu", (unsigned long long)(now + below(g, 9) - 4));
            text = near;
        }
        replace(bytes, size, at, length, text, strlen(text));
        break;
    }
    case 3: {                   /* another text */
        if ((at = find(bytes, header, start + 1, false)) == header)
            return;
        size_t end = find(bytes, header, at + 1, false);
        const char *text = ONE_OF(g, texts);
        if (end < header)
            replace(bytes, size, at, end + 1 - at, text, strlen(text));
        break;
    }
    case 4: {                   /* a stretch of the header somewhere else in it */
        char stretch[64];
        size_t length = 1 + below(g, sizeof stretch), from = COUNT + below(g, header - COUNT);
        if (from + length > size)
            return;
        memcpy(stretch, bytes + from, length);
        replace(bytes, size, start, once_in(g, 2) ? length : 0, stretch, length);
        break;
    }
    case 5:                     /* nothing instead of a stretch */
        replace(bytes, size, start, 1 + below(g, 40), "", 0);
        break;
    case 6: {                   /* nested, deep */
        char deep[64];
        memset(deep, once_in(g, 2) ? '[' : '{', sizeof deep);
        replace(bytes, size, start, 0, deep, sizeof deep);
        break;
    }
    default:                    /* the count */
        put_count(bytes, once_in(g, 2) ? get_count(bytes) + below(g, 17) - 8 : next_word(g) >> below(g, 64));
    }
}

void mutate_safetensors(unsigned char *bytes, size_t *size, generator *g, bool mend) {
    static const size_t numbers[] = {1, 1, 1, 2, 3, 5, 8};
    uint64_t length = get_count(bytes);
    size_t header = length < *size - COUNT ? COUNT + (size_t)length : *size;
    size_t before = header;
    for (size_t changes = ONE_OF(g, numbers); changes > 0; changes--) {
        if (once_in(g, 8))
            bytes[below(g, *size)] ^= (unsigned char)(1u << below(g, 8));
        else if (header > COUNT)
            change_header(bytes, *size, header, g);
    }
    if (mend) {                 /* a count that ends the header at the last brace before the data */
        size_t end = before < *size ? before + below(g, 64) : *size;
        if (end > *size)
            end = *size;
        while (end > COUNT && bytes[end - 1] != '}')
            end--;
        put_count(bytes, end - COUNT);
    }
    if (once_in(g, 24))
        *size = below(g, *size + 1);
}

#include "mutation.h"

#include <stdlib.h>
#include <string.h>

#include "checksums.h"
#include "safetensors_mutation.h"

/* ---- Where the checksums stand, by a file's size and a sum over its first bytes: the corpus is small */

enum { MOST_BLOCKS = 512, MOST_REMEMBERED = 256 };
static struct {
    uint64_t key;
    size_t count;
    block *blocks;
} remembered[MOST_REMEMBERED];
static size_t remembered_count;

static uint64_t key_of(const unsigned char *bytes, size_t size) {
    uint64_t key = 14695981039346656037u ^ size;
    for (size_t i = 0; i < size; i++)
        key = (key ^ bytes[i]) * 1099511628211u;
    return key;
}

void remember_blocks(const unsigned char *bytes, size_t size) {
    block *blocks = malloc(sizeof(block) * MOST_BLOCKS);
    if (blocks == NULL)
        return;
    size_t slot = remembered_count++ % MOST_REMEMBERED;
    free(remembered[slot].blocks);
    remembered[slot].key = key_of(bytes, size);
    remembered[slot].blocks = blocks;
    remembered[slot].count = find_blocks(bytes, size, blocks, MOST_BLOCKS);
}

static size_t blocks_of(const unsigned char *bytes, size_t size, const block **blocks) {
    uint64_t key = key_of(bytes, size);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < MOST_REMEMBERED && i < remembered_count; i++) {
            if (remembered[i].key == key && remembered[i].blocks != NULL) {
                *blocks = remembered[i].blocks;
                return remembered[i].count;
            }
        }
        remember_blocks(bytes, size);
    }
    return 0;
}

/* ---- Damage */

static void put(unsigned char *bytes, size_t size, size_t at, uint64_t number, size_t width) {
    for (size_t i = 0; i < width && at + i < size; i++)
        bytes[at + i] = (unsigned char)(number >> 8 * i);
}

static void change_at(unsigned char *bytes, size_t size, size_t at, generator *g) {
    static const size_t widths[] = {1, 2, 2, 4, 8, 8};
    size_t width = ONE_OF(g, widths);
    uint64_t now = 0;
    for (size_t i = 0; i < width && at + i < size; i++)
        now |= (uint64_t)bytes[at + i] << 8 * i;
    const uint64_t extremes[] = {0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 1u << 31, 0x7FFFFFFF, UINT64_MAX, UINT64_MAX - 1,
                                 (uint64_t)1 << 63, (uint64_t)1 << 40, size, size - 1, size + 1};
    switch (below(g, 6)) {
    case 0:
        bytes[at] ^= (unsigned char)(1u << below(g, 8));
        break;
    case 1:
        put(bytes, size, at, ONE_OF(g, extremes), width);
        break;
    case 2:                     /* a little more or less */
        put(bytes, size, at, now + below(g, 33) - 16, width);
        break;
    case 3:                     /* an address that is somewhere in the file */
        put(bytes, size, at, below(g, size), 8);
        break;
    case 4:                     /* twice, half */
        put(bytes, size, at, once_in(g, 2) ? now * 2 : now / 2, width);
        break;
    default: {                  /* a part from elsewhere */
        size_t from = below(g, size), length = 1 + below(g, 32);
        if (length > size - at)
            length = size - at;
        if (length > size - from)
            length = size - from;
        memmove(bytes + at, bytes + from, length);
    }
    }
}

void mutate(unsigned char *bytes, size_t *size, generator *g, bool mend) {
    static const size_t numbers[] = {1, 1, 1, 2, 3, 5, 8};
    if (is_safetensors(bytes, *size)) {
        mutate_safetensors(bytes, size, g, mend);
        return;
    }
    const block *blocks = NULL;
    size_t count = *size ? blocks_of(bytes, *size, &blocks) : 0;
    for (size_t changes = ONE_OF(g, numbers); changes > 0 && *size > 0; changes--) {
        size_t at = below(g, *size);
        if (count > 0 && !once_in(g, 8)) {
            const block *b = &blocks[below(g, count)];
            at = b->start + below(g, b->size);
        }
        change_at(bytes, *size, at, g);
    }
    if (mend)
        mend_blocks(bytes, *size, blocks, count);
    if (once_in(g, 24))
        *size = below(g, *size + 1);
}

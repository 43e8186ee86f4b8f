#include "checksums.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* ---- Jenkins' lookup3, hashlittle, as libhdf5's H5_checksum_lookup3 with initial value 0 */

static uint32_t rotate(uint32_t x, int k) { return x << k | x >> (32 - k); }

static uint32_t lookup3(const unsigned char *k, size_t length) {
    uint32_t a, b, c;
    a = b = c = 0xdeadbeef + (uint32_t)length;
#define LOAD(p) ((uint32_t)(p)[0] | (uint32_t)(p)[1] << 8 | (uint32_t)(p)[2] << 16 | (uint32_t)(p)[3] << 24)
    for (; length > 12; length -= 12, k += 12) {
        a += LOAD(k);
        b += LOAD(k + 4);
        c += LOAD(k + 8);
        a -= c, a ^= rotate(c, 4), c += b;
        b -= a, b ^= rotate(a, 6), a += c;
        c -= b, c ^= rotate(b, 8), b += a;
        a -= c, a ^= rotate(c, 16), c += b;
        b -= a, b ^= rotate(a, 19), a += c;
        c -= b, c ^= rotate(b, 4), b += a;
    }
    if (length == 0)
        return c;
    unsigned char tail[12] = {0};
    memcpy(tail, k, length);
    a += LOAD(tail);
    b += LOAD(tail + 4);
    c += LOAD(tail + 8);
    c ^= b, c -= rotate(b, 14);
    a ^= c, a -= rotate(c, 11);
    b ^= a, b -= rotate(a, 25);
    c ^= b, c -= rotate(b, 16);
    a ^= c, a -= rotate(c, 4);
    b ^= a, b -= rotate(a, 14);
    c ^= b, c -= rotate(b, 24);
    return c;
}

/* ---- Blocks */

static uint64_t number(const unsigned char *p, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; i--)
        value = value << 8 | p[i];
    return value;
}

static uint32_t checksum_of(const unsigned char *bytes, const block *b) {
    if (b->checksum + 4 == b->start + b->size)
        return lookup3(bytes + b->start, b->size - 4);
    unsigned char *copy = malloc(b->size);      /* it is in the middle, and counts as zero */
    if (copy == NULL)
        return 0;
    memcpy(copy, bytes + b->start, b->size);
    memset(copy + (b->checksum - b->start), 0, 4);
    uint32_t sum = lookup3(copy, b->size);
    free(copy);
    return sum;
}

static bool is_right(const unsigned char *bytes, size_t size, const block *b) {
    return b->size >= 8 && b->start <= size && b->size <= size - b->start &&
           number(bytes + b->checksum, 4) == checksum_of(bytes, b);
}

/* The size of an object header's first chunk, by its prefix: flags tell which fields there are. */
static size_t object_header_size(const unsigned char *p, size_t left) {
    if (left < 16)
        return 0;
    int flags = p[5], width = 1 << (flags & 3);
    size_t at = 6 + (flags & 0x20 ? 16 : 0) + (flags & 0x10 ? 4 : 0);
    if (at + (size_t)width > left)
        return 0;
    uint64_t messages = number(p + at, width);
    return messages > left ? 0 : at + (size_t)width + (size_t)messages + 4;
}

enum { LONGEST_TRIED = 1200 };

static bool try_size(const unsigned char *bytes, size_t size, size_t start, size_t length, block *found) {
    *found = (block){start, length, start + length - 4};
    return length >= 12 && is_right(bytes, size, found);
}

/* A block with this signature at `start`: by its header's size, by the sizes that libhdf5 uses, or by trying all. */
static bool find_block(const unsigned char *bytes, size_t size, size_t start, block *found) {
    const unsigned char *p = bytes + start;
    size_t left = size - start;
    if (memcmp(p, "\211HDF", 4) == 0)
        return left >= 48 && (p[8] == 2 || p[8] == 3) && try_size(bytes, size, start, 48, found);
    if (memcmp(p, "OHDR", 4) == 0)
        return try_size(bytes, size, start, object_header_size(p, left), found);
    if (memcmp(p, "FHDB", 4) == 0) {    /* signature, version, address of the header, offset of 1 to 8 bytes, checksum */
        for (size_t length = 256; length <= left && length <= 65536; length *= 2) {
            for (size_t offset = 1; offset <= 8; offset++) {
                *found = (block){start, length, start + 13 + offset};
                if (is_right(bytes, size, found))
                    return true;
            }
        }
        return false;
    }
    for (size_t length = 12; length <= left && length <= LONGEST_TRIED; length++)
        if (try_size(bytes, size, start, length, found))
            return true;
    return false;
}

size_t find_blocks(const unsigned char *bytes, size_t size, block *blocks, size_t most) {
    /* The superblock; object headers; heaps; version 2 B-trees; indexes of chunks (fixed, extensible arrays). */
    static const char signatures[][5] = {"\211HDF", "OHDR", "OCHK", "FRHP", "FHDB", "FHIB", "FSHD", "FSSE", "BTHD",
                                         "BTIN",    "BTLF", "FAHD", "FADB", "EAHD", "EAIB", "EADB", "EASB"};
    size_t count = 0;
    for (size_t at = 0; at + 12 <= size && count < most; at++) {
        bool known = false;
        for (size_t i = 0; i < sizeof signatures / sizeof signatures[0] && !known; i++)
            known = memcmp(bytes + at, signatures[i], 4) == 0;
        if (known && find_block(bytes, size, at, &blocks[count]))
            at += blocks[count++].size - 1;
    }
    return count;
}

void mend_blocks(unsigned char *bytes, size_t size, const block *blocks, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const block *b = &blocks[i];
        if (b->start > size || b->size > size - b->start)
            continue;           /* cut off */
        uint32_t sum = checksum_of(bytes, b);
        for (int k = 0; k < 4; k++)
            bytes[b->checksum + (size_t)k] = (unsigned char)(sum >> 8 * k);
    }
}

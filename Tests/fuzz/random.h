/* random.h - the drivers' random numbers: the same from the same seed, on every machine. */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct generator {
    uint64_t state;
} generator;

/* splitmix64: every seed gives a stream of its own, so that step i of seed s can start at once. */
static inline uint64_t next_word(generator *g) {
    uint64_t z = g->state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static inline generator stream(uint64_t seed, uint64_t step) {
    generator g = {seed};
    generator h = {next_word(&g) ^ step};
    next_word(&h);
    return h;
}

/* 0 ... count - 1; 0 for count = 0. */
static inline size_t below(generator *g, size_t count) {
    return count ? (size_t)(next_word(g) % count) : 0;
}

/* True once in so many times. */
static inline bool once_in(generator *g, size_t times) { return below(g, times) == 0; }

#define ONE_OF(g, array) ((array)[below((g), sizeof(array) / sizeof((array)[0]))])

#endif

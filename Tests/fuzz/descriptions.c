/*
 * descriptions.c - damaged descriptions of architectures through dim_architecture_parse.
 *
 *     descriptions --count 20000 --seed 1
 *     descriptions --first 4711 --count 1 --seed 1
 *     descriptions --count 64 --write FOLDER      what is tried, as files for libFuzzer to start from
 *
 * Each becomes an architecture, whose text reads as the same one, or to a message. With LIBFUZZER this is a target of
 * libFuzzer.
 */
#include <dim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "support.h"

enum { MOST = 60000 };

/* NULL where all is well. */
static const char *try_description(const unsigned char *bytes, size_t size, bool *sound) {
    static char text[MOST], again[MOST], table[1 << 20];
    /* A block of its very size: a byte read behind it would be seen. */
    char *exact = malloc(size + 1);
    if (exact == NULL)
        give_up("out of memory");
    memcpy(exact, bytes, size);
    dim_architecture *first = NULL, *second = NULL;
    dim_status status = dim_architecture_parse(exact, size, &first);
    free(exact);
    *sound = status == DIM_OK;
    if (!*sound) {
        if (status != (size > MOST ? DIM_TOO_LARGE : DIM_INVALID_ARGUMENT))
            return "a status that dim.h does not name";
        if (first != NULL)
            return "a call that failed wrote to its output";
        size_t length = strlen(dim_last_error());
        return length == 0 ? "no message" : length > 65536 ? "a message of more than 64 KiB" : NULL;
    }
    const char *wrong = NULL;
    if (dim_architecture_json(first, text, sizeof text, NULL) != DIM_OK)
        wrong = "the text of a sound architecture is not to be had";
    else if (dim_architecture_parse(text, strlen(text), &second) != DIM_OK)
        wrong = "an architecture's own text is refused";
    else if (dim_architecture_json(second, again, sizeof again, NULL) != DIM_OK || strcmp(text, again) != 0)
        wrong = "an architecture's own text reads as another one";
    else if (dim_architecture_summary(first, table, sizeof table, NULL) != DIM_OK)
        wrong = "no table of the layers";
    dim_architecture_free(first);
    dim_architecture_free(second);
    return wrong;
}

#ifdef LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool sound;
    const char *wrong = try_description(data, size, &sound);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", wrong, dim_last_error());
        abort();
    }
    return 0;
}

#else

static const char *const own[] = {
    "{\"preset\":\"basic32\",\"image\":{\"channels\":1,\"height\":48,\"width\":40},\"classifier\":{\"classes\":137}}",
    "{\"preset\":\"alex64\",\"global\":{\"score\":\"dot\",\"net\":\"copy\",\"units\":99},"
    "\"coordinates\":{\"hidden\":[8]}}",
    "{\"image\":{\"channels\":2,\"height\":7,\"width\":9,\"mean\":[0.1,0.2],\"resize\":\"crop\"},"
    "\"encoder\":{\"norms\":\"last\",\"layers\":[{\"op\":\"conv\",\"name\":\"c0\",\"out\":5,\"kernel\":[3,2],"
    "\"norm\":\"layer\",\"activation\":\"relu\"},{\"op\":\"residual\",\"layers\":[{\"op\":\"conv\",\"name\":\"q0\","
    "\"out\":6,\"kernel\":1,\"norm\":\"batch\"}],\"shortcut\":{\"op\":\"conv\",\"name\":\"s1\",\"out\":6,"
    "\"kernel\":1}},{\"op\":\"avgpool\",\"kernel\":2,\"padding\":1},{\"op\":\"dropout\",\"dropout\":0.5},"
    "{\"op\":\"flatten\"},{\"op\":\"linear\",\"name\":\"l0\",\"out\":4},{\"op\":\"linear\",\"name\":\"l1\","
    "\"out\":3}],\"features\":\"c0\"},\"local\":{\"score\":\"dot\",\"units\":4},\"global\":{\"score\":\"concat\","
    "\"hidden\":[6]}}",
};
enum { OWN = sizeof own / sizeof own[0], SPARE = 256 };

static bool separates(unsigned char byte) { return byte != 0 && strchr(",:[]{}", byte) != NULL; }

/* A value: the text between two separators. Its length; 0 if there is none. */
static size_t find_value(generator *g, const unsigned char *text, size_t length, size_t *at) {
    size_t start = below(g, length), end;
    while (start < length && !separates(text[start]))
        start++;
    while (start < length && separates(text[start]))
        start++;
    for (end = start; end < length && !separates(text[end]); end++)
        ;
    *at = start;
    return end - start;
}

static size_t replace(unsigned char *text, size_t length, size_t at, size_t old, const void *with, size_t size) {
    memmove(text + at + size, text + at + old, length - at - old);
    memcpy(text + at, with, size);
    return length - old + size;
}

static size_t damage(generator *g, unsigned char *text, size_t length) {
    static const char *const tokens[] = {"0", "1", "2", "-1", "65536", "65537", "2147483648", "1e999", "1.5", "null", "true", "[]",
                                         "{}", "[1,2]", "\"c0\"", "\"conv\"", "\"linear\"", "\"residual\"", "\"last\"", "\"copy\"",
                                         "\"\\ud800\"", ",", "{", "}", "[", "]"};
    const char *token = ONE_OF(g, tokens);
    unsigned char piece[64];
    size_t at = below(g, length), from, size, old;
    switch (below(g, 8)) {
    case 0:
        text[at] = (unsigned char)next_word(g);
        return length;
    case 1:
        return replace(text, length, at, 0, token, strlen(token));
    case 2:
        size = 1 + below(g, length - at < 40 ? length - at : 40);
        return size < length ? replace(text, length, at, size, "", 0) : length;
    case 3: case 4:
        size = find_value(g, text, length, &at);
        return replace(text, length, at, size, token, strlen(token));
    default:                    /* another value of the same text */
        size = find_value(g, text, length, &from);
        size = size < sizeof piece ? size : sizeof piece;
        memcpy(piece, text + from, size);
        old = find_value(g, text, length, &at);
        return size == 0 ? length : replace(text, length, at, old, piece, size);
    }
}

static size_t make_description(generator *g, unsigned char *bytes) {
    size_t which = below(g, OWN + preset_count()), length = 0;
    if (which < OWN) {
        length = strlen(own[which]);
        memcpy(bytes, own[which], length);
    } else {
        dim_architecture *architecture = NULL;
        if (dim_architecture_preset(dim_architecture_preset_name(which - OWN), &architecture) != DIM_OK ||
            dim_architecture_json(architecture, (char *)bytes, MOST, NULL) != DIM_OK)
            give_up("a preset's text: %s", dim_last_error());
        length = strlen((char *)bytes);
        dim_architecture_free(architecture);
    }
    for (size_t times = once_in(g, 3) ? 1 + below(g, 3) : 1; times > 0 && length > 1; times--)
        length = damage(g, bytes, length);
    return length;
}

int main(int argc, char **argv) {
    static const char *const names[] = {"count=", "first=", "seed=", "write=", NULL};
    check_options(argc, argv, names, "descriptions [--count N] [--first I] [--seed S] [--write FOLDER]");
    const char *folder = option(argc, argv, "write", NULL);
    uint64_t count = number_option(argc, argv, "count", 20000), first = number_option(argc, argv, "first", 0);
    uint64_t seed = number_option(argc, argv, "seed", 1), sound_ones = 0, failures = 0;
    double start = seconds_now();
    static unsigned char bytes[MOST + SPARE];
    for (uint64_t i = first; i < first + count && failures < 20; i++) {
        bool sound = false;
        generator g = stream(seed, i);
        size_t size = make_description(&g, bytes);
        if (folder != NULL) {
            char path[512];
            snprintf(path, sizeof path, "%s/%llu", folder, (unsigned long long)i);
            write_file(path, bytes, size);
        }
        const char *wrong = try_description(bytes, size, &sound);
        sound_ones += sound;
        if (wrong != NULL) {
            failures++;
            say("description %llu of seed %llu: %s: %s", (unsigned long long)i, (unsigned long long)seed, wrong, dim_last_error());
        }
    }
    say("%llu descriptions, seed %llu: %llu sound, %llu refused, %llu faults of the library's; %.0f s", (unsigned long long)count,
        (unsigned long long)seed, (unsigned long long)sound_ones, (unsigned long long)(count - sound_ones),
        (unsigned long long)failures, seconds_now() - start);
    return failures > 0;
}

#endif

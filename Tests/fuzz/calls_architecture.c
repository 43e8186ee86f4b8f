/*
 * Calls of the architectures' functions: sound descriptions, damaged ones, and bytes that are none; and of what is new for
 * models of any architecture, on a small one whose arrays have none of the macros' sizes.
 */
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "support.h"

enum { MOST_TEXT = 60000 };

#define tiny_description \
    "{\"image\":{\"channels\":2,\"height\":7,\"width\":9},\"encoder\":{\"layers\":[{\"op\":\"conv\",\"name\":\"c0\"," \
    "\"out\":5,\"kernel\":[3,2],\"norm\":\"layer\",\"activation\":\"relu\"},{\"op\":\"residual\",\"name\":\"r0\"," \
    "\"layers\":[{\"op\":\"conv\",\"name\":\"c0\",\"out\":5,\"kernel\":1}],\"shortcut\":null},{\"op\":\"maxpool\"," \
    "\"name\":\"p0\",\"kernel\":2},{\"op\":\"dropout\",\"dropout\":0.5},{\"op\":\"flatten\"},{\"op\":\"linear\",\"name\":\"l0\"," \
    "\"out\":4,\"norm\":\"batch\"},{\"op\":\"linear\",\"name\":\"l1\",\"out\":3}],\"features\":\"c0\",\"conv\":\"p0\"}," \
    "\"local\":{\"score\":\"dot\",\"units\":4},\"global\":{\"score\":\"concat\",\"hidden\":[6]}," \
    "\"classifier\":{\"hidden\":[5],\"classes\":4},\"coordinates\":{\"hidden\":[]}}"

static const char *const descriptions[] = {
    "{\"preset\":\"basic32\"}",
    "{\"preset\":\"notebook\",\"classifier\":{\"classes\":3}}",
    "{\"preset\":\"basic28\",\"image\":{\"channels\":3,\"mean\":[0.1,0.2,0.3]},\"global\":{\"score\":\"dot\","
    "\"net\":\"copy\",\"units\":9}}",
    tiny_description,
};

static void preset(context *c) {
    static const char *const none[] = {"", "basic33", "Notebook", "notebook ", "\xFF\xFE", "%s%n"};
    dim_architecture *architecture;
    dim_architecture **out = or_null(c, &architecture);
    bool known = !once_in(&c->random, 3);
    const char *name = known ? dim_architecture_preset_name(below(&c->random, preset_count())) : ONE_OF(&c->random, none);
    if (!known && once_in(&c->random, 4))
        name = NULL;
    c->wrong |= !known;
    paint(&architecture, sizeof architecture);
    begin(c, "%s, %s", name ? name : "NULL", out ? "out" : "NULL");
    c->must_work = true;
    if (finish(c, dim_architecture_preset(name, out), S(INVALID_ARGUMENT) | S(UNKNOWN_NAME)))
        keep_handle(c, architecture, ARCHITECTURE, false);
    else
        check_untouched(c, &architecture, sizeof architecture);
}

static void preset_name(context *c) {
    size_t index = once_in(&c->random, 3) ? next_word(&c->random) | 64 : below(&c->random, 8);
    begin(c, "%zu", index);
    const char *name = dim_architecture_preset_name(index);
    finish_plain(c, (name != NULL) == (index < preset_count()), "the first indexes alone have names");
}

/* One byte, one token in another's place, or a piece that is gone. */
static size_t damage(context *c, char *text, size_t length) {
    static const char *const tokens[] = {"0", "-1", "65537", "1e999", "null", "[]", "{}", "\"c0\"", "\"\\ud800\"", ",", "}", "["};
    size_t at = below(&c->random, length), left = length - at;
    switch (below(&c->random, 3)) {
    case 0:
        text[at] = (char)below(&c->random, 256);
        return length;
    case 1: {
        const char *token = ONE_OF(&c->random, tokens);
        size_t size = strlen(token);
        memmove(text + at + size, text + at, left);
        memcpy(text + at, token, size);
        return length + size;
    }
    default: {
        size_t size = 1 + below(&c->random, left);
        memmove(text + at, text + at + size, left - size);
        return length - size;
    }
    }
}

static void parse(context *c) {
    dim_architecture *architecture;
    dim_architecture **out = or_null(c, &architecture);
    const char *description = ONE_OF(&c->random, descriptions);
    size_t length = strlen(description);
    /* A block of the text's very size: a byte behind it would be seen. */
    char *text = malloc(length + 64);
    if (text == NULL)
        give_up("out of memory");
    memcpy(text, description, length);
    bool sound = once_in(&c->random, 3);
    if (!sound)
        for (size_t times = 1 + below(&c->random, 3); times > 0 && length > 1; times--)
            length = damage(c, text, length);
    char *exact = malloc(length + 1);
    if (exact == NULL)
        give_up("out of memory");
    memcpy(exact, text, length);
    free(text);
    size_t bytes = length;
    if (once_in(&c->random, 8)) {
        const size_t wrong[] = {MOST_TEXT + 1, SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 2, 0};
        bytes = ONE_OF(&c->random, wrong);
        c->wrong = true;
    }
    const char *json = or_null(c, exact);
    paint(&architecture, sizeof architecture);
    begin(c, "%s, %zu, %s", json ? "text" : "NULL", bytes, out ? "out" : "NULL");
    c->must_work = sound;
    if (finish(c, dim_architecture_parse(json, bytes, out), S(INVALID_ARGUMENT) | S(TOO_LARGE)))
        keep_handle(c, architecture, ARCHITECTURE, false);
    else
        check_untouched(c, &architecture, sizeof architecture);
    free(exact);
}

static void text_of(context *c, dim_status (*function)(const dim_architecture *, char *, size_t, size_t *)) {
    slot s = handle_of(c, ARCHITECTURE);
    char *block = (char *)c->arrays->out, *out = block;
    size_t capacity = once_in(&c->random, 2) ? MOST_TEXT : below(&c->random, 3000), size = 0;
    size_t *needed = once_in(&c->random, 4) ? NULL : &size;
    if (once_in(&c->random, 8)) {
        out = NULL;
        c->wrong = true;        /* too small, or without a place to go */
        capacity = once_in(&c->random, 2) ? 0 : capacity;
    }
    begin(c, "%p, %s, %zu, %s", s.handle, out ? "out" : "NULL", capacity, needed ? "needed" : "NULL");
    c->must_work = capacity == MOST_TEXT;
    if (finish(c, function(s.handle, out, capacity, needed), S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(SIZE_MISMATCH))) {
        size_t length = strlen(out) + 1;
        if (length > capacity || (needed != NULL && size != length))
            violation(c, "%zu bytes were written, %zu are needed", length, size);
        paint(out, length);
    }
    check_untouched(c, block, MOST_TEXT);
}

static void json(context *c) { text_of(c, dim_architecture_json); }
static void summary(context *c) { text_of(c, dim_architecture_summary); }

static void free_architecture(context *c) {
    slot s = handle_to_free(c, ARCHITECTURE);
    begin(c, "%p", s.handle);
    dim_architecture_free(s.handle);
    finish_plain(c, true, "");
}

/* ---- Models of any architecture */

enum { TINY_CLASSES = 4, TINY_FEATURES = 5 * 5 * 8, TINY_CELLS = 5 * 8, TINY_CONV = 5 * 2 * 4, TINY_FC = 4, TINY_ENCODED = 3 };

void make_tiny(dim_architecture **architecture, dim_model **model) {
    static const char text[] = tiny_description;
    dim_sizes sizes = {.struct_size = sizeof sizes};
    if (dim_architecture_parse(text, sizeof text - 1, architecture) != DIM_OK ||
        dim_model_create_with(*architecture, 3, model) != DIM_OK || dim_model_sizes(*model, &sizes) != DIM_OK)
        give_up("a small model: %s", dim_last_error());
    if (sizes.features_channels * sizes.features_height * sizes.features_width != TINY_FEATURES ||
        sizes.conv_channels * sizes.conv_height * sizes.conv_width != TINY_CONV || sizes.fc != TINY_FC || sizes.encoded != TINY_ENCODED ||
        sizes.classes != TINY_CLASSES)
        give_up("a small model of other sizes than calls_architecture.c expects");
}

/* The small one as a rule; else a handle that is wrong. */
static void *tiny_model(context *c) {
    slot s = {c->base->tiny, MODEL, true, true, false};
    if (once_in(&c->random, 4))
        while (!c->wrong_handle)
            s = handle_of(c, MODEL);
    return s.handle;
}

static void create_with(context *c) {
    dim_model *model;
    dim_model **out = or_null(c, &model);
    void *architecture = c->base->architecture;
    if (once_in(&c->random, 3))
        while (!c->wrong_handle)
            architecture = handle_of(c, ARCHITECTURE).handle;
    uint64_t number = next_word(&c->random);
    paint(&model, sizeof model);
    begin(c, "%p, %llu, %s", architecture, (unsigned long long)number, out ? "out" : "NULL");
    c->must_work = true;
    if (finish(c, dim_model_create_with(architecture, number, out), S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(OUT_OF_MEMORY)))
        dim_model_free(model);      /* of other sizes than the calls on models take for granted */
    else
        check_untouched(c, &model, sizeof model);
}

static void architecture_of(context *c) {
    slot s = handle_of(c, MODEL);
    dim_architecture *architecture;
    dim_architecture **out = or_null(c, &architecture);
    paint(&architecture, sizeof architecture);
    begin(c, "%p, %s", s.handle, out ? "out" : "NULL");
    c->must_work = true;
    if (finish(c, dim_model_architecture(s.handle, out), S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(OUT_OF_MEMORY)))
        keep_handle(c, architecture, ARCHITECTURE, false);
    else
        check_untouched(c, &architecture, sizeof architecture);
}

static void sizes(context *c) {
    slot s = handle_of(c, MODEL);
    dim_sizes found;
    paint(&found, sizeof found);
    found.struct_size = struct_size(c, sizeof found);
    dim_sizes *out = or_null(c, &found);
    begin(c, "%p, %s of %zu", s.handle, out ? "out" : "NULL", found.struct_size);
    c->must_work = true;
    if (!finish(c, dim_model_sizes(s.handle, out), S(INVALID_HANDLE) | S(INVALID_ARGUMENT)))
        check_untouched(c, &found.image_channels, sizeof found - sizeof found.struct_size);
    else if (found.encoded == 0 || found.max_images == 0)
        violation(c, "sizes of 0");
}

static void options_for(context *c) {
    slot s = handle_of(c, MODEL);
    dim_trainer_options options;
    paint(&options, sizeof options);
    size_t size = struct_size(c, sizeof options);
    dim_trainer_options *out = or_null(c, &options);
    begin(c, "%p, %s, %zu", s.handle, out ? "out" : "NULL", size);
    c->must_work = true;
    if (!finish(c, dim_trainer_options_for(s.handle, out, size), S(INVALID_HANDLE) | S(INVALID_ARGUMENT)))
        check_untouched(c, &options, sizeof options);
}

static void set_class_names(context *c) {
    static const char *const good[] = {"cat", "\xC3\xA9", "a name of several words", "x"};
    static const char *const bad[] = {"", "\n", "\xFF\xFE", "\xED\xA0\x80", "\x7F", NULL};
    static const size_t wrong[] = {1, TINY_CLASSES - 1, TINY_CLASSES + 1, SIZE_MAX, SIZE_MAX / 2 + 1};
    const char *names[TINY_CLASSES];
    void *model = tiny_model(c);
    size_t count = once_in(&c->random, 5) ? 0 : TINY_CLASSES;
    const size_t first = below(&c->random, sizeof good / sizeof good[0]);
    for (size_t i = 0; i < TINY_CLASSES; i++)
        names[i] = good[(first + i) % (sizeof good / sizeof good[0])];
    if (once_in(&c->random, 4) && count > 0) {
        names[1 + below(&c->random, TINY_CLASSES - 1)] = names[0];
        c->wrong = true;
    }
    if (once_in(&c->random, 4) && count > 0) {
        names[below(&c->random, TINY_CLASSES)] = ONE_OF(&c->random, bad);
        c->wrong = true;
    }
    if (once_in(&c->random, 6)) {
        count = ONE_OF(&c->random, wrong);
        c->wrong = true;
    }
    const char *const *list = count == 0 ? names : or_null(c, names);
    begin(c, "%p, %zu, %s", model, count, list ? "names" : "NULL");
    c->must_work = true;
    finish(c, dim_model_set_class_names(model, count, list),
           S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(SIZE_MISMATCH) | S(MISSING_NETWORK));
}

static void class_name(context *c) {
    static const size_t past[] = {TINY_CLASSES, SIZE_MAX, SIZE_MAX / 2 + 1};
    void *model = tiny_model(c);
    char name[256];
    size_t needed = 0, index = below(&c->random, TINY_CLASSES), capacity = once_in(&c->random, 3) ? below(&c->random, 8) : 256;
    if (once_in(&c->random, 4)) {
        index = ONE_OF(&c->random, past);
        c->wrong = true;
    }
    paint(name, sizeof name);
    begin(c, "%p, %zu, out, %zu, needed", model, index, capacity);
    c->must_work = capacity == 256;
    if (!finish(c, dim_model_class_name(model, index, name, capacity, &needed), S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(SIZE_MISMATCH)))
        check_untouched(c, name, sizeof name);
    else if (needed != strlen(name) + 1 || needed > capacity)
        violation(c, "a name of %zu bytes, %zu are needed", strlen(name) + 1, needed);
}

/* Arrays of their very size, so that a write beyond the small model's sizes is seen. */
static void encode_outputs(context *c) {
    arrays *m = c->arrays;
    size_t n = 1 + below(&c->random, MOST_IMAGES);
    void *model = tiny_model(c);
    float *encoded = m->out, *features = encoded + n * TINY_ENCODED, *conv = features + n * TINY_FEATURES;
    float *fc = conv + n * TINY_CONV;
    dim_outputs outputs = {.struct_size = struct_size(c, sizeof outputs), .encoded = encoded, .features = features, .conv = conv, .fc = fc};
    if (once_in(&c->random, 3))
        outputs.features = NULL;
    if (once_in(&c->random, 3))
        outputs.conv = outputs.fc = NULL;
    const float *images = or_null(c, m->images);
    const dim_outputs *wanted = or_null(c, &outputs);
    size_t given = once_in(&c->random, 6) ? wrong_count(c, 1) : n;
    begin(c, "%p, %s, %zu, %s of %zu", model, images ? "images" : "NULL", given, wanted ? "outputs" : "NULL", outputs.struct_size);
    c->must_work = true;
    if (finish(c, dim_encode_outputs(model, images, given, wanted),
               S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(TOO_LARGE) | S(MISSING_NETWORK) | S(OUT_OF_MEMORY) | S(NOT_FINITE)))
        paint(m->out, (size_t)(fc + n * TINY_FC - m->out) * sizeof(float));
    check_untouched(c, m->out, sizeof m->out);
}

static void score_local_pairs(context *c) {
    arrays *m = c->arrays;
    size_t n = 1 + below(&c->random, MOST_IMAGES);
    void *model = tiny_model(c);
    const float *encoded = or_null(c, m->encoded), *features = or_null(c, m->features);
    float *logits = or_null(c, m->out);
    size_t given = once_in(&c->random, 6) ? wrong_count(c, 1) : n;
    begin(c, "%p, %s, %s, %zu, %s", model, encoded ? "encoded" : "NULL", features ? "features" : "NULL", given,
          logits ? "logits" : "NULL");
    c->must_work = true;
    if (finish(c, dim_score_local_pairs(model, encoded, features, given, logits),
               S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(TOO_LARGE) | S(MISSING_NETWORK) | S(OUT_OF_MEMORY) | S(NOT_FINITE)))
        paint(m->out, n * n * TINY_CELLS * sizeof(float));
    check_untouched(c, m->out, sizeof m->out);
}

const call architecture_calls[] = {
    {"dim_architecture_preset", preset, 6},
    {"dim_architecture_preset_name", preset_name, 2},
    {"dim_architecture_parse", parse, 15},
    {"dim_architecture_json", json, 8},
    {"dim_architecture_summary", summary, 4},
    {"dim_architecture_free", free_architecture, 6},
    {"dim_model_create_with", create_with, 4},
    {"dim_model_architecture", architecture_of, 4},
    {"dim_model_sizes", sizes, 5},
    {"dim_trainer_options_for", options_for, 4},
    {"dim_model_set_class_names", set_class_names, 5},
    {"dim_model_class_name", class_name, 5},
    {"dim_encode_outputs", encode_outputs, 6},
    {"dim_score_local_pairs", score_local_pairs, 6},
};
const size_t architecture_call_count = sizeof architecture_calls / sizeof architecture_calls[0];

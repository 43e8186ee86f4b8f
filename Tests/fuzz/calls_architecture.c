/* Calls of the architectures' functions: sound descriptions, damaged ones, and bytes that are none. */
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "support.h"

enum { MOST_TEXT = 60000 };

static const char *const descriptions[] = {
    "{\"preset\":\"basic32\"}",
    "{\"preset\":\"notebook\",\"classifier\":{\"classes\":3}}",
    "{\"preset\":\"basic28\",\"image\":{\"channels\":3,\"mean\":[0.1,0.2,0.3]},"
    "\"global\":{\"score\":\"dot\",\"net\":\"copy\",\"units\":9}}",
    "{\"image\":{\"channels\":2,\"height\":7,\"width\":9},\"encoder\":{\"layers\":["
    "{\"op\":\"conv\",\"name\":\"c0\",\"out\":5,\"kernel\":[3,2],\"norm\":\"layer\",\"activation\":\"relu\"},"
    "{\"op\":\"residual\",\"name\":\"r0\",\"layers\":[{\"op\":\"conv\",\"name\":\"c0\",\"out\":5,\"kernel\":1}],\"shortcut\":null},{\"op\":\"maxpool\",\"kernel\":2},{\"op\":\"dropout\",\"dropout\":0.5},{\"op\":\"flatten\"},"
    "{\"op\":\"linear\",\"name\":\"l0\",\"out\":4,\"norm\":\"batch\"},{\"op\":\"linear\",\"name\":\"l1\",\"out\":3}],\"features\":\"c0\"},"
    "\"local\":{\"score\":\"dot\",\"units\":4},\"global\":{\"score\":\"concat\",\"hidden\":[6]},\"coordinates\":{\"hidden\":[]}}",
};

static void preset(context *c) {
    static const char *const none[] = {"", "basic33", "Notebook", "notebook ", "\xFF\xFE", "%s%n"};
    dim_architecture *architecture;
    dim_architecture **out = or_null(c, &architecture);
    bool known = !once_in(&c->random, 3);
    const char *name = known ? dim_architecture_preset_name(below(&c->random, 6)) : ONE_OF(&c->random, none);
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
    finish_plain(c, (name != NULL) == (index < 6), "six presets have names");
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

const call architecture_calls[] = {
    {"dim_architecture_preset", preset, 6},
    {"dim_architecture_preset_name", preset_name, 2},
    {"dim_architecture_parse", parse, 15},
    {"dim_architecture_json", json, 8},
    {"dim_architecture_summary", summary, 4},
    {"dim_architecture_free", free_architecture, 6},
};
const size_t architecture_call_count = sizeof architecture_calls / sizeof architecture_calls[0];

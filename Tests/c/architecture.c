/* Architectures: presets, descriptions, their text, refusals. Tests/DimArchitectureTests has the grammar. */
#include "harness.h"

#include <pthread.h>

static const char *const presets[] = {"notebook", "basic28", "basic32", "basic64", "alex64", "resnet19_32"};
enum { PRESETS = sizeof presets / sizeof presets[0], MOST = 60000 };

static dim_architecture *preset(const char *name) {
    dim_architecture *architecture = NULL;
    MUST(dim_architecture_preset(name, &architecture));
    return architecture;
}

static dim_architecture *parse(const char *text) {
    dim_architecture *architecture = NULL;
    MUST(dim_architecture_parse(text, strlen(text), &architecture));
    return architecture;
}

/* In a block of its very size, which the caller frees. */
static char *text_of(const dim_architecture *architecture) {
    size_t needed = 0, again = 0;
    dim_architecture_json(architecture, NULL, 0, &needed);
    char *text = take(needed);
    MUST(dim_architecture_json(architecture, text, needed, &again));
    CHECK(again == needed && strlen(text) + 1 == needed);
    return text;
}

static void names_of_presets(void) {
    for (size_t i = 0; i < PRESETS; i++) {
        const char *name = dim_architecture_preset_name(i);
        CHECK(name != NULL && strcmp(name, presets[i]) == 0);
        CHECK(dim_architecture_preset_name(i) == name);
    }
    const size_t past[] = {PRESETS, PRESETS + 1, SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof past / sizeof past[0]; i++)
        CHECK(dim_architecture_preset_name(past[i]) == NULL);
}

static void presets_survive_their_text(void) {
    for (size_t i = 0; i < PRESETS; i++) {
        dim_architecture *architecture = preset(presets[i]);
        char *text = text_of(architecture), start[64];
        snprintf(start, sizeof start, "{\"version\":1,\"preset\":\"%s\",\"image\":{", presets[i]);
        CHECK(strncmp(text, start, strlen(start)) == 0);
        dim_architecture *again = parse(text);
        char *second = text_of(again);
        CHECK(strcmp(text, second) == 0);
        free(second);
        free(text);
        dim_architecture_free(again);
        dim_architecture_free(architecture);
    }
}

static void presets_that_are_refused(void) {
    dim_architecture *out = NULL;
    paint(&out, sizeof out);
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_architecture_preset("basic33", &out));
    CHECK_MESSAGE("expected one of notebook, basic28, basic32, basic64, alex64, resnet19_32, found \"basic33\"");
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_architecture_preset("\xFF\xFE\n%s%n", &out));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_preset("", &out));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_preset(NULL, &out));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_preset("basic32", NULL));
    CHECK(painted(&out, sizeof out));
}

static void presets_may_be_changed(void) {
    dim_architecture *architecture =
        parse("{\"preset\":\"basic32\",\"image\":{\"channels\":1,\"height\":48,\"width\":40},\"classifier\":{\"classes\":137}}");
    char *text = text_of(architecture);
    CHECK(strstr(text, "\"image\":{\"channels\":1,\"height\":48,\"width\":40,\"mean\":0.5,\"std\":0.5,\"resize\":\"fit\"}"));
    CHECK(strstr(text, "\"classifier\":{\"hidden\":[200],\"dropout\":0.1,\"classes\":137,"));
    free(text);
    dim_architecture_free(architecture);
}

static void every_fault_with_its_place(void) {
    const char *text = "{\"preset\":\"basic32\",\"colour\":1,\"image\":{\"height\":0},\"local\":{\"score\":\"dot\",\"units\":1.5},"
                       "\"encoder\":{\"features\":\"c7\"}}";
    dim_architecture *out = NULL;
    paint(&out, sizeof out);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_parse(text, strlen(text), &out));
    CHECK_MESSAGE("4 faults:");
    CHECK_MESSAGE("colour: unknown key");
    CHECK_MESSAGE("image.height: expected 1 to 1024, found 0");
    CHECK_MESSAGE("local.units: expected an integer, found 1.5");
    CHECK_MESSAGE("encoder.features: no layer of the encoder has the name \"c7\"");
    CHECK(painted(&out, sizeof out));
}

static void texts_that_are_refused(void) {
    static const char good[] = "{\"preset\":\"basic32\"}";
    dim_architecture *out = NULL;
    paint(&out, sizeof out);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_parse(NULL, 0, &out));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_parse(NULL, 10, &out));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_parse(good, strlen(good), NULL));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_parse(good, 0, &out));
    CHECK_MESSAGE("the end of the text");
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_parse(good, strlen(good) - 1, &out));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_parse(good, sizeof good, &out));     /* the NUL is no JSON */
    CHECK_STATUS(DIM_TOO_LARGE, dim_architecture_parse(good, MOST + 1, &out));
    for (int i = 0; i < LARGE_COUNTS; i++)
        CHECK_STATUS(DIM_TOO_LARGE, dim_architecture_parse(good, large_count(i), &out));
    CHECK_MESSAGE("60000");
    char *brackets = take(65536);
    memset(brackets, '[', 65536);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_parse(brackets, MOST, &out));
    CHECK_MESSAGE("at most 16 arrays and objects within each other");
    CHECK_STATUS(DIM_TOO_LARGE, dim_architecture_parse(brackets, 65536, &out));
    /* Spaces up to the very limit are none of the description's faults. */
    memset(brackets, ' ', MOST);
    memcpy(brackets + MOST - strlen(good), good, strlen(good));
    CHECK(painted(&out, sizeof out));
    CHECK_STATUS(DIM_OK, dim_architecture_parse(brackets, MOST, &out));
    dim_architecture_free(out);
    free(brackets);
}

typedef dim_status text_function(const dim_architecture *, char *, size_t, size_t *);

static void sizes_of(text_function *function) {
    dim_architecture *architecture = preset("basic28");
    size_t needed = 0;
    CHECK_STATUS(DIM_SIZE_MISMATCH, function(architecture, NULL, 0, &needed));
    CHECK(needed > 100);
    char *out = take(needed + 8);
    const size_t small[] = {0, 1, needed / 2, needed - 1};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        size_t found = 0;
        paint(out, needed + 8);
        CHECK_STATUS(DIM_SIZE_MISMATCH, function(architecture, out, small[i], &found));
        CHECK(found == needed);
        CHECK(painted(out, needed + 8));
    }
    const size_t enough[] = {needed, needed + 1, SIZE_MAX, SIZE_MAX / 2 + 1};
    for (size_t i = 0; i < sizeof enough / sizeof enough[0]; i++) {
        paint(out, needed + 8);
        char end[8];
        memcpy(end, out + needed, sizeof end);
        CHECK_STATUS(DIM_OK, function(architecture, out, enough[i], NULL));
        CHECK(strlen(out) + 1 == needed);
        CHECK(memcmp(out + needed, end, sizeof end) == 0);
    }
    paint(&needed, sizeof needed);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, function(architecture, NULL, 10, &needed));
    CHECK_STATUS(DIM_INVALID_HANDLE, function(NULL, out, 10, &needed));
    CHECK_STATUS(DIM_INVALID_HANDLE, function((dim_architecture *)shared_model(), out, 10, &needed));
    for (int i = 0; i < FOREIGN_HANDLES; i++)
        CHECK_STATUS(DIM_INVALID_HANDLE, function(foreign_handle(i), out, 10, &needed));
    dim_architecture_free(architecture);
    CHECK_STATUS(DIM_INVALID_HANDLE, function(architecture, out, 10, &needed));
    CHECK(painted(&needed, sizeof needed));
    free(out);
}

static void sizes_of_texts(void) {
    sizes_of(dim_architecture_json);
    sizes_of(dim_architecture_summary);
}

static void summary(void) {
    dim_architecture *architecture = preset("basic32");
    static char text[MOST];
    CHECK_STATUS(DIM_OK, dim_architecture_summary(architecture, text, sizeof text, NULL));
    CHECK(strncmp(text, "{\"layers\":[{\"network\":\"encoder\",\"name\":\"c0\",\"op\":\"conv\",\"output\":[64,16,16],"
                        "\"parameters\":3200,\"multiply_adds\":786432},", 110) == 0);
    CHECK(strstr(text, "{\"network\":\"encoder\",\"name\":\"l1\",\"op\":\"linear\",\"output\":[64],\"parameters\":65600,"));
    CHECK(strstr(text, "{\"network\":\"classifier\",\"name\":\"l1\",\"op\":\"linear\",\"output\":[10],"));
    CHECK(strstr(text, "],\"parameters\":5926059,\"multiply_adds\":"));
    dim_architecture_free(architecture);
}

static void freeing(void) {
    dim_architecture *architecture = preset("notebook");
    dim_architecture_free(NULL);
    for (int i = 0; i < FOREIGN_HANDLES; i++)
        dim_architecture_free(foreign_handle(i));
    dim_architecture_free((dim_architecture *)shared_model());
    dim_model_free((dim_model *)architecture);      /* of another kind: ignored */
    CHECK(dim_model_networks(shared_model()) == DIM_NETWORK_ALL);
    free(text_of(architecture));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_save((dim_model *)architecture, scratch_path("none.h5")));
    dim_architecture_free(architecture);
    dim_architecture_free(architecture);
}

static void *read_again_and_again(void *architecture) {
    char *first = text_of(architecture);
    for (int i = 0; i < 200; i++) {
        char *text = text_of(architecture);
        CHECK(strcmp(text, first) == 0);
        dim_architecture *own = parse(text);
        dim_architecture_free(own);
        free(text);
    }
    free(first);
    return NULL;
}

static void threads_share_a_handle(void) {
    dim_architecture *architecture = preset("resnet19_32");
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, read_again_and_again, architecture) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    dim_architecture_free(architecture);
}

int main(void) {
    RUN(names_of_presets);
    RUN(presets_survive_their_text);
    RUN(presets_that_are_refused);
    RUN(presets_may_be_changed);
    RUN(every_fault_with_its_place);
    RUN(texts_that_are_refused);
    RUN(sizes_of_texts);
    RUN(summary);
    RUN(freeing);
    RUN(threads_share_a_handle);
    return harness_finish();
}

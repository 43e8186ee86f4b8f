/* Handles, forward passes and parameters: wrong arguments come back as a status, and nothing else changes. */
#include "harness.h"

#include <math.h>

enum { N = 2 };

typedef struct arrays {
    float *images, *encoded, *features, *logits;
} arrays;

/* Room for N images each; all outputs painted. */
static arrays new_arrays(void) {
    arrays a;
    a.images = new_images(N, 1);
    a.encoded = take(sizeof(float) * DIM_NOTEBOOK_ENCODED_SIZE * N);
    a.features = take(sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N);
    a.logits = take(sizeof(float) * DIM_NOTEBOOK_LOCAL_SIZE * N);
    fill(a.encoded, DIM_NOTEBOOK_ENCODED_SIZE * N, 2);
    fill(a.features, DIM_NOTEBOOK_FEATURES_SIZE * N, 3);
    paint(a.logits, sizeof(float) * DIM_NOTEBOOK_LOCAL_SIZE * N);
    return a;
}

static void free_arrays(arrays a) {
    free(a.images);
    free(a.encoded);
    free(a.features);
    free(a.logits);
}

/* Calls every forward pass with these and expects this status and untouched outputs. */
static void all_forward(dim_status expected, dim_model *model, size_t n) {
    arrays a = new_arrays();
    float *y = take(sizeof(float) * DIM_NOTEBOOK_ENCODED_SIZE * N), *M = take(sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N);
    paint(y, sizeof(float) * DIM_NOTEBOOK_ENCODED_SIZE * N);
    paint(M, sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N);
    CHECK_STATUS(expected, dim_encode(model, a.images, n, y, M));
    CHECK_STATUS(expected, dim_encode(model, a.images, n, y, NULL));
    CHECK_STATUS(expected, dim_score_global(model, a.encoded, a.features, n, a.logits));
    CHECK_STATUS(expected, dim_score_local(model, a.encoded, a.features, n, a.logits));
    CHECK_STATUS(expected, dim_score_prior(model, a.encoded, n, a.logits));
    CHECK_STATUS(expected, dim_classify(model, a.encoded, n, a.logits));
    CHECK(painted(y, sizeof(float) * DIM_NOTEBOOK_ENCODED_SIZE * N));
    CHECK(painted(M, sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N));
    CHECK(painted(a.logits, sizeof(float) * DIM_NOTEBOOK_LOCAL_SIZE * N));
    free(y);
    free(M);
    free_arrays(a);
}

/* Every function with a handle that is none. */
static void all_functions(dim_model *model) {
    all_forward(DIM_INVALID_HANDLE, model, N);
    bool training;
    size_t index;
    float value = 1;
    const char *name = "encoder.c0.bias";
    const void *data = &value;
    size_t bytes = sizeof value;
    dim_parameter_info info;
    paint(&training, sizeof training);
    paint(&index, sizeof index);
    paint(&info, sizeof info);
    info.struct_size = sizeof info;
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_load(model, scratch_path("none.h5")));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_save(model, scratch_path("none.h5")));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_set_training(model, true));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_is_training(model, &training));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_parameter_info(model, 0, &info));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_find_parameter(model, name, &index));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_get_parameter(model, name, &value, sizeof value));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_set_parameter(model, name, &value, sizeof value));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_set_parameters(model, 1, &name, &data, &bytes));
    CHECK(dim_model_networks(model) == 0);
    CHECK(dim_model_parameter_count(model) == 0);
    CHECK(painted(&training, sizeof training));
    CHECK(painted(&index, sizeof index));
    CHECK(painted(&info.name, sizeof info - offsetof(dim_parameter_info, name)));
    CHECK(value == 1);
    FILE *file = fopen(scratch_path("none.h5"), "rb");
    CHECK(file == NULL);
    dim_model_free(model);      /* ignored */
}

static void handles_that_are_none(void) {
    for (int i = 0; i < FOREIGN_HANDLES; i++)
        all_functions(foreign_handle(i));
    int local;
    all_functions((dim_model *)&local);
    all_functions((dim_model *)((char *)shared_model() + 1));
    all_functions((dim_model *)((char *)shared_model() - 1));
}

static void freed_handles(void) {
    dim_model *model = NULL, *next = NULL;
    MUST(dim_model_create(1, &model));
    dim_model_free(model);
    all_functions(model);
    dim_model_free(model);      /* twice */
    MUST(dim_model_create(1, &next));
    CHECK(next != model);       /* never reused */
    all_functions(model);
    CHECK(dim_model_networks(next) == DIM_NETWORK_ALL);
    dim_model_free(next);
}

static void many_handles(void) {
    dim_model *models[3] = {NULL, NULL, NULL};
    for (int i = 0; i < 3; i++)
        MUST(dim_model_create(i, &models[i]));
    CHECK(models[0] != models[1] && models[1] != models[2] && models[0] != models[2]);
    dim_model_free(models[1]);
    CHECK(dim_model_networks(models[0]) == DIM_NETWORK_ALL && dim_model_networks(models[1]) == 0 &&
          dim_model_networks(models[2]) == DIM_NETWORK_ALL);
    dim_model_free(models[0]);
    dim_model_free(models[2]);
}

static void create_without_out(void) {
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_create(0, NULL));
    CHECK_MESSAGE("out");
}

static void counts(void) {
    all_forward(DIM_INVALID_ARGUMENT, shared_model(), 0);
    for (int i = 0; i < LARGE_COUNTS; i++)
        all_forward(DIM_TOO_LARGE, shared_model(), large_count(i));
    char most[32];
    snprintf(most, sizeof most, "%zu", dim_max_images());
    CHECK_MESSAGE(most);        /* what was expected */
    snprintf(most, sizeof most, "%zu", dim_max_images() + 1);
    CHECK_MESSAGE(most);        /* and what was found */
}

static void arrays_that_are_null(void) {
    dim_model *model = shared_model();
    arrays a = new_arrays();
    float *y = take(sizeof(float) * DIM_NOTEBOOK_ENCODED_SIZE * N), *M = take(sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N);
    paint(y, sizeof(float) * DIM_NOTEBOOK_ENCODED_SIZE * N);
    paint(M, sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_encode(model, NULL, N, y, M));
    CHECK_MESSAGE("images");
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_encode(model, a.images, N, NULL, M));
    CHECK_MESSAGE("encoded");
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_score_global(model, NULL, a.features, N, a.logits));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_score_global(model, a.encoded, NULL, N, a.logits));
    CHECK_MESSAGE("features");
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_score_global(model, a.encoded, a.features, N, NULL));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_score_local(model, NULL, a.features, N, a.logits));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_score_local(model, a.encoded, NULL, N, a.logits));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_score_local(model, a.encoded, a.features, N, NULL));
    CHECK_MESSAGE("logits");
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_score_prior(model, NULL, N, a.logits));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_score_prior(model, a.encoded, N, NULL));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classify(model, NULL, N, a.logits));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classify(model, a.encoded, N, NULL));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_is_training(model, NULL));
    CHECK(painted(y, sizeof(float) * DIM_NOTEBOOK_ENCODED_SIZE * N));
    CHECK(painted(M, sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N));
    CHECK(painted(a.logits, sizeof(float) * DIM_NOTEBOOK_LOCAL_SIZE * N));
    free(y);
    free(M);
    free_arrays(a);
}

/* Pointers need no more alignment than a float, and the library writes n images and no byte more. */
static void alignment_and_bounds(void) {
    dim_model *model = shared_model();
    size_t floats[] = {DIM_NOTEBOOK_ENCODED_SIZE * N, DIM_NOTEBOOK_FEATURES_SIZE * N, N, DIM_NOTEBOOK_LOCAL_SIZE * N, N, DIM_NOTEBOOK_CLASSES * N};
    float *images = take(sizeof(float) * (DIM_NOTEBOOK_IMAGE_SIZE * N + 1)), *plain = new_images(N, 1);
    memcpy(images + 1, plain, sizeof(float) * DIM_NOTEBOOK_IMAGE_SIZE * N);
    float *out[6], *first[6];
    for (int i = 0; i < 6; i++) {
        out[i] = take(sizeof(float) * (floats[i] + 33));
        paint(out[i], sizeof(float) * (floats[i] + 33));
        first[i] = take(sizeof(float) * floats[i]);
    }
    MUST(dim_encode(model, images + 1, N, out[0] + 1, out[1] + 1));
    MUST(dim_score_global(model, out[0] + 1, out[1] + 1, N, out[2] + 1));
    MUST(dim_score_local(model, out[0] + 1, out[1] + 1, N, out[3] + 1));
    MUST(dim_score_prior(model, out[0] + 1, N, out[4] + 1));
    MUST(dim_classify(model, out[0] + 1, N, out[5] + 1));
    MUST(dim_encode(model, plain, N, first[0], first[1]));
    MUST(dim_score_global(model, first[0], first[1], N, first[2]));
    MUST(dim_score_local(model, first[0], first[1], N, first[3]));
    MUST(dim_score_prior(model, first[0], N, first[4]));
    MUST(dim_classify(model, first[0], N, first[5]));
    for (int i = 0; i < 6; i++) {
        CHECK(memcmp(out[i] + 1, first[i], sizeof(float) * floats[i]) == 0);
        CHECK(painted(out[i], sizeof(float)));
        CHECK(painted(out[i] + 1 + floats[i], sizeof(float) * 32));
        free(out[i]);
        free(first[i]);
    }
    free(images);
    free(plain);
}

static void training_mode(void) {
    dim_model *model = NULL;
    bool training = true;
    int64_t batches = -1;
    float probabilities[DIM_NOTEBOOK_CLASSES * N];
    arrays a = new_arrays();
    MUST(dim_model_create(3, &model));
    CHECK_STATUS(DIM_OK, dim_model_is_training(model, &training));
    CHECK(!training);
    CHECK_STATUS(DIM_OK, dim_model_set_training(model, true));
    CHECK_STATUS(DIM_OK, dim_model_is_training(model, &training));
    CHECK(training);
    paint(probabilities, sizeof probabilities);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classify(model, a.encoded, 1, probabilities));
    CHECK(painted(probabilities, sizeof probabilities));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_encode(model, a.images, 0, a.encoded, NULL));
    CHECK_STATUS(DIM_TOO_LARGE, dim_encode(model, a.images, SIZE_MAX, a.encoded, NULL));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_encode(model, NULL, N, a.encoded, NULL));
    MUST(dim_model_get_parameter(model, "encoder.b2.num_batches_tracked", &batches, sizeof batches));
    CHECK(batches == 0);        /* failures moved nothing */
    MUST(dim_model_get_parameter(model, "classifier.bn1.num_batches_tracked", &batches, sizeof batches));
    CHECK(batches == 0);
    CHECK_STATUS(DIM_OK, dim_encode(model, a.images, 1, a.encoded, NULL));      /* 26 x 26 values a channel suffice */
    CHECK_STATUS(DIM_OK, dim_encode(model, a.images, N, a.encoded, NULL));
    CHECK_STATUS(DIM_OK, dim_classify(model, a.encoded, N, probabilities));
    MUST(dim_model_get_parameter(model, "encoder.b2.num_batches_tracked", &batches, sizeof batches));
    CHECK(batches == 2);
    MUST(dim_model_get_parameter(model, "classifier.bn1.num_batches_tracked", &batches, sizeof batches));
    CHECK(batches == 1);
    CHECK_STATUS(DIM_OK, dim_model_set_training(model, false));
    CHECK_STATUS(DIM_OK, dim_encode(model, a.images, N, a.encoded, NULL));
    MUST(dim_model_get_parameter(model, "encoder.b2.num_batches_tracked", &batches, sizeof batches));
    CHECK(batches == 2);
    dim_model_free(model);
    free_arrays(a);
}

/* NaN and infinity pass through: the other images of the batch do not notice. */
static void values_that_are_not_finite(void) {
    arrays a = new_arrays();
    float plain[DIM_NOTEBOOK_ENCODED_SIZE * N], out[DIM_NOTEBOOK_ENCODED_SIZE * N];
    MUST(dim_encode(shared_model(), a.images, N, plain, NULL));
    a.images[17] = NAN;
    a.images[1000] = INFINITY;
    CHECK_STATUS(DIM_OK, dim_encode(shared_model(), a.images, N, out, NULL));
    bool nan = false;
    for (int i = 0; i < DIM_NOTEBOOK_ENCODED_SIZE; i++)
        nan = nan || isnan(out[i]);
    CHECK(nan);
    CHECK(memcmp(out + DIM_NOTEBOOK_ENCODED_SIZE, plain + DIM_NOTEBOOK_ENCODED_SIZE, sizeof(float) * DIM_NOTEBOOK_ENCODED_SIZE) == 0);
    free_arrays(a);
}

int main(void) {
    RUN(create_without_out);
    RUN(handles_that_are_none);
    RUN(freed_handles);
    RUN(many_handles);
    RUN(counts);
    RUN(arrays_that_are_null);
    RUN(alignment_and_bounds);
    RUN(training_mode);
    RUN(values_that_are_not_finite);
    return harness_finish();
}

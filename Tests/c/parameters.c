/* Parameters by name and by index: shapes, sizes, refusals, all or nothing. */
#include "harness.h"

#include <math.h>

static const char *const networks[] = {"encoder.", "global_d.", "local_d.", "prior_d.", "classifier."};

static void every_parameter(void) {
    dim_model *model = shared_model();
    size_t count = dim_model_parameter_count(model), trainable = 0, network = 0;
    CHECK(count == 68);
    for (size_t i = 0; i < count; i++) {
        dim_parameter_info info;
        size_t index = SIZE_MAX;
        paint(&info, sizeof info);
        info.struct_size = sizeof info;
        CHECK_STATUS(DIM_OK, dim_model_parameter_info(model, i, &info));
        CHECK_STATUS(DIM_OK, dim_model_find_parameter(model, info.name, &index));
        CHECK(index == i);
        CHECK(info.struct_size == sizeof info);
        CHECK(info.ndim >= 0 && info.ndim <= 4);
        size_t values = 1;
        for (int axis = 0; axis < 4; axis++) {
            CHECK((info.shape[axis] > 0) == (axis < info.ndim));
            if (axis < info.ndim)
                values *= info.shape[axis];
        }
        CHECK(info.bytes == values * (info.dtype == DIM_INT64 ? 8 : 4));
        CHECK((info.dtype == DIM_INT64) == (strstr(info.name, "num_batches_tracked") != NULL));
        CHECK(info.trainable == (strstr(info.name, "running_") == NULL && info.dtype == DIM_FLOAT32));
        trainable += info.trainable;
        while (network < 4 && strncmp(info.name, networks[network], strlen(networks[network])) != 0)
            network++;
        CHECK(strncmp(info.name, networks[network], strlen(networks[network])) == 0);   /* the notebook's order */
        void *value = take(info.bytes);
        CHECK_STATUS(DIM_OK, dim_model_get_parameter(model, info.name, value, info.bytes));
        free(value);
    }
    CHECK(trainable == 2 * (5 + 5 + 3 + 3 + 3) + 2 * 6);
    CHECK(network == 4);
}

static void info_that_is_refused(void) {
    dim_model *model = shared_model();
    static const size_t sizes[] = {0, 1, sizeof(size_t), sizeof(dim_parameter_info) - 1, SIZE_MAX, SIZE_MAX / 2 + 1};
    dim_parameter_info info;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        paint(&info, sizeof info);
        info.struct_size = sizes[i];
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_parameter_info(model, 0, &info));
        CHECK(info.struct_size == sizes[i]);
        CHECK(painted(&info.name, sizeof info - offsetof(dim_parameter_info, name)));
    }
    CHECK_MESSAGE("struct_size");
    info.struct_size = sizeof info;
    size_t count = dim_model_parameter_count(model);
    const size_t indices[] = {count, count + 1, SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof indices / sizeof indices[0]; i++) {
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_parameter_info(model, indices[i], &info));
        CHECK(painted(&info.name, sizeof info - offsetof(dim_parameter_info, name)));
    }
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_parameter_info(model, 0, NULL));
}

static void names_that_are_none(void) {
    dim_model *model = shared_model();
    static const char *const names[] = {
        "encoder",           "encoder.",          "encoder.c0",          "c0.weight", "encoder/c0/weight", ".",
        "Encoder.c0.weight", "encoder.c9.weight", "encoder.c0.weight ",  "%s%n%p",    "\xff\xfe\x80",   "encoder.c0.weight\n",
    };
    float value = 5;
    size_t index;
    paint(&index, sizeof index);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CHECK_STATUS(DIM_UNKNOWN_NAME, dim_model_get_parameter(model, names[i], &value, sizeof value));
        CHECK_STATUS(DIM_UNKNOWN_NAME, dim_model_set_parameter(model, names[i], &value, sizeof value));
        CHECK_STATUS(DIM_UNKNOWN_NAME, dim_model_find_parameter(model, names[i], &index));
    }
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_model_find_parameter(model, "encoder.c9.weight", &index));
    CHECK_MESSAGE("encoder.c9.weight");
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_model_find_parameter(model, "a\x1b[31m\n\u202e", &index));
    CHECK_MESSAGE("\"a\\x1b[31m\\x0a\\u202e\"");
    size_t length = 1 << 20;
    char *name = take(length + 1);
    memset(name, 'x', length);
    name[length] = '\0';
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_model_find_parameter(model, name, &index));
    free(name);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_find_parameter(model, NULL, &index));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_find_parameter(model, "encoder.c0.weight", NULL));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_get_parameter(model, NULL, &value, sizeof value));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameter(model, NULL, &value, sizeof value));
    CHECK(value == 5);
    CHECK(painted(&index, sizeof index));
}

static void sizes_that_are_wrong(void) {
    dim_model *model = shared_model();
    float before[64], bias[65];
    const char *name = "encoder.c0.bias";
    MUST(dim_model_get_parameter(model, name, before, sizeof before));
    const size_t sizes[] = {0, 1, sizeof before - 1, sizeof before - 4, sizeof before + 1, sizeof before + 4, SIZE_MAX,
                            SIZE_MAX / 2 + 1};
    paint(bias, sizeof bias);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        CHECK_STATUS(DIM_SIZE_MISMATCH, dim_model_get_parameter(model, name, bias, sizes[i]));
    CHECK(painted(bias, sizeof bias));
    memset(bias, 0, sizeof bias);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        CHECK_STATUS(DIM_SIZE_MISMATCH, dim_model_set_parameter(model, name, bias, sizes[i]));
    CHECK_STATUS(DIM_SIZE_MISMATCH, dim_model_set_parameter(model, name, bias, 100));
    CHECK_MESSAGE("256");       /* expected */
    CHECK_MESSAGE("100");       /* found */
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_get_parameter(model, name, NULL, sizeof before));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameter(model, name, NULL, sizeof before));
    MUST(dim_model_get_parameter(model, name, bias, sizeof before));
    CHECK(memcmp(before, bias, sizeof before) == 0);
}

static void values_that_are_refused(void) {
    dim_model *model = shared_model();
    float before[64], bias[64], variance[128], variance_before[128];
    int64_t counter = -1;
    MUST(dim_model_get_parameter(model, "encoder.c0.bias", before, sizeof before));
    const float wrong[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        memcpy(bias, before, sizeof bias);
        bias[63] = wrong[i];
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameter(model, "encoder.c0.bias", bias, sizeof bias));
        CHECK_MESSAGE("encoder.c0.bias");
    }
    MUST(dim_model_get_parameter(model, "encoder.c0.bias", bias, sizeof bias));
    CHECK(memcmp(before, bias, sizeof before) == 0);
    MUST(dim_model_get_parameter(model, "encoder.b1.running_var", variance_before, sizeof variance_before));
    memcpy(variance, variance_before, sizeof variance);
    variance[5] = -1e-30f;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameter(model, "encoder.b1.running_var", variance, sizeof variance));
    MUST(dim_model_get_parameter(model, "encoder.b1.running_var", variance, sizeof variance));
    CHECK(memcmp(variance_before, variance, sizeof variance) == 0);
    CHECK_STATUS(DIM_INVALID_ARGUMENT,
                 dim_model_set_parameter(model, "encoder.b1.num_batches_tracked", &counter, sizeof counter));
    MUST(dim_model_get_parameter(model, "encoder.b1.num_batches_tracked", &counter, sizeof counter));
    CHECK(counter == 0);
}

static void set_and_get(void) {
    dim_model *model = NULL;
    float bias[65], back[65], images[DIM_NOTEBOOK_IMAGE_SIZE], a[DIM_NOTEBOOK_ENCODED_SIZE], b[DIM_NOTEBOOK_ENCODED_SIZE];
    int64_t counter = INT64_MAX, found = 0;
    MUST(dim_model_create(0, &model));
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE, 1);
    MUST(dim_encode(model, images, 1, a, NULL));
    fill(bias, 65, 9);
    CHECK_STATUS(DIM_OK, dim_model_set_parameter(model, "encoder.l1.bias", bias + 1, 64 * sizeof(float)));
    CHECK_STATUS(DIM_OK, dim_model_get_parameter(model, "encoder.l1.bias", back + 1, 64 * sizeof(float)));
    CHECK(memcmp(bias + 1, back + 1, 64 * sizeof(float)) == 0);
    MUST(dim_encode(model, images, 1, b, NULL));
    CHECK(memcmp(a, b, sizeof a) != 0);     /* it counts at once */
    CHECK_STATUS(DIM_OK, dim_model_set_parameter(model, "encoder.b3.num_batches_tracked", &counter, sizeof counter));
    CHECK_STATUS(DIM_OK, dim_model_get_parameter(model, "encoder.b3.num_batches_tracked", &found, sizeof found));
    CHECK(found == INT64_MAX);
    dim_model_free(model);
}

static void several_at_once(void) {
    dim_model *model = NULL;
    MUST(dim_model_create(0, &model));
    float bias[64], other[128], before[64], now[64], twos[128];
    MUST(dim_model_get_parameter(model, "encoder.c0.bias", before, sizeof before));
    fill(bias, 64, 5);
    fill(other, 128, 6);
    const char *names[] = {"encoder.c0.bias", "encoder.c1.bias"};
    const void *data[] = {bias, other};
    size_t bytes[] = {sizeof bias, sizeof other};

    const char *twice[] = {"encoder.c0.bias", "encoder.c0.bias"};
    size_t same[] = {sizeof bias, sizeof bias};
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameters(model, 2, twice, data, same));
    CHECK_MESSAGE("encoder.c0.bias");
    const char *unknown[] = {"encoder.c0.bias", "encoder.c7.bias"};
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_model_set_parameters(model, 2, unknown, data, bytes));
    size_t wrong[] = {sizeof bias, sizeof other - 4};
    CHECK_STATUS(DIM_SIZE_MISMATCH, dim_model_set_parameters(model, 2, names, data, wrong));
    const void *null_data[] = {bias, NULL};
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameters(model, 2, names, null_data, bytes));
    const char *null_name[] = {"encoder.c0.bias", NULL};
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameters(model, 2, null_name, data, bytes));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameters(model, 2, NULL, data, bytes));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameters(model, 2, names, NULL, bytes));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameters(model, 2, names, data, NULL));
    CHECK(dim_model_set_parameters(model, SIZE_MAX, names, data, bytes) != DIM_OK);
    CHECK(dim_model_set_parameters(model, SIZE_MAX / 2 + 1, names, data, bytes) != DIM_OK);
    other[100] = NAN;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_set_parameters(model, 2, names, data, bytes));
    const char *bad[] = {"encoder.c8.bias", "encoder.c1.bias", "encoder.c9.bias"};
    const void *bad_data[] = {bias, other, bias};
    size_t bad_bytes[] = {sizeof bias, 3, sizeof bias};
    CHECK(dim_model_set_parameters(model, 3, bad, bad_data, bad_bytes) != DIM_OK);
    CHECK_MESSAGE("encoder.c8.bias");       /* all that is wrong */
    CHECK_MESSAGE("encoder.c1.bias");
    CHECK_MESSAGE("encoder.c9.bias");

    MUST(dim_model_get_parameter(model, "encoder.c0.bias", now, sizeof now));
    CHECK(memcmp(before, now, sizeof now) == 0);    /* all or none */
    fill(other, 128, 6);
    CHECK_STATUS(DIM_OK, dim_model_set_parameters(model, 2, names, data, bytes));
    MUST(dim_model_get_parameter(model, "encoder.c0.bias", now, sizeof now));
    MUST(dim_model_get_parameter(model, "encoder.c1.bias", twos, sizeof twos));
    CHECK(memcmp(bias, now, sizeof now) == 0 && memcmp(other, twos, sizeof twos) == 0);
    dim_model_free(model);
}

/* The seed alone makes the weights, and its low 32 bits alone count. */
static void seeds(void) {
    static const uint64_t pairs[][2] = {{5, 5}, {5, 5 + ((uint64_t)1 << 32)}, {0, 1}, {5, 6}};
    for (int i = 0; i < 4; i++) {
        dim_model *a = NULL, *b = NULL;
        float x[200], y[200];
        MUST(dim_model_create(pairs[i][0], &a));
        MUST(dim_model_create(pairs[i][1], &b));
        MUST(dim_model_get_parameter(a, "prior_d.l2.weight", x, sizeof x));
        MUST(dim_model_get_parameter(b, "prior_d.l2.weight", y, sizeof y));
        CHECK((memcmp(x, y, sizeof x) == 0) == (i < 2));
        dim_model_free(a);
        dim_model_free(b);
    }
}

int main(void) {
    RUN(every_parameter);
    RUN(info_that_is_refused);
    RUN(names_that_are_none);
    RUN(sizes_that_are_wrong);
    RUN(values_that_are_refused);
    RUN(set_and_get);
    RUN(several_at_once);
    RUN(seeds);
    return harness_finish();
}

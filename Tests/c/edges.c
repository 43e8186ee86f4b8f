/* Counts at the end of their range, and values that no model may hold: a call continues or says no; what is saved opens. */
#include "harness.h"
#include "untrusted.h"

#include <hdf5.h>
#include <math.h>

enum { N = 4 };

static float images[DIM_NOTEBOOK_IMAGE_SIZE * N], encoded[DIM_NOTEBOOK_ENCODED_SIZE * N];
static const int64_t labels[N] = {3, 9, 0, 3};

/* ---- Counts ---- */

static void write_step(const char *path, int64_t step) {
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "checkpoint/step", H5P_DEFAULT);
    CHECK(H5Dwrite(set, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, &step) >= 0);
    H5Dclose(set);
    H5Fclose(file);
}

static void steps_of_a_run(void) {
    dim_model *model = NULL;
    dim_trainer *trainer = NULL, *resumed = NULL, *again = NULL;
    MUST(dim_model_create(1, &model));
    MUST(dim_trainer_create(model, NULL, &trainer));
    MUST(dim_trainer_step(trainer, images, N, NULL));
    MUST(dim_trainer_save(trainer, scratch_path("objective.h5")));
    write_step(scratch_path("objective.h5"), INT64_MAX);
    CHECK_STATUS(DIM_OK, resume_untrusted(scratch_path("objective.h5"), &resumed));
    CHECK_STATUS(DIM_OK, dim_trainer_step(resumed, images, N, NULL));
    CHECK(dim_trainer_step_count(resumed) == INT64_MAX);
    CHECK_STATUS(DIM_OK, dim_trainer_save(resumed, scratch_path("objective.h5")));
    CHECK_STATUS(DIM_OK, dim_trainer_resume(scratch_path("objective.h5"), &again));
    CHECK(dim_trainer_step_count(again) == INT64_MAX);
    dim_trainer_free(trainer);
    dim_trainer_free(resumed);
    dim_trainer_free(again);
    dim_model_free(model);
}

static void steps_of_a_classifiers_run(void) {
    dim_model *model = NULL;
    dim_classifier_trainer *trainer = NULL, *resumed = NULL;
    MUST(dim_model_create(1, &model));
    MUST(dim_classifier_trainer_create(model, NULL, &trainer));
    MUST(dim_classifier_trainer_save(trainer, scratch_path("classifier.h5")));
    write_step(scratch_path("classifier.h5"), INT64_MAX);
    CHECK_STATUS(DIM_OK, resume_classifier_untrusted(scratch_path("classifier.h5"), &resumed));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_step_encoded(resumed, encoded, labels, N, NULL));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_step(resumed, images, labels, N, NULL));
    CHECK(dim_classifier_trainer_step_count(resumed) == INT64_MAX);
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_save(resumed, scratch_path("classifier.h5")));
    dim_classifier_trainer_free(trainer);
    dim_classifier_trainer_free(resumed);
    dim_model_free(model);
}

static void confusion(void) {
    dim_classifier_trainer *trainer = NULL;
    uint64_t counts[DIM_NOTEBOOK_CLASSES * DIM_NOTEBOOK_CLASSES];
    dim_classifier_result result;
    MUST(dim_classifier_trainer_create(shared_model(), NULL, &trainer));
    for (int i = 0; i < DIM_NOTEBOOK_CLASSES * DIM_NOTEBOOK_CLASSES; i++)
        counts[i] = UINT64_MAX - (i % 2 == 0);
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_evaluate(trainer, images, labels, N, &result, counts));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_evaluate(trainer, images, labels, N, &result, counts));
    for (int i = 0; i < DIM_NOTEBOOK_CLASSES * DIM_NOTEBOOK_CLASSES; i++)
        CHECK(counts[i] >= UINT64_MAX - 1);
    dim_classifier_trainer_free(trainer);
}

static int64_t batches(const dim_model *model, const char *name) {
    int64_t count = -1;
    MUST(dim_model_get_parameter(model, name, &count, sizeof count));
    return count;
}

static void batches_tracked(void) {
    const char *const names[] = {"encoder.b1.num_batches_tracked", "classifier.bn2.num_batches_tracked"};
    const int64_t last = INT64_MAX;
    dim_model *model = NULL, *opened = NULL;
    dim_trainer *trainer = NULL;
    dim_classifier_trainer *classifier = NULL;
    dim_classifier_options options;
    float y[DIM_NOTEBOOK_ENCODED_SIZE * N], p[DIM_NOTEBOOK_CLASSES * N];
    MUST(dim_model_create(1, &model));
    for (int i = 0; i < 2; i++)
        MUST(dim_model_set_parameter(model, names[i], &last, sizeof last));
    MUST(dim_model_set_training(model, true));
    CHECK_STATUS(DIM_OK, dim_encode(model, images, N, y, NULL));
    CHECK_STATUS(DIM_OK, dim_classify(model, encoded, N, p));
    MUST(dim_trainer_create(model, NULL, &trainer));
    CHECK_STATUS(DIM_OK, dim_trainer_step(trainer, images, N, NULL));
    MUST(dim_classifier_options_init(&options, sizeof options));
    options.encoder = DIM_ENCODER_TRAINED;
    MUST(dim_classifier_trainer_create(model, &options, &classifier));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_step(classifier, images, labels, N, NULL));
    for (int i = 0; i < 2; i++)
        CHECK(batches(model, names[i]) == last);
    CHECK(batches(model, "encoder.b2.num_batches_tracked") == 3);
    CHECK_STATUS(DIM_OK, dim_model_save(model, scratch_path("batches.h5")));
    CHECK_STATUS(DIM_OK, dim_model_open(scratch_path("batches.h5"), &opened));
    CHECK(same_parameters(model, opened));
    dim_classifier_trainer_free(classifier);
    dim_trainer_free(trainer);
    dim_model_free(model);
    dim_model_free(opened);
}

/* ---- What a model may hold ---- */

static float variance_of(const dim_model *model) {
    float variance[128];
    MUST(dim_model_get_parameter(model, "encoder.b1.running_var", variance, sizeof variance));
    return variance[0];
}

/* The running statistics stand last; the classifier is not among them. */
static int negate_statistics(float *values, size_t count, void *context) {
    size_t statistics = 2 * (128 + 256 + 512);
    for (size_t i = count - statistics; i < count; i++)
        values[i] = *(float *)context;
    return 0;
}

/* Neither the step nor a later one saves what does not open. */
static void callback_and_statistics(void) {
    static float wrong[] = {-1, NAN, INFINITY};
    dim_model *model = NULL, *fresh = NULL, *opened = NULL;
    dim_trainer *trainer = NULL;
    MUST(dim_model_create(2, &model));
    MUST(dim_model_create(2, &fresh));
    MUST(dim_trainer_create(model, NULL, &trainer));
    for (int i = 0; i < 3; i++) {
        MUST(dim_trainer_set_gradient_callback(trainer, negate_statistics, &wrong[i]));
        CHECK_STATUS(i == 0 ? DIM_INVALID_ARGUMENT : DIM_NOT_FINITE, dim_trainer_step(trainer, images, N, NULL));
        CHECK_MESSAGE("encoder.b1.running_");
    }
    CHECK(same_parameters(model, fresh) && dim_trainer_step_count(trainer) == 0);
    MUST(dim_trainer_set_gradient_callback(trainer, NULL, NULL));
    CHECK_STATUS(DIM_OK, dim_trainer_step(trainer, images, N, NULL));
    CHECK_STATUS(DIM_OK, dim_trainer_save(trainer, scratch_path("callback.h5")));
    CHECK_STATUS(DIM_OK, dim_model_open(scratch_path("callback.h5"), &opened));
    CHECK(same_parameters(model, opened));
    dim_trainer_free(trainer);
    dim_model_free(model);
    dim_model_free(fresh);
    dim_model_free(opened);
}

/* A step that would leave NaN or infinity is not applied: weights, moments and noise are as they were. */
static void steps_that_overflow(void) {
    static float black[DIM_NOTEBOOK_IMAGE_SIZE * N];
    for (int kind = 0; kind < 4; kind++) {
        dim_model *model = NULL, *fresh = NULL;
        dim_trainer *trainer = NULL, *other = NULL;
        dim_trainer_options options;
        dim_losses a, b;
        MUST(dim_trainer_options_init(&options, sizeof options));
        MUST(dim_model_create(3, &model));
        MUST(dim_model_create(3, &fresh));
        options.epsilon = kind == 0 ? 0 : options.epsilon;
        options.weight_decay = kind == 1 ? 1e300 : 0;
        options.encoder_learning_rate = kind == 2 ? 1e300 : 1e-4;
        options.discriminator_learning_rate = kind == 3 ? 1e300 : 1e-4;
        MUST(dim_trainer_create(model, &options, &trainer));
        CHECK_STATUS(DIM_NOT_FINITE, dim_trainer_step(trainer, black, N, NULL));
        CHECK(same_parameters(model, fresh) && dim_trainer_step_count(trainer) == 0);
        if (kind >= 2) {    /* continue as if nothing had been */
            MUST(dim_trainer_set_learning_rates(trainer, 1e-4, 1e-4));
            MUST(dim_trainer_create(fresh, NULL, &other));
            CHECK_STATUS(DIM_OK, dim_trainer_step(trainer, images, N, &a));
            CHECK_STATUS(DIM_OK, dim_trainer_step(other, images, N, &b));
            CHECK(memcmp(&a, &b, sizeof a) == 0 && same_parameters(model, fresh));
        }
        dim_trainer_free(trainer);
        dim_trainer_free(other);
        dim_model_free(model);
        dim_model_free(fresh);
    }
}

/* The classifier's likewise. */
static void classifier_steps_that_overflow(void) {
    const float nothing[DIM_NOTEBOOK_ENCODED_SIZE * N] = {0};
    for (int kind = 0; kind < 3; kind++) {
        dim_model *model = NULL, *fresh = NULL;
        dim_classifier_trainer *trainer = NULL;
        dim_classifier_options options;
        MUST(dim_classifier_options_init(&options, sizeof options));
        MUST(dim_model_create(3, &model));
        MUST(dim_model_create(3, &fresh));
        options.epsilon = kind == 0 ? 0 : options.epsilon;
        options.weight_decay = kind == 1 ? 1e300 : 0;
        options.learning_rate = kind == 2 ? 1e300 : 1e-4;
        MUST(dim_classifier_trainer_create(model, &options, &trainer));
        CHECK_STATUS(DIM_NOT_FINITE, dim_classifier_trainer_step_encoded(trainer, nothing, labels, N, NULL));
        CHECK(same_parameters(model, fresh) && dim_classifier_trainer_step_count(trainer) == 0);
        CHECK_STATUS(DIM_OK, dim_model_save(model, scratch_path("unchanged.h5")));
        dim_classifier_trainer_free(trainer);
        dim_model_free(model);
        dim_model_free(fresh);
    }
}

/* Large but harmless: a rate of 1e30 moves weights by 1e30, and they are saved and opened. */
static void steps_at_the_edge(void) {
    dim_model *model = NULL, *opened = NULL;
    dim_classifier_trainer *trainer = NULL;
    dim_classifier_options options;
    MUST(dim_classifier_options_init(&options, sizeof options));
    options.learning_rate = 1e30;
    MUST(dim_model_create(3, &model));
    MUST(dim_classifier_trainer_create(model, &options, &trainer));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_step_encoded(trainer, encoded, labels, N, NULL));
    CHECK_STATUS(DIM_OK, dim_model_save(model, scratch_path("large.h5")));
    CHECK_STATUS(DIM_OK, dim_model_open(scratch_path("large.h5"), &opened));
    CHECK(same_parameters(model, opened));
    dim_classifier_trainer_free(trainer);
    dim_model_free(model);
    dim_model_free(opened);
}

/* First moments of 3e38 over second ones of 0. */
static void moments_of_a_file(void) {
    dim_model *model = NULL;
    dim_classifier_trainer *trainer = NULL, *resumed = NULL;
    float weight[15 * 64], after[15 * 64];
    MUST(dim_model_create(4, &model));
    MUST(dim_classifier_trainer_create(model, NULL, &trainer));
    MUST(dim_classifier_trainer_save(trainer, scratch_path("moments.h5")));
    hid_t file = H5Fopen(scratch_path("moments.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t set = H5Dopen2(file, "checkpoint/first_moment", H5P_DEFAULT);
    hid_t space = H5Dget_space(set);
    size_t count = (size_t)H5Sget_simple_extent_npoints(space);
    float *moments = take(count * sizeof *moments);
    for (size_t i = 0; i < count; i++)
        moments[i] = 3e38f;
    CHECK(H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, moments) >= 0);
    H5Sclose(space);
    H5Dclose(set);
    H5Fclose(file);
    free(moments);
    MUST(dim_classifier_trainer_resume(scratch_path("moments.h5"), &resumed));
    CHECK_STATUS(DIM_NOT_FINITE, dim_classifier_trainer_step_encoded(resumed, encoded, labels, N, NULL));
    dim_model *held = NULL;
    MUST(dim_classifier_trainer_model(resumed, &held));
    MUST(dim_model_get_parameter(model, "classifier.l1.weight", weight, sizeof weight));
    MUST(dim_model_get_parameter(held, "classifier.l1.weight", after, sizeof after));
    CHECK(memcmp(weight, after, sizeof weight) == 0 && dim_classifier_trainer_step_count(resumed) == 0);
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_save(resumed, scratch_path("moments.h5")));
    dim_model_free(held);
    dim_classifier_trainer_free(trainer);
    dim_classifier_trainer_free(resumed);
    dim_model_free(model);
}

/* In training mode a pass would move the statistics of the model: to NaN where an image is NaN. */
static void passes_in_training_mode(void) {
    static float bad[DIM_NOTEBOOK_IMAGE_SIZE * N];
    float vectors[DIM_NOTEBOOK_ENCODED_SIZE * N], probabilities[DIM_NOTEBOOK_CLASSES * N], y[DIM_NOTEBOOK_ENCODED_SIZE * N];
    const float wrong[] = {NAN, INFINITY, 3e38f};
    dim_model *model = NULL, *opened = NULL;
    MUST(dim_model_create(5, &model));
    MUST(dim_model_set_training(model, true));
    float before = variance_of(model);
    for (int i = 0; i < 3; i++) {
        memcpy(bad, images, sizeof bad);
        memcpy(y, encoded, sizeof y);
        for (int k = 0; k < 500; k++)
            bad[k] = wrong[i];
        y[7] = wrong[i];
        y[8] = -wrong[i];
        paint(vectors, sizeof vectors);
        paint(probabilities, sizeof probabilities);
        CHECK_STATUS(DIM_NOT_FINITE, dim_encode(model, bad, N, vectors, NULL));
        CHECK_STATUS(DIM_NOT_FINITE, dim_classify(model, y, N, probabilities));
        CHECK(painted(vectors, sizeof vectors) && painted(probabilities, sizeof probabilities));
    }
    CHECK(variance_of(model) == before);
    CHECK_STATUS(DIM_OK, dim_model_save(model, scratch_path("passes.h5")));
    CHECK_STATUS(DIM_OK, dim_model_open(scratch_path("passes.h5"), &opened));
    dim_model_free(model);
    dim_model_free(opened);
}

int main(void) {
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * N, 1);
    fill(encoded, DIM_NOTEBOOK_ENCODED_SIZE * N, 2);
    RUN(steps_of_a_run);
    RUN(steps_of_a_classifiers_run);
    RUN(confusion);
    RUN(batches_tracked);
    RUN(callback_and_statistics);
    RUN(steps_that_overflow);
    RUN(classifier_steps_that_overflow);
    RUN(steps_at_the_edge);
    RUN(moments_of_a_file);
    RUN(passes_in_training_mode);
    return harness_finish();
}

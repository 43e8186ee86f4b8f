/* Counts at the end of their range, and values that no model may hold: a call goes on or says no; what is saved opens. */
#include "harness.h"

#include <hdf5.h>

enum { N = 4 };

static float images[DIM_IMAGE_SIZE * N], encoded[DIM_ENCODED_SIZE * N];
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
    CHECK_STATUS(DIM_OK, dim_trainer_resume_untrusted(scratch_path("objective.h5"), &resumed));
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
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_resume_untrusted(scratch_path("classifier.h5"), &resumed));
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
    uint64_t counts[DIM_CLASSES * DIM_CLASSES];
    dim_classifier_result result;
    MUST(dim_classifier_trainer_create(shared_model(), NULL, &trainer));
    for (int i = 0; i < DIM_CLASSES * DIM_CLASSES; i++)
        counts[i] = UINT64_MAX - (i % 2 == 0);
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_evaluate(trainer, images, labels, N, &result, counts));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_evaluate(trainer, images, labels, N, &result, counts));
    for (int i = 0; i < DIM_CLASSES * DIM_CLASSES; i++)
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
    float y[DIM_ENCODED_SIZE * N], p[DIM_CLASSES * N];
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

int main(void) {
    fill(images, DIM_IMAGE_SIZE * N, 1);
    fill(encoded, DIM_ENCODED_SIZE * N, 2);
    RUN(steps_of_a_run);
    RUN(steps_of_a_classifiers_run);
    RUN(confusion);
    RUN(batches_tracked);
    return harness_finish();
}

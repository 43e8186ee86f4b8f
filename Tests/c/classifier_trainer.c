/* The classifier trainer's contract: labels, refusals that change nothing, evaluation, checkpoints. */
#include "harness.h"

#include <math.h>

enum { N = 4 };

static float images[DIM_NOTEBOOK_IMAGE_SIZE * N], encoded[DIM_NOTEBOOK_ENCODED_SIZE * N];
static const int64_t labels[N] = {0, 9, 3, 3};

static dim_classifier_trainer *new_trainer(uint64_t seed, dim_encoder_use use) {
    dim_model *model = NULL;
    dim_classifier_trainer *trainer = NULL;
    dim_classifier_options options;
    MUST(dim_classifier_options_init(&options, sizeof options));
    options.encoder = use;
    MUST(dim_model_create(seed, &model));
    MUST(dim_classifier_trainer_create(model, &options, &trainer));
    dim_model_free(model);
    return trainer;
}

static void weights_of(dim_classifier_trainer *trainer, float *weights, float *encoder) {
    dim_model *model = NULL;
    MUST(dim_classifier_trainer_model(trainer, &model));
    MUST(dim_model_get_parameter(model, "classifier.l1.weight", weights, sizeof(float) * 15 * 64));
    MUST(dim_model_get_parameter(model, "encoder.c0.bias", encoder, sizeof(float) * 64));
    dim_model_free(model);
}

static void options_and_their_defaults(void) {
    dim_classifier_options o;
    static const size_t sizes[] = {0, 1, sizeof o - 1, SIZE_MAX, SIZE_MAX / 2 + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        paint(&o, sizeof o);
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_options_init(&o, sizes[i]));
        CHECK(painted(&o, sizeof o));
        CHECK_MESSAGE("compile with this library's dim.h");
    }
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_options_init(NULL, sizeof o));
    CHECK_STATUS(DIM_OK, dim_classifier_options_init(&o, sizeof o));
    CHECK(o.struct_size == sizeof o && o.encoder == DIM_ENCODER_FROZEN && o.loss == DIM_LOSS_LOGITS);
    CHECK(o.learning_rate == 1e-4 && o.adam_beta1 == 0.9 && o.adam_beta2 == 0.999 && o.epsilon == 1e-8 && o.weight_decay == 0);

    static const double wrong[] = {NAN, INFINITY, -INFINITY, -1};
    dim_classifier_trainer *out;
    paint(&out, sizeof out);
    for (int field = 0; field < 5; field++) {
        for (int i = 0; i < 4; i++) {
            MUST(dim_classifier_options_init(&o, sizeof o));
            double *fields[] = {&o.learning_rate, &o.adam_beta1, &o.adam_beta2, &o.epsilon, &o.weight_decay};
            *fields[field] = wrong[i];
            CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_create(shared_model(), &o, &out));
        }
    }
    MUST(dim_classifier_options_init(&o, sizeof o));
    o.encoder = (dim_encoder_use)3;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_create(shared_model(), &o, &out));
    MUST(dim_classifier_options_init(&o, sizeof o));
    o.loss = (dim_classifier_loss)2;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_create(shared_model(), &o, &out));
    CHECK(painted(&out, sizeof out));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_create(shared_model(), NULL, NULL));
}

static void all_functions(dim_classifier_trainer *trainer) {
    dim_classifier_result result;
    dim_classifier_options options;
    dim_model *model;
    uint64_t confusion[DIM_NOTEBOOK_CLASSES * DIM_NOTEBOOK_CLASSES];
    paint(&result, sizeof result);
    paint(&model, sizeof model);
    paint(confusion, sizeof confusion);
    MUST(dim_classifier_options_init(&options, sizeof options));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_classifier_trainer_step(trainer, images, labels, N, &result));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_classifier_trainer_step_encoded(trainer, encoded, labels, N, &result));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_classifier_trainer_evaluate(trainer, images, labels, N, &result, confusion));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_classifier_trainer_set_learning_rate(trainer, 1e-4));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_classifier_trainer_get_options(trainer, &options));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_classifier_trainer_model(trainer, &model));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_classifier_trainer_save(trainer, scratch_path("none.h5")));
    CHECK(dim_classifier_trainer_step_count(trainer) == 0);
    CHECK(painted(&result, sizeof result) && painted(&model, sizeof model) && painted(confusion, sizeof confusion));
    dim_classifier_trainer_free(trainer);
}

static void handles(void) {
    for (int i = 0; i < FOREIGN_HANDLES; i++)
        all_functions(foreign_handle(i));
    all_functions((dim_classifier_trainer *)shared_model());
    dim_trainer *other = NULL;
    MUST(dim_trainer_create(shared_model(), NULL, &other));
    all_functions((dim_classifier_trainer *)other);
    dim_trainer_free(other);
    dim_classifier_trainer *trainer = new_trainer(1, DIM_ENCODER_FROZEN);
    dim_classifier_trainer_free(trainer);
    all_functions(trainer);
}

static void steps_that_are_refused(void) {
    dim_classifier_trainer *trainer = new_trainer(2, DIM_ENCODER_TRAINED), *frozen = new_trainer(2, DIM_ENCODER_FROZEN);
    dim_classifier_result result;
    float before[15 * 64], after[15 * 64], encoder_before[64], encoder_after[64], bad[DIM_NOTEBOOK_IMAGE_SIZE * N];
    static const int64_t wrong[] = {-1, 10, INT64_MAX, INT64_MIN, (int64_t)1 << 32};
    weights_of(trainer, before, encoder_before);
    paint(&result, sizeof result);
    for (int i = 0; i < 5; i++) {
        int64_t bad_labels[N] = {0, 1, 2, 0};
        bad_labels[N - 1] = wrong[i];
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_step(trainer, images, bad_labels, N, &result));
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_step_encoded(frozen, encoded, bad_labels, N, &result));
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_evaluate(trainer, images, bad_labels, N, &result, NULL));
    }
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_step(trainer, NULL, labels, N, &result));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_step(trainer, images, NULL, N, &result));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_step(trainer, images, labels, 0, &result));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_step(trainer, images, labels, 1, &result));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_step_encoded(trainer, encoded, labels, N, &result));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_step_encoded(frozen, NULL, labels, N, &result));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_step_encoded(frozen, encoded, labels, 1, &result));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_evaluate(trainer, images, labels, 0, &result, NULL));
    for (int i = 0; i < LARGE_COUNTS; i++) {
        CHECK_STATUS(DIM_TOO_LARGE, dim_classifier_trainer_step(trainer, images, labels, large_count(i), &result));
        CHECK_STATUS(DIM_TOO_LARGE, dim_classifier_trainer_step_encoded(frozen, encoded, labels, large_count(i), &result));
        CHECK_STATUS(DIM_TOO_LARGE, dim_classifier_trainer_evaluate(trainer, images, labels, large_count(i), &result, NULL));
    }
    memcpy(bad, images, sizeof bad);
    bad[9] = NAN;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_classifier_trainer_step(trainer, bad, labels, N, &result));
    CHECK(painted(&result, sizeof result));
    weights_of(trainer, after, encoder_after);
    CHECK(memcmp(before, after, sizeof before) == 0 && memcmp(encoder_before, encoder_after, sizeof encoder_after) == 0);
    CHECK(dim_classifier_trainer_step_count(trainer) == 0);
    dim_classifier_trainer_free(trainer);
    dim_classifier_trainer_free(frozen);
}

static void what_each_use_moves(void) {
    for (int use = DIM_ENCODER_FROZEN; use <= DIM_ENCODER_TRAINED; use++) {
        dim_classifier_trainer *trainer = new_trainer(3, (dim_encoder_use)use);
        float before[15 * 64], after[15 * 64], encoder_before[64], encoder_after[64];
        dim_classifier_result result;
        weights_of(trainer, before, encoder_before);
        CHECK_STATUS(DIM_OK, dim_classifier_trainer_step(trainer, images, labels, N, &result));
        CHECK(result.count == N && result.correct <= N && isfinite(result.loss));
        weights_of(trainer, after, encoder_after);
        CHECK(memcmp(before, after, sizeof before) != 0);
        CHECK((memcmp(encoder_before, encoder_after, sizeof encoder_after) != 0) == (use == DIM_ENCODER_TRAINED));
        CHECK(dim_classifier_trainer_step_count(trainer) == 1);
        dim_classifier_trainer_free(trainer);
    }
}

static void evaluation(void) {
    dim_classifier_trainer *trainer = new_trainer(4, DIM_ENCODER_FROZEN);
    uint64_t confusion[DIM_NOTEBOOK_CLASSES * DIM_NOTEBOOK_CLASSES] = {0}, sum = 0, diagonal = 0, row = 0;
    dim_classifier_result a, b;
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_evaluate(trainer, images, labels, N, &a, confusion));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_evaluate(trainer, images, labels, N, &b, confusion));   /* adds up */
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_evaluate(trainer, images, labels, 1, NULL, NULL));
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    for (int i = 0; i < DIM_NOTEBOOK_CLASSES * DIM_NOTEBOOK_CLASSES; i++) {
        sum += confusion[i];
        diagonal += i % 11 == 0 ? confusion[i] : 0;
        row += i / DIM_NOTEBOOK_CLASSES == 3 ? confusion[i] : 0;
    }
    CHECK(sum == 2 * N && row == 4 && diagonal == 2 * a.correct);
    static float bad[DIM_NOTEBOOK_IMAGE_SIZE];
    for (int i = 0; i < DIM_NOTEBOOK_IMAGE_SIZE; i++)
        bad[i] = 3e38f;
    CHECK_STATUS(DIM_NOT_FINITE, dim_classifier_trainer_evaluate(trainer, bad, labels, 1, &b, confusion));
    CHECK(memcmp(&a, &b, sizeof a) == 0 && confusion[0] <= 2);
    dim_classifier_trainer_free(trainer);
}

static void checkpoints(void) {
    dim_classifier_trainer *whole = new_trainer(5, DIM_ENCODER_TRAINED), *first = new_trainer(5, DIM_ENCODER_TRAINED);
    dim_classifier_trainer *second = NULL, *wrong = NULL;
    dim_classifier_result a, b;
    MUST(dim_classifier_trainer_step(whole, images, labels, N, NULL));
    MUST(dim_classifier_trainer_step(first, images, labels, N, NULL));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_save(first, scratch_path("classifier.h5")));
    dim_classifier_trainer_free(first);
    MUST(dim_set_num_threads(3));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_resume(scratch_path("classifier.h5"), &second));
    MUST(dim_classifier_trainer_step(whole, images, labels, N, &a));
    MUST(dim_set_num_threads(1));
    MUST(dim_classifier_trainer_step(second, images, labels, N, &b));
    MUST(dim_set_num_threads(0));
    CHECK(a.loss == b.loss && a.correct == b.correct && dim_classifier_trainer_step_count(second) == 2);
    float x[15 * 64], y[15 * 64], p[64], q[64];
    weights_of(whole, x, p);
    weights_of(second, y, q);
    CHECK(memcmp(x, y, sizeof x) == 0 && memcmp(p, q, sizeof p) == 0);
    dim_classifier_trainer_free(whole);
    dim_classifier_trainer_free(second);
    MUST(dim_model_save(shared_model(), scratch_path("weights.h5")));
    CHECK_STATUS(DIM_FILE_CONTENT, dim_classifier_trainer_resume(scratch_path("weights.h5"), &wrong));
    CHECK_STATUS(DIM_IO, dim_classifier_trainer_resume(scratch_path("missing.h5"), &wrong));
    dim_trainer *other = NULL;
    CHECK_STATUS(DIM_FILE_CONTENT, dim_trainer_resume(scratch_path("classifier.h5"), &other));   /* of another kind */
    CHECK(wrong == NULL && other == NULL);
}

int main(void) {
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * N, 1);
    fill(encoded, DIM_NOTEBOOK_ENCODED_SIZE * N, 2);
    RUN(options_and_their_defaults);
    RUN(handles);
    RUN(steps_that_are_refused);
    RUN(what_each_use_moves);
    RUN(evaluation);
    RUN(checkpoints);
    return harness_finish();
}

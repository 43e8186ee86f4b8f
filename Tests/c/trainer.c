/* The trainer's contract: refusals that change nothing, checkpoints that continue bit for bit, gradients, callbacks. */
#include "harness.h"

#include <math.h>
#include <sys/resource.h>

enum { N = 3 };

static float images[DIM_NOTEBOOK_IMAGE_SIZE * N], more[DIM_NOTEBOOK_IMAGE_SIZE * N];

static dim_trainer_options defaults(void) {
    dim_trainer_options options;
    MUST(dim_trainer_options_init(&options, sizeof options));
    return options;
}

static dim_trainer *new_trainer(uint64_t seed) {
    dim_model *model = NULL;
    dim_trainer *trainer = NULL;
    dim_trainer_options options = defaults();
    options.seed = seed;
    MUST(dim_model_create(seed, &model));
    MUST(dim_trainer_create(model, &options, &trainer));
    dim_model_free(model);      /* the trainer keeps it alive */
    return trainer;
}

/* What a step moves, in short: a convolution's weights, a statistic, the counter. */
typedef struct state {
    float weight[64 * 3 * 16], variance[512], prior[200];
    int64_t batches;
    uint64_t steps;
} state;

static state state_of(dim_trainer *trainer) {
    state s;
    dim_model *model = NULL;
    memset(&s, 0, sizeof s);
    MUST(dim_trainer_model(trainer, &model));
    MUST(dim_model_get_parameter(model, "encoder.c0.weight", s.weight, sizeof s.weight));
    MUST(dim_model_get_parameter(model, "encoder.b3.running_var", s.variance, sizeof s.variance));
    MUST(dim_model_get_parameter(model, "prior_d.l2.weight", s.prior, sizeof s.prior));
    MUST(dim_model_get_parameter(model, "encoder.b3.num_batches_tracked", &s.batches, sizeof s.batches));
    dim_model_free(model);
    s.steps = dim_trainer_step_count(trainer);
    return s;
}

static bool same(const state *a, const state *b) { return memcmp(a, b, sizeof *a) == 0; }

static void options_and_their_defaults(void) {
    dim_trainer_options o;
    static const size_t sizes[] = {0, 1, sizeof(size_t), sizeof o - 1, SIZE_MAX, SIZE_MAX / 2 + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        paint(&o, sizeof o);
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_options_init(&o, sizes[i]));
        CHECK(painted(&o, sizeof o));
    }
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_options_init(NULL, sizeof o));
    CHECK_STATUS(DIM_OK, dim_trainer_options_init(&o, sizeof o));
    CHECK(o.struct_size == sizeof o && o.prior == DIM_PRIOR_MONOLITHIC && o.seed == 0);
    CHECK(o.alpha == 0.5 && o.beta == 1.0 && o.gamma == 0.1);
    CHECK(o.encoder_learning_rate == 1e-4 && o.discriminator_learning_rate == 1e-4);
    CHECK(o.adam_beta1 == 0.9 && o.adam_beta2 == 0.999 && o.epsilon == 1e-8 && o.weight_decay == 0);
    CHECK(o.coordinates == DIM_COORDINATES_NONE && o.coordinates_weight == 1 && !o.occlusion && o.locations == 0);
}

static dim_report new_report(void) {
    dim_report report;
    paint(&report, sizeof report);
    report.struct_size = sizeof report;
    return report;
}

/* Of the notebook's own objective; Tests/DimTrainingTests has the others. */
static void reports(void) {
    dim_trainer *trainer = new_trainer(1);
    dim_report report = new_report();
    dim_losses losses;
    CHECK_STATUS(DIM_OK, dim_trainer_report(trainer, &report));
    CHECK(report.images == 0 && report.step == 0 && isnan(report.total) && isnan(report.gradient_norm));
    CHECK_STATUS(DIM_OK, dim_trainer_step(trainer, images, N, &losses));
    CHECK_STATUS(DIM_OK, dim_trainer_report(trainer, &report));
    CHECK(report.images == N && report.step == 1 && report.total == losses.total && report.local == losses.local);
    CHECK(report.global == losses.global && report.prior == losses.prior && isnan(report.coordinates));
    CHECK(fabs(report.local_information - (2 * log(2) - losses.local)) < 1e-12);
    CHECK(report.gradient_norm > report.encoder_norm && report.encoder_norm > 0 && report.global_d_norm > 0);
    CHECK(report.local_d_norm > 0 && report.prior_d_norm > 0 && isnan(report.coordinates_d_norm));
    CHECK(report.prior_distance > 0);
    CHECK_STATUS(DIM_OK, dim_trainer_evaluate(trainer, images, N, &losses));
    CHECK_STATUS(DIM_OK, dim_trainer_report(trainer, &report));
    CHECK(report.total == losses.total && isnan(report.gradient_norm) && report.step == 1);
    dim_report before = report;
    report.struct_size = before.struct_size = sizeof report - 1;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_report(trainer, &report));
    CHECK(memcmp(&report, &before, sizeof report) == 0);
    CHECK(strstr(dim_last_error(), "struct_size") && !strstr(dim_last_error(), "_init"));   /* There is none of it. */
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_report(trainer, NULL));
    dim_trainer_free(trainer);
}

static void options_that_are_refused(void) {
    static const double wrong[] = {NAN, INFINITY, -INFINITY, -1e-9, -1};
    dim_trainer *out;
    paint(&out, sizeof out);
    for (int field = 0; field < 9; field++) {
        for (int i = 0; i < 5; i++) {
            dim_trainer_options o = defaults();
            double *fields[] = {&o.encoder_learning_rate, &o.discriminator_learning_rate, &o.adam_beta1, &o.adam_beta2, &o.epsilon,
                                &o.weight_decay, &o.alpha, &o.beta, &o.gamma};
            if (field >= 6 && i >= 3)
                continue;       /* a weight of the objective may be negative, for all the header says */
            *fields[field] = wrong[i];
            CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), &o, &out));
        }
    }
    dim_trainer_options o = defaults();
    o.adam_beta1 = 1;        /* the moments' correction would divide by zero */
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), &o, &out));
    CHECK_MESSAGE("adam_beta1");
    o = defaults();
    o.prior = (dim_prior)3;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), &o, &out));
    o = defaults();
    o.coordinates = (dim_coordinates)3;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), &o, &out));
    CHECK_MESSAGE("coordinates is 3");
    o.coordinates = DIM_COORDINATES_ABSOLUTE;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), &o, &out));
    CHECK_MESSAGE("no coordinates_d");
    for (int i = 0; i < 5; i++) {
        o = defaults();
        o.coordinates_weight = wrong[i];
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), &o, &out));
    }
    static const int32_t neither[] = {-1, 2, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; i++) {
        o = defaults();
        o.occlusion = neither[i];
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), &o, &out));
        CHECK_MESSAGE("expected 0 or 1");
    }
    static const uint32_t too_many[] = {677, UINT32_MAX};
    for (int i = 0; i < 2; i++) {
        o = defaults();
        o.locations = too_many[i];
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), &o, &out));
        CHECK_MESSAGE("the features have 676");
    }
    o.locations = 5;
    o.beta = 0;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), &o, &out));
    CHECK_MESSAGE("no local term");
    static const size_t sizes[] = {0, sizeof o - 1, SIZE_MAX};
    for (int i = 0; i < 3; i++) {
        o = defaults();
        o.struct_size = sizes[i];
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), &o, &out));
    }
    for (int i = 0; i < FOREIGN_HANDLES; i++)
        CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_create(foreign_handle(i), NULL, &out));
    CHECK(painted(&out, sizeof out));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(shared_model(), NULL, NULL));
}

static void all_functions(dim_trainer *trainer) {
    dim_losses losses;
    dim_model *model;
    dim_trainer_options options = defaults(), untouched = options;
    float gradient[64];
    paint(&losses, sizeof losses);
    paint(&model, sizeof model);
    paint(gradient, sizeof gradient);
    options.alpha = untouched.alpha = 77;
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_step(trainer, images, N, &losses));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_accumulate(trainer, images, N, &losses));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_evaluate(trainer, images, N, &losses));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_update(trainer));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_get_gradient(trainer, "encoder.c0.bias", gradient, sizeof gradient));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_set_gradient_callback(trainer, NULL, NULL));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_set_learning_rates(trainer, 1e-4, 1e-4));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_get_options(trainer, &options));
    dim_report report = new_report();
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_report(trainer, &report));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_model(trainer, &model));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_save(trainer, scratch_path("none.h5")));
    CHECK(dim_trainer_step_count(trainer) == 0);
    CHECK(painted(&losses, sizeof losses) && painted(&model, sizeof model) && painted(gradient, sizeof gradient));
    CHECK(memcmp(&options, &untouched, sizeof options) == 0);
    dim_trainer_free(trainer);      /* ignored */
}

static void handles(void) {
    for (int i = 0; i < FOREIGN_HANDLES; i++)
        all_functions(foreign_handle(i));
    all_functions((dim_trainer *)shared_model());       /* a handle, of another kind */
    CHECK(dim_model_networks(shared_model()) == DIM_NETWORK_ALL);
    dim_trainer *trainer = new_trainer(1);
    CHECK(dim_model_networks((dim_model *)trainer) == 0);
    dim_model_free((dim_model *)trainer);
    CHECK_STATUS(DIM_OK, dim_trainer_evaluate(trainer, images, N, NULL));
    dim_trainer_free(trainer);
    all_functions(trainer);
}

/* Each refusal leaves model, optimisers and random state: the next step equals that of a trainer that met none. */
static void steps_that_are_refused(void) {
    dim_trainer *tried = new_trainer(2), *fresh = new_trainer(2);
    dim_losses losses, a, b;
    float bad[DIM_NOTEBOOK_IMAGE_SIZE * N];
    const float wrong[] = {NAN, INFINITY, -INFINITY};
    state before = state_of(tried), after;
    paint(&losses, sizeof losses);
    dim_status (*const functions[])(dim_trainer *, const float *, size_t, dim_losses *) = {
        dim_trainer_step, dim_trainer_accumulate, dim_trainer_evaluate};
    for (int f = 0; f < 3; f++) {
        CHECK_STATUS(DIM_INVALID_ARGUMENT, functions[f](tried, NULL, N, &losses));
        CHECK_STATUS(DIM_INVALID_ARGUMENT, functions[f](tried, images, 0, &losses));
        CHECK_STATUS(DIM_INVALID_ARGUMENT, functions[f](tried, images, 1, &losses));
        for (int i = 0; i < LARGE_COUNTS; i++)
            CHECK_STATUS(DIM_TOO_LARGE, functions[f](tried, images, large_count(i), &losses));
        for (int i = 0; i < 3; i++) {
            memcpy(bad, images, sizeof bad);
            bad[DIM_NOTEBOOK_IMAGE_SIZE * N - 1] = wrong[i];
            CHECK_STATUS(DIM_INVALID_ARGUMENT, functions[f](tried, bad, N, &losses));
        }
    }
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_update(tried));
    CHECK(painted(&losses, sizeof losses));
    after = state_of(tried);
    CHECK(same(&before, &after));
    CHECK_STATUS(DIM_OK, dim_trainer_step(tried, images, N, &a));
    CHECK_STATUS(DIM_OK, dim_trainer_step(fresh, images, N, &b));
    CHECK(memcmp(&a, &b, sizeof a) == 0);
    before = state_of(fresh);
    after = state_of(tried);
    CHECK(same(&before, &after) && after.steps == 1 && after.batches == 1);
    dim_trainer_free(tried);
    dim_trainer_free(fresh);
}

/* Images so large that float32 overflows inside: a step says so and is not applied, an evaluation says so. */
static void losses_that_are_not_finite(void) {
    dim_trainer *trainer = new_trainer(3);
    float bad[DIM_NOTEBOOK_IMAGE_SIZE * N];
    for (int i = 0; i < DIM_NOTEBOOK_IMAGE_SIZE * N; i++)
        bad[i] = images[i] * 3e38f;
    state before = state_of(trainer), after;
    CHECK_STATUS(DIM_NOT_FINITE, dim_trainer_step(trainer, bad, N, NULL));
    dim_losses losses = {-1, -1, -1, -1};
    CHECK_STATUS(DIM_NOT_FINITE, dim_trainer_evaluate(trainer, bad, N, &losses));
    CHECK(losses.total == -1 && losses.local == -1 && losses.global == -1 && losses.prior == -1);
    after = state_of(trainer);
    CHECK(same(&before, &after));
    CHECK_STATUS(DIM_OK, dim_trainer_step(trainer, images, N, NULL));
    dim_trainer_free(trainer);
}

static void learning_rates(void) {
    dim_trainer *trainer = new_trainer(4);
    static const double wrong[] = {NAN, INFINITY, -INFINITY, -1e-300};
    dim_trainer_options o = defaults();
    for (int i = 0; i < 4; i++) {
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_set_learning_rates(trainer, wrong[i], 1e-4));
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_set_learning_rates(trainer, 1e-4, wrong[i]));
    }
    CHECK_STATUS(DIM_OK, dim_trainer_get_options(trainer, &o));
    CHECK(o.encoder_learning_rate == 1e-4 && o.discriminator_learning_rate == 1e-4);
    CHECK_STATUS(DIM_OK, dim_trainer_set_learning_rates(trainer, 0, 1e-3));
    CHECK_STATUS(DIM_OK, dim_trainer_get_options(trainer, &o));
    CHECK(o.encoder_learning_rate == 0 && o.discriminator_learning_rate == 1e-3 && o.seed == 4);
    state before = state_of(trainer), after;
    MUST(dim_trainer_step(trainer, images, N, NULL));
    after = state_of(trainer);
    CHECK(memcmp(before.weight, after.weight, sizeof before.weight) == 0);      /* at rate 0 the encoder does not change */
    CHECK(memcmp(before.prior, after.prior, sizeof before.prior) != 0);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_get_options(trainer, NULL));
    o.struct_size = 3;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_get_options(trainer, &o));
    dim_trainer_free(trainer);
}

static void gradients(void) {
    dim_trainer *trainer = new_trainer(5);
    float gradient[64], twice[64];
    const char *name = "encoder.c0.bias";
    paint(gradient, sizeof gradient);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_get_gradient(trainer, name, gradient, sizeof gradient));
    CHECK_STATUS(DIM_OK, dim_trainer_accumulate(trainer, images, N, NULL));
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_trainer_get_gradient(trainer, "encoder.c7.bias", gradient, sizeof gradient));
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_trainer_get_gradient(trainer, "encoder.b1.running_mean", gradient, sizeof gradient));
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_trainer_get_gradient(trainer, "classifier.l1.bias", gradient, sizeof gradient));
    CHECK_STATUS(DIM_SIZE_MISMATCH, dim_trainer_get_gradient(trainer, name, gradient, sizeof gradient - 1));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_get_gradient(trainer, NULL, gradient, sizeof gradient));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_get_gradient(trainer, name, NULL, sizeof gradient));
    CHECK(painted(gradient, sizeof gradient));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_save(trainer, scratch_path("waiting.h5")));
    CHECK_STATUS(DIM_OK, dim_trainer_get_gradient(trainer, name, gradient, sizeof gradient));
    CHECK_STATUS(DIM_OK, dim_trainer_accumulate(trainer, more, N, NULL));
    CHECK_STATUS(DIM_OK, dim_trainer_get_gradient(trainer, name, twice, sizeof twice));
    CHECK(memcmp(gradient, twice, sizeof gradient) != 0);
    CHECK(dim_trainer_step_count(trainer) == 0);
    CHECK_STATUS(DIM_OK, dim_trainer_update(trainer));
    CHECK(dim_trainer_step_count(trainer) == 1);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_update(trainer));
    dim_trainer_free(trainer);
}

/* Two trainers share a step of two micro-batches: each hands its array over, then gets the sum. */
typedef struct exchange {
    float *sum;
    size_t count;
    int collects;
} exchange;

static int share(float *values, size_t count, void *context) {
    exchange *e = context;
    if (!e->collects) {
        memcpy(values, e->sum, count * sizeof *values);
        return 0;
    }
    if (e->sum == NULL)
        e->sum = calloc(count, sizeof *values);
    e->count = count;
    for (size_t i = 0; i < count; i++)
        e->sum[i] += values[i];
    return 1;
}

/* Mixed precision where there is any, a clear error elsewhere. */
static void precision(void) {
    dim_model *model = NULL;
    dim_trainer *trainer = NULL;
    dim_trainer_options o = defaults();
    CHECK(o.precision == DIM_PRECISION_FLOAT32);
    MUST(dim_model_create(2, &model));
    o.precision = (dim_precision)2;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(model, &o, &trainer));
    CHECK(strstr(dim_last_error(), "precision is 2") != NULL);
    o.precision = DIM_PRECISION_MIXED;
    if (strstr(dim_build_info(), "mixed precision") == NULL) {
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(model, &o, &trainer));
        CHECK(strstr(dim_last_error(), "AVX-512 BF16") != NULL);
    } else {
        dim_losses mixed, exact;
        dim_trainer_options found = {.struct_size = sizeof found};
        MUST(dim_trainer_create(model, &o, &trainer));
        CHECK_STATUS(DIM_OK, dim_trainer_get_options(trainer, &found));
        CHECK(found.precision == DIM_PRECISION_MIXED);
        CHECK_STATUS(DIM_OK, dim_trainer_step(trainer, images, N, &mixed));
        dim_trainer_free(trainer);
        dim_model_free(model);
        o.precision = DIM_PRECISION_FLOAT32;
        MUST(dim_model_create(2, &model));
        MUST(dim_trainer_create(model, &o, &trainer));
        CHECK_STATUS(DIM_OK, dim_trainer_step(trainer, images, N, &exact));
        CHECK(mixed.local != exact.local && fabs(mixed.local - exact.local) < 0.01 * exact.local);
        CHECK(mixed.global == exact.global && mixed.prior == exact.prior);
        dim_trainer_free(trainer);
    }
    dim_model_free(model);
}

static void micro_batches(void) {
    dim_model *model = NULL;
    dim_trainer *whole = NULL, *halves[2] = {NULL, NULL};
    dim_trainer_options o = defaults();
    float both[2 * N * DIM_NOTEBOOK_IMAGE_SIZE];
    memcpy(both, images, sizeof both / 2);
    memcpy(both + N * DIM_NOTEBOOK_IMAGE_SIZE, more, sizeof both / 2);
    CHECK(o.micro_batches == 1);
    o.micro_batches = 0;
    MUST(dim_model_create(2, &model));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(model, &o, &whole));
    o.micro_batches = 4097;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_create(model, &o, &whole));
    dim_model_free(model);
    o.micro_batches = 2;
    dim_trainer **made[3] = {&whole, &halves[0], &halves[1]};
    for (int i = 0; i < 3; i++) {
        MUST(dim_model_create(2, &model));
        MUST(dim_trainer_create(model, &o, made[i]));
        dim_model_free(model);
    }
    exchange e = {NULL, 0, 1};
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_step(whole, both, 2 * N - 1, NULL));
    CHECK_STATUS(DIM_OK, dim_trainer_step(whole, both, 2 * N, NULL));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_skip(NULL, N));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_trainer_drop(NULL));
    for (e.collects = 1; e.collects >= 0; e.collects--)
        for (int i = 0; i < 2; i++) {
            CHECK_STATUS(DIM_OK, dim_trainer_set_gradient_callback(halves[i], share, &e));
            if (i == 1)
                CHECK_STATUS(DIM_OK, dim_trainer_skip(halves[i], N));
            CHECK_STATUS(DIM_OK, dim_trainer_accumulate(halves[i], i == 0 ? images : more, N, NULL));
            if (i == 0)
                CHECK_STATUS(DIM_OK, dim_trainer_skip(halves[i], N));
            CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_skip(halves[i], N));
            CHECK_STATUS(e.collects ? DIM_CANCELLED : DIM_OK, dim_trainer_update(halves[i]));
        }
    state a = state_of(whole), b = state_of(halves[0]), c = state_of(halves[1]);
    CHECK(same(&a, &b) && same(&a, &c));
    /* What is dropped has drawn nothing. */
    CHECK_STATUS(DIM_OK, dim_trainer_accumulate(whole, images, N, NULL));
    CHECK_STATUS(DIM_OK, dim_trainer_drop(whole));
    CHECK_STATUS(DIM_OK, dim_trainer_step(whole, both, 2 * N, NULL));
    CHECK_STATUS(DIM_OK, dim_trainer_set_gradient_callback(halves[0], NULL, NULL));
    CHECK_STATUS(DIM_OK, dim_trainer_step(halves[0], both, 2 * N, NULL));
    a = state_of(whole);
    b = state_of(halves[0]);
    CHECK(same(&a, &b));
    dim_trainer_free(whole);
    dim_trainer_free(halves[0]);
    dim_trainer_free(halves[1]);
    free(e.sum);
}

typedef struct callback_log {
    int calls, answer;
    size_t count;
} callback_log;

static int on_gradients(float *values, size_t count, void *context) {
    callback_log *log = context;
    log->calls++;
    log->count = count;
    return values == NULL ? 1 : log->answer;
}

static void callbacks(void) {
    dim_trainer *trainer = new_trainer(6), *plain = new_trainer(6);
    callback_log log = {0, 0, 0};
    state a, b, before = state_of(trainer);
    CHECK_STATUS(DIM_OK, dim_trainer_set_gradient_callback(trainer, on_gradients, &log));
    log.answer = 1;
    CHECK_STATUS(DIM_CANCELLED, dim_trainer_step(trainer, images, N, NULL));
    CHECK(log.calls == 1 && log.count > 0);
    a = state_of(trainer);
    CHECK(same(&before, &a));
    log.answer = 0;
    CHECK_STATUS(DIM_OK, dim_trainer_step(trainer, images, N, NULL));
    MUST(dim_trainer_step(plain, images, N, NULL));
    a = state_of(trainer);
    b = state_of(plain);
    CHECK(same(&a, &b) && log.calls == 2);
    CHECK_STATUS(DIM_OK, dim_trainer_set_gradient_callback(trainer, NULL, NULL));
    CHECK_STATUS(DIM_OK, dim_trainer_step(trainer, images, N, NULL));
    CHECK(log.calls == 2);
    /* A report is of the last step that succeeded. */
    dim_report good = new_report(), after = new_report();
    MUST(dim_trainer_report(trainer, &good));
    log.answer = 1;
    MUST(dim_trainer_set_gradient_callback(trainer, on_gradients, &log));
    CHECK_STATUS(DIM_CANCELLED, dim_trainer_step(trainer, images, N, NULL));
    MUST(dim_trainer_report(trainer, &after));
    CHECK(after.step == good.step && after.total == good.total && after.gradient_norm == good.gradient_norm);
    dim_trainer_free(trainer);
    dim_trainer_free(plain);
}

/* Stopping, going on, and other numbers of threads: the same bytes. */
static void checkpoints(void) {
    dim_trainer *whole = new_trainer(8), *first = new_trainer(8), *second = NULL;
    dim_losses a[3], b[3];
    for (int i = 0; i < 3; i++)
        MUST(dim_trainer_step(whole, i % 2 ? more : images, N, &a[i]));
    MUST(dim_set_num_threads(1));
    MUST(dim_trainer_step(first, images, N, &b[0]));
    CHECK_STATUS(DIM_OK, dim_trainer_save(first, scratch_path("checkpoint.h5")));
    dim_trainer_free(first);
    MUST(dim_set_num_threads(4));
    CHECK_STATUS(DIM_OK, dim_trainer_resume(scratch_path("checkpoint.h5"), &second));
    CHECK(dim_trainer_step_count(second) == 1);
    for (int i = 1; i < 3; i++)
        MUST(dim_trainer_step(second, i % 2 ? more : images, N, &b[i]));
    MUST(dim_set_num_threads(0));
    CHECK(memcmp(a, b, sizeof a) == 0);
    state x = state_of(whole), y = state_of(second);
    CHECK(same(&x, &y));
    dim_trainer_free(whole);
    dim_trainer_free(second);

    dim_model *weights = NULL;
    CHECK_STATUS(DIM_OK, dim_model_open(scratch_path("checkpoint.h5"), &weights));      /* a checkpoint is a weights file */
    CHECK(dim_model_networks(weights) == DIM_NETWORK_ALL);
    dim_model_free(weights);
}

static void resumes_that_fail(void) {
    dim_trainer *out;
    paint(&out, sizeof out);
    MUST(dim_model_save(shared_model(), scratch_path("weights.h5")));
    CHECK_STATUS(DIM_FILE_CONTENT, dim_trainer_resume(scratch_path("weights.h5"), &out));
    CHECK_STATUS(DIM_IO, dim_trainer_resume(scratch_path("missing.h5"), &out));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_resume(NULL, &out));
    CHECK(painted(&out, sizeof out));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_resume(scratch_path("weights.h5"), NULL));
    dim_trainer *trainer = new_trainer(9);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_save(trainer, NULL));
    CHECK_STATUS(DIM_IO, dim_trainer_save(trainer, scratch_path("no-such-folder/checkpoint.h5")));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_model(trainer, NULL));
    dim_trainer_free(trainer);
}

static long peak_megabytes(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

/* An evaluation works in blocks: three times the images take no more memory (3 MB each, were they held). */
static void evaluation_in_blocks(void) {
    enum { MANY = 112 };
    dim_trainer *trainer = new_trainer(10);
    float *many = new_images(MANY, 3);
    dim_losses few, all, again;
    CHECK_STATUS(DIM_OK, dim_trainer_evaluate(trainer, many, 40, &few));
    long before = peak_megabytes();
    CHECK_STATUS(DIM_OK, dim_trainer_evaluate(trainer, many, MANY, &all));
    harness_check(peak_megabytes() - before < 50, __FILE__, __LINE__, "%d images took %ld MB more than 40", MANY,
                  peak_megabytes() - before);
    MUST(dim_set_num_threads(3));
    CHECK_STATUS(DIM_OK, dim_trainer_evaluate(trainer, many, MANY, &again));
    MUST(dim_set_num_threads(0));
    CHECK(memcmp(&all, &again, sizeof all) == 0 && all.total > 0 && all.local != few.local);
    free(many);
    dim_trainer_free(trainer);
}

int main(void) {
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * N, 1);
    fill(more, DIM_NOTEBOOK_IMAGE_SIZE * N, 2);
    RUN(options_and_their_defaults);
    RUN(options_that_are_refused);
    RUN(reports);
    RUN(handles);
    RUN(steps_that_are_refused);
    RUN(losses_that_are_not_finite);
    RUN(learning_rates);
    RUN(gradients);
    RUN(precision);
    RUN(micro_batches);
    RUN(callbacks);
    RUN(checkpoints);
    RUN(resumes_that_fail);
    RUN(evaluation_in_blocks);
    return harness_finish();
}

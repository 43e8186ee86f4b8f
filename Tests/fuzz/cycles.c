/*
 * cycles.c - create or open, compute, train, save, free; again and again. Memory must be as flat at the end as it was after
 * the first cycles.
 *
 *     cycles --count 30 [--seconds 600] [--curve FILE]
 *
 * The curve: one line a cycle, seconds, MB that malloc has given out, MB resident.
 */
#include <dim.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "support.h"

#ifndef CORPUS
#define CORPUS "Tests/fuzz/corpus"
#endif

enum { N = 2, MOST_CYCLES = 1 << 16 };

static float images[N * DIM_NOTEBOOK_IMAGE_SIZE], encoded[N * DIM_NOTEBOOK_ENCODED_SIZE], features[N * DIM_NOTEBOOK_FEATURES_SIZE];
static float logits[N * DIM_NOTEBOOK_LOCAL_SIZE];
static int64_t labels[N] = {3, 8};

#define MUST(call) must((call), #call)
static void must(dim_status status, const char *call) {
    if (status != DIM_OK)
        give_up("%s: %s: %s", call, dim_status_name(status), dim_last_error());
}

/* What is refused must not leak either. */
static void refusals(void) {
    dim_model *model = NULL;
    dim_trainer *trainer = NULL;
    if (dim_model_open(CORPUS "/missing.h5", &model) != DIM_IO ||
        dim_trainer_resume(CORPUS "/classifier-libdim.h5", &trainer) != DIM_FILE_CONTENT ||
        dim_encode((dim_model *)images, images, N, encoded, NULL) != DIM_INVALID_HANDLE)
        give_up("a call that must fail does not: %s", dim_last_error());
}

static void evaluate(dim_model *model) {
    MUST(dim_encode(model, images, N, encoded, features));
    MUST(dim_score_global(model, encoded, features, N, logits));
    MUST(dim_score_local(model, encoded, features, N, logits));
    MUST(dim_score_prior(model, encoded, N, logits));
    MUST(dim_classify(model, encoded, N, logits));
}

static void train(dim_model *model, const char *checkpoint) {
    dim_trainer *trainer = NULL, *resumed = NULL;
    dim_model *same = NULL;
    MUST(dim_trainer_create(model, NULL, &trainer));
    MUST(dim_trainer_step(trainer, images, N, NULL));
    MUST(dim_trainer_save(trainer, checkpoint));
    MUST(dim_trainer_resume(checkpoint, &resumed));
    MUST(dim_trainer_accumulate(resumed, images, N, NULL));     /* waits, and is dropped with the trainer */
    MUST(dim_trainer_model(resumed, &same));
    dim_trainer_free(resumed);
    dim_model_free(same);
    dim_trainer_free(trainer);
}

static void train_classifier(dim_model *model, const char *checkpoint) {
    dim_classifier_trainer *trainer = NULL, *resumed = NULL;
    MUST(dim_classifier_trainer_create(model, NULL, &trainer));
    MUST(dim_classifier_trainer_step(trainer, images, labels, N, NULL));
    MUST(dim_classifier_trainer_evaluate(trainer, images, labels, N, NULL, NULL));
    MUST(dim_classifier_trainer_save(trainer, checkpoint));
    MUST(dim_classifier_trainer_resume(checkpoint, &resumed));
    dim_classifier_trainer_free(resumed);
    dim_classifier_trainer_free(trainer);
}

static void cycle(uint64_t number) {
    dim_model *made = NULL, *opened = NULL, *small = NULL;
    MUST(dim_model_create(number, &made));
    MUST(dim_model_save(made, scratch_path("w.h5")));
    MUST(dim_model_open(scratch_path("w.h5"), &opened));
    MUST(dim_model_load(opened, CORPUS "/classifier-libdim.h5"));
    MUST(dim_model_open(CORPUS "/classifier-v110-filters.h5", &small));
    evaluate(opened);
    MUST(dim_model_set_training(opened, true));
    evaluate(opened);
    train(made, scratch_path("c.h5"));
    train_classifier(made, scratch_path("c.h5"));
    refusals();
    dim_model_free(made);
    dim_model_free(opened);
    dim_model_free(small);
}

/* The largest of the values from a part of the run on. */
static double largest(const double *values, size_t from, size_t to) {
    double most = 0;
    for (size_t i = from; i < to; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

int main(int argc, char **argv) {
    static const char *const names[] = {"count=", "seconds=", "curve=", NULL};
    static double allocated[MOST_CYCLES], resident[MOST_CYCLES];
    check_options(argc, argv, names, "cycles [--count N] [--seconds T] [--curve FILE]");
    uint64_t count = number_option(argc, argv, "count", 12);
    double start = seconds_now(), seconds = (double)number_option(argc, argv, "seconds", 1000000);
    const char *path = option(argc, argv, "curve", NULL);
    FILE *curve = path == NULL ? NULL : fopen(path, "w");
    generator g = stream(1, 1);
    for (size_t i = 0; i < sizeof images / sizeof images[0]; i++)
        images[i] = (float)below(&g, 1001) / 1000;
    size_t done = 0;
    for (; done < count && done < MOST_CYCLES && seconds_now() - start < seconds; done++) {
        cycle(done);
        allocated[done] = (double)allocated_bytes() / 1e6;
        resident[done] = (double)resident_bytes() / 1e6;
        if (curve != NULL)
            fprintf(curve, "%.1f %.3f %.1f\n", seconds_now() - start, allocated[done], resident[done]);
    }
    if (curve != NULL)
        fclose(curve);
    remove_scratch();
    size_t middle = (done + 1) / 2;
    double before[] = {largest(allocated, 0, middle), largest(resident, 0, middle)};
    double after[] = {largest(allocated, middle, done), largest(resident, middle, done)};
    say("%zu cycles: %.3f MB allocated at most in the first half, %.3f in the second; %.0f and %.0f MB resident; %.0f s", done,
        before[0], after[0], before[1], after[1], seconds_now() - start);
    /* 64 kB: what tables keep. 16 MB: pages with holes; one model is 99 MB. */
    bool flat = SANITIZED || done < 4 || (after[0] <= before[0] + 0.064 && after[1] <= before[1] + 64);
    if (!flat)
        say("memory grows");
    return !flat;
}

/*
 * options.c - option structs of any bytes through everything that reads one.
 *
 *     options --count 1000000 --seed 1
 *     options --first 4711 --count 1 --seed 1
 *     options --count 64 --write FOLDER        what is tried, as files for libFuzzer to start from
 *
 * dim.h says which options are refused: every verdict is compared with a second one, written down here. The model holds no
 * network that a trainer needs, so that options that are right come to DIM_MISSING_NETWORK before anything is allocated.
 * With LIBFUZZER this is a target of libFuzzer.
 */
#include <dim.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "support.h"

#ifndef CORPUS
#define CORPUS "Tests/fuzz/corpus"
#endif

static dim_model *model;

static bool at_least_zero(double value) { return isfinite(value) && value >= 0; }
static bool fraction(double value) { return value >= 0 && value < 1; }

/* The notebook's objective as the linked implementation has it, or one with a term that is trained. */
static bool there_is_something_to_train(const dim_trainer_options *o) {
    bool linked = o->measure == DIM_MEASURE_GAN && o->negatives == DIM_NEGATIVES_ROTATION && o->prior != DIM_PRIOR_NONE &&
                  o->gradient_penalty == 0 && o->coordinates == DIM_COORDINATES_NONE && o->occlusion == 0 && o->locations == 0;
    return linked || o->alpha > 0 || o->beta > 0 || (o->prior != DIM_PRIOR_NONE && o->gamma > 0);
}

static bool trainer_options_are_right(const dim_trainer_options *o) {
    uint32_t prior, measure;
    memcpy(&prior, &o->prior, sizeof prior);
    memcpy(&measure, &o->measure, sizeof measure);
    uint32_t coordinates;
    memcpy(&coordinates, &o->coordinates, sizeof coordinates);
    uint32_t precision;
    memcpy(&precision, &o->precision, sizeof precision);
    bool has_mixed = strstr(dim_build_info(), "mixed precision") != NULL;
    if (precision > (has_mixed ? DIM_PRECISION_MIXED : DIM_PRECISION_FLOAT32))
        return false;
    if (prior > 2 || measure > 6 || o->negatives < -1 || coordinates > 2 || o->occlusion < 0 || o->occlusion > 1)
        return false;
    /* The notebook's architecture has no network of coordinates, and 26 x 26 locations. */
    if (!at_least_zero(o->coordinates_weight) || (coordinates > 0 && o->coordinates_weight > 0) || o->locations > 676 ||
        (o->locations > 0 && !(o->beta > 0)))
        return false;
    if (o->micro_batches < 1 || o->micro_batches > 4096 || !at_least_zero(o->gradient_clip) || !at_least_zero(o->gradient_penalty) ||
        (o->gradient_penalty > 0 && o->prior != DIM_PRIOR_ADVERSARIAL) || !there_is_something_to_train(o))
        return false;
    return o->struct_size == sizeof *o && at_least_zero(o->alpha) && at_least_zero(o->beta) &&
           at_least_zero(o->gamma) && at_least_zero(o->encoder_learning_rate) &&
           at_least_zero(o->discriminator_learning_rate) && fraction(o->adam_beta1) && fraction(o->adam_beta2) &&
           at_least_zero(o->epsilon) && at_least_zero(o->weight_decay);
}

static bool classifier_options_are_right(const dim_classifier_options *o) {
    uint32_t encoder, loss;
    memcpy(&encoder, &o->encoder, sizeof encoder);
    memcpy(&loss, &o->loss, sizeof loss);
    return o->struct_size == sizeof *o && encoder <= 2 && loss <= 1 && at_least_zero(o->learning_rate) &&
           fraction(o->adam_beta1) && fraction(o->adam_beta2) && at_least_zero(o->epsilon) && at_least_zero(o->weight_decay);
}

/* NULL where all is well. The struct is read from where the bytes lie: no padding is made up. */
static const char *try_options(const unsigned char *bytes, size_t size, bool *right) {
    union {
        dim_trainer_options trainer;
        dim_classifier_options classifier;
        dim_parameter_info info;
    } o, before;
    void *out = NULL;
    dim_status status;
    if (model == NULL && dim_model_open(CORPUS "/classifier-libdim.h5", &model) != DIM_OK)
        give_up("dim_model_open: %s", dim_last_error());
    bool for_trainer = size > 0 && bytes[0] % 2 == 0;
    memset(&o, 0, sizeof o);
    if (size > 1)
        memcpy(&o, bytes + 1, size - 1 < sizeof o ? size - 1 : sizeof o);
    before = o;
    if (for_trainer) {
        *right = trainer_options_are_right(&o.trainer);
        status = dim_trainer_create(model, &o.trainer, (dim_trainer **)&out);
    } else {
        *right = classifier_options_are_right(&o.classifier);
        status = dim_classifier_trainer_create(model, &o.classifier, (dim_classifier_trainer **)&out);
    }
    if (status != (*right ? DIM_MISSING_NETWORK : DIM_INVALID_ARGUMENT))
        return *right ? "options that are right are refused" : "options that are wrong are accepted";
    if (out != NULL || memcmp(&o, &before, sizeof o) != 0)
        return "a call that failed wrote to its output or its options";
    if (dim_last_error()[0] == '\0')
        return "no message";
    /* Its own struct_size decides whether a struct is written to; before the index is looked at, or after. */
    size_t index = size > 2 ? bytes[1] : 0, count = dim_model_parameter_count(model);
    bool fits = o.info.struct_size == sizeof o.info && index < count;
    status = dim_model_parameter_info(model, index, &o.info);
    if (status != (fits ? DIM_OK : DIM_INVALID_ARGUMENT))
        return "dim_model_parameter_info";
    if (!fits && memcmp(&o, &before, sizeof o) != 0)
        return "dim_model_parameter_info failed and wrote";
    size_t claimed = before.info.struct_size;
    status = for_trainer ? dim_trainer_options_init(&o.trainer, claimed)
                         : dim_classifier_options_init(&o.classifier, claimed);
    if ((status == DIM_OK) != (claimed == (for_trainer ? sizeof o.trainer : sizeof o.classifier)))
        return "an options_init takes another struct_size than its own";
    return NULL;
}

#ifdef LIBFUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool right;
    const char *wrong = try_options(data, size, &right);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", wrong, dim_last_error());
        abort();
    }
    return 0;
}

#else

/* Defaults, some bytes or fields of which were changed; nothing but noise now and then. */
static size_t make_options(generator *g, unsigned char *bytes) {
    static const double numbers[] = {0, -0.0, 1, -1, 0.5, 1 - 1e-16, 1e-320, -1e-320, 1e308, -1e308};
    size_t size = 1 + (once_in(g, 2) ? sizeof(dim_trainer_options) : sizeof(dim_classifier_options));
    dim_trainer_options trainer;
    dim_classifier_options classifier;
    dim_trainer_options_init(&trainer, sizeof trainer);
    dim_classifier_options_init(&classifier, sizeof classifier);
    bool for_trainer = size == 1 + sizeof trainer;
    bytes[0] = !for_trainer;
    memcpy(bytes + 1, for_trainer ? (void *)&trainer : (void *)&classifier, size - 1);
    if (once_in(g, 16)) {
        size_t struct_size = sizeof(dim_parameter_info);
        for (size_t i = 1; i < size; i++)
            bytes[i] = (unsigned char)next_word(g);
        memcpy(bytes + 1, &struct_size, sizeof struct_size);
    }
    for (size_t changes = below(g, 4); changes > 0; changes--) {
        size_t words = (size - 1) / 8, at = 1 + 8 * below(g, words);
        uint64_t word = next_word(g);
        double number = ONE_OF(g, numbers);
        switch (below(g, 4)) {
        case 0: bytes[1 + below(g, size - 1)] ^= (unsigned char)(1u << below(g, 8)); break;
        case 1: memcpy(bytes + at, &word, 8); break;
        case 2: memcpy(bytes + at, &number, 8); break;
        default:                /* an infinity or a NaN */
            word = 0x7FF0000000000000u | word << 63 | (once_in(g, 2) ? 1 : 0);
            memcpy(bytes + at, &word, 8);
        }
    }
    return once_in(g, 32) ? below(g, size + 1) : size;
}

static void write_input(const char *folder, uint64_t number, const unsigned char *bytes, size_t size) {
    char path[512];
    snprintf(path, sizeof path, "%s/%llu", folder, (unsigned long long)number);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, size, file) != size || fclose(file) != 0)
        give_up("%s cannot be written", path);
}

int main(int argc, char **argv) {
    static const char *const names[] = {"count=", "first=", "seed=", "write=", NULL};
    check_options(argc, argv, names, "options [--count N] [--first I] [--seed S] [--write FOLDER]");
    const char *folder = option(argc, argv, "write", NULL);
    uint64_t count = number_option(argc, argv, "count", 100000), first = number_option(argc, argv, "first", 0);
    uint64_t seed = number_option(argc, argv, "seed", 1), right_ones = 0, failures = 0;
    double start = seconds_now();
    for (uint64_t i = first; i < first + count && failures < 20; i++) {
        unsigned char bytes[256];
        bool right = false;
        generator g = stream(seed, i);
        size_t size = make_options(&g, bytes);
        if (folder != NULL)
            write_input(folder, i, bytes, size);
        const char *wrong = try_options(bytes, size, &right);
        right_ones += right;
        if (wrong != NULL) {
            failures++;
            say("options %llu of seed %llu: %s: %s", (unsigned long long)i, (unsigned long long)seed, wrong, dim_last_error());
        }
    }
    dim_model_free(model);
    say("%llu option structs, seed %llu: %llu right, %llu refused, %llu verdicts other than dim.h's; %.0f s",
        (unsigned long long)count, (unsigned long long)seed, (unsigned long long)right_ones,
        (unsigned long long)(count - right_ones), (unsigned long long)failures, seconds_now() - start);
    return failures > 0;
}

#endif

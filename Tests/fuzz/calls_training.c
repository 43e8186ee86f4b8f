/* Calls of the two trainers' functions. */
#include <string.h>

#include "calls.h"
#include "support.h"

#define CREATION (S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(MISSING_NETWORK) | S(OUT_OF_MEMORY))
#define STEP                                                                                                          \
    (S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(TOO_LARGE) | S(OUT_OF_MEMORY) | S(NOT_FINITE) | S(CANCELLED))
#define SAVING (S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(IO) | S(NOT_FINITE) | S(OUT_OF_MEMORY))
#define RESUMING (S(INVALID_ARGUMENT) | S(IO) | S(FILE_FORMAT) | S(FILE_CONTENT) | S(OUT_OF_MEMORY))

/* Only the struct's size is left alone: the caller sets it. */
#define CHECK_STRUCT(c, s) check_untouched((c), (char *)&(s) + sizeof(size_t), sizeof(s) - sizeof(size_t))

/* ---- Options */

static void trainer_options_init(context *c) {
    dim_trainer_options o;
    paint(&o, sizeof o);
    dim_trainer_options *out = or_null(c, &o);
    size_t size = struct_size(c, sizeof o);
    begin(c, "%s, %zu", out ? "options" : "NULL", size);
    c->must_work = true;
    if (!finish(c, dim_trainer_options_init(out, size), S(INVALID_ARGUMENT)))
        check_untouched(c, &o, sizeof o);
}

static void classifier_options_init(context *c) {
    dim_classifier_options o;
    paint(&o, sizeof o);
    dim_classifier_options *out = or_null(c, &o);
    size_t size = struct_size(c, sizeof o);
    begin(c, "%s, %zu", out ? "options" : "NULL", size);
    c->must_work = true;
    if (!finish(c, dim_classifier_options_init(out, size), S(INVALID_ARGUMENT)))
        check_untouched(c, &o, sizeof o);
}

/* Up to two fields are set to something odd: refused where it is negative or not finite. */
static void change(context *c, double *const *fields, size_t count) {
    size_t changes = below(&c->random, 3), first = below(&c->random, count);
    for (size_t i = 0; i < changes; i++) {
        bool refused;
        *fields[(first + i) % count] = odd_double(c, &refused);
        c->wrong = c->wrong || refused;
    }
}

/* NULL (the defaults), sound options or refused ones. */
static dim_trainer_options *trainer_options(context *c, dim_trainer_options *o) {
    if (once_in(&c->random, 8))
        return NULL;
    dim_trainer_options_init(o, sizeof *o);
    double *const fields[] = {&o->alpha, &o->beta, &o->gamma, &o->encoder_learning_rate,
                              &o->discriminator_learning_rate, &o->adam_beta1, &o->adam_beta2, &o->epsilon, &o->weight_decay};
    change(c, fields, sizeof fields / sizeof fields[0]);
    o->seed = next_word(&c->random);
    o->prior = (dim_prior)below(&c->random, DIM_PRIOR_NONE + 1);
    if (once_in(&c->random, 8)) {
        o->prior = (dim_prior)(DIM_PRIOR_NONE + 1 + below(&c->random, 1000));
        c->wrong = true;
    }
    o->struct_size = struct_size(c, sizeof *o);
    return o;
}

static dim_classifier_options *classifier_options(context *c, dim_classifier_options *o) {
    if (once_in(&c->random, 8))
        return NULL;
    dim_classifier_options_init(o, sizeof *o);
    double *const fields[] = {&o->learning_rate, &o->adam_beta1, &o->adam_beta2, &o->epsilon, &o->weight_decay};
    change(c, fields, sizeof fields / sizeof fields[0]);
    o->encoder = (dim_encoder_use)below(&c->random, 2);
    o->loss = (dim_classifier_loss)below(&c->random, 2);
    switch (below(&c->random, 10)) {
    case 0:
        o->encoder = (dim_encoder_use)(3 + below(&c->random, 1000));
        c->wrong = true;
        break;
    case 1:
        o->loss = (dim_classifier_loss)(2 + below(&c->random, 1000));
        c->wrong = true;
        break;
    case 2:
        if (dear(c, 200))       /* moments of 13 million parameters */
            o->encoder = DIM_ENCODER_TRAINED;
        break;
    default:
        break;
    }
    o->struct_size = struct_size(c, sizeof *o);
    return o;
}

/* ---- The objective */

static void trainer_create(context *c) {
    dim_trainer *trainer;
    dim_trainer **out = or_null(c, &trainer);
    dim_trainer_options o, *options = trainer_options(c, &o);
    slot s = handle_of(c, MODEL);
    paint(&trainer, sizeof trainer);
    if (!c->wrong && !c->wrong_handle && s.large && !dear(c, 2000)) {
        s.handle = c->base->small;      /* it lacks the networks */
        c->wrong = true;
    }
    begin(c, "%p, %s, %s", s.handle, options ? "options" : "NULL", out ? "out" : "NULL");
    if (finish(c, dim_trainer_create(s.handle, options, out), CREATION))
        keep_handle(c, trainer, TRAINER, true);
    else
        check_untouched(c, &trainer, sizeof trainer);
}

static void trainer_free(context *c) {
    slot s = handle_to_free(c, TRAINER);
    begin(c, "%p", s.handle);
    dim_trainer_free(s.handle);
    finish_plain(c, true, "");
}

/* Step, accumulate or evaluate. Once in `times` it computes; otherwise something is wrong with the call. */
static void batch(context *c, dim_status (*function)(dim_trainer *, const float *, size_t, dim_losses *)) {
    dim_losses losses, *out = once_in(&c->random, 4) ? NULL : &losses;
    const float *images = c->arrays->images;
    size_t n = 2 + below(&c->random, 2);
    slot s = live_handle(c, TRAINER, false);
    paint(&losses, sizeof losses);
    if (!dear(c, 3000)) {
        switch (below(&c->random, 4)) {
        case 0:
            while (!c->wrong_handle)
                s = handle_of(c, TRAINER);
            break;
        case 1: n = wrong_count(c, 2); break;
        case 2: images = NULL; c->wrong = true; break;
        default: images = c->arrays->strange_images; c->wrong = true; break;
        }
    }
    begin(c, "%p, %s, %zu, %s", s.handle, images ? "images" : "NULL", n, out ? "losses" : "NULL");
    if (!finish(c, function(s.handle, images, n, out), STEP))
        check_untouched(c, &losses, sizeof losses);
    else if (out != NULL && !(losses.total - losses.total == 0))
        violation(c, "the loss is not finite, and DIM_OK");
}

static void trainer_step(context *c) { batch(c, dim_trainer_step); }
static void trainer_accumulate(context *c) { batch(c, dim_trainer_accumulate); }
static void trainer_evaluate(context *c) { batch(c, dim_trainer_evaluate); }

static void trainer_skip(context *c) {
    size_t n = 2 + below(&c->random, 2);
    slot s = handle_of(c, TRAINER);
    if (once_in(&c->random, 3))
        n = wrong_count(c, 2);
    begin(c, "%p, %zu", s.handle, n);
    finish(c, dim_trainer_skip(s.handle, n), STEP);
}

static void trainer_drop(context *c) {
    slot s = handle_of(c, TRAINER);
    begin(c, "%p", s.handle);
    finish(c, dim_trainer_drop(s.handle), S(INVALID_HANDLE));
}

static void trainer_update(context *c) {
    slot s = handle_of(c, TRAINER);
    begin(c, "%p", s.handle);
    finish(c, dim_trainer_update(s.handle), STEP);
}

static void get_gradient(context *c) {
    slot s = handle_of(c, TRAINER);
    size_t right;
    const char *name = parameter_name(c, &right, true);
    void *out = or_null(c, c->arrays->out);
    size_t bytes = right == SIZE_MAX ? 64 : right;
    if (once_in(&c->random, 5)) {
        bytes++;
        c->wrong = true;
    }
    begin(c, "%p, %.60s, %s, %zu", s.handle, name ? name : "NULL", out ? "out" : "NULL", bytes);
    if (finish(c, dim_trainer_get_gradient(s.handle, name, out, bytes),
               S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(UNKNOWN_NAME) | S(SIZE_MISMATCH)))
        paint(out, bytes);
    check_untouched(c, c->arrays->out, LARGE_PARAMETER);
}

static int go_on(float *values, size_t count, void *context) {
    values[count - 1] += 0 * *(const float *)context;
    return 0;
}

static int stop(float *values, size_t count, void *context) {
    (void)values;
    (void)count;
    (void)context;
    return 1;
}

static int spoil(float *values, size_t count, void *context) {
    values[count / 2] = *(const float *)context * (float)1e38 * 100;
    return 0;
}

static void set_gradient_callback(context *c) {
    static const dim_gradient_callback callbacks[] = {NULL, NULL, go_on, stop, spoil};
    static const float one = 1;
    slot s = handle_of(c, TRAINER);
    dim_gradient_callback callback = ONE_OF(&c->random, callbacks);
    begin(c, "%p, %s", s.handle, callback == NULL ? "NULL" : callback == go_on ? "continue" : callback == stop ? "stop" : "spoil");
    c->must_work = true;
    finish(c, dim_trainer_set_gradient_callback(s.handle, callback, (void *)(uintptr_t)&one), S(INVALID_HANDLE));
}

static void set_learning_rates(context *c) {
    slot s = handle_of(c, TRAINER);
    bool a, b;
    double encoder = odd_double(c, &a), discriminator = odd_double(c, &b);
    c->wrong = a || b;
    begin(c, "%p, %g, %g", s.handle, encoder, discriminator);
    c->must_work = true;
    finish(c, dim_trainer_set_learning_rates(s.handle, encoder, discriminator), S(INVALID_HANDLE) | S(INVALID_ARGUMENT));
}

static void trainer_get_options(context *c) {
    slot s = handle_of(c, TRAINER);
    dim_trainer_options o;
    paint(&o, sizeof o);
    o.struct_size = struct_size(c, sizeof o);
    dim_trainer_options *out = or_null(c, &o);
    begin(c, "%p, %s with struct_size %zu", s.handle, out ? "options" : "NULL", o.struct_size);
    c->must_work = true;
    if (!finish(c, dim_trainer_get_options(s.handle, out), S(INVALID_HANDLE) | S(INVALID_ARGUMENT)))
        CHECK_STRUCT(c, o);
}

static void trainer_report(context *c) {
    slot s = handle_of(c, TRAINER);
    dim_report r;
    paint(&r, sizeof r);
    r.struct_size = struct_size(c, sizeof r);
    dim_report *out = or_null(c, &r);
    begin(c, "%p, %s with struct_size %zu", s.handle, out ? "report" : "NULL", r.struct_size);
    c->must_work = true;
    if (!finish(c, dim_trainer_report(s.handle, out), S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(OUT_OF_MEMORY)))
        CHECK_STRUCT(c, r);
}

static void trainer_step_count(context *c) {
    slot s = handle_of(c, TRAINER);
    begin(c, "%p", s.handle);
    uint64_t count = dim_trainer_step_count(s.handle);
    finish_plain(c, c->wrong_handle ? count == 0 : count < 1000000, "0 for no handle, else a sound number");
}

static void trainer_model(context *c) {
    slot s = handle_of(c, TRAINER);
    dim_model *model;
    paint(&model, sizeof model);
    dim_model **out = or_null(c, &model);
    begin(c, "%p, %s", s.handle, out ? "out" : "NULL");
    c->must_work = true;
    if (finish(c, dim_trainer_model(s.handle, out), S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(OUT_OF_MEMORY)))
        keep_handle(c, model, MODEL, true);
    else
        check_untouched(c, &model, sizeof model);
}

static void trainer_save(context *c) {
    slot s = handle_of(c, TRAINER);
    const char *path = path_to_write(c);
    if (!c->wrong_handle && !dear(c, 4000)) {
        path = once_in(&c->random, 2) ? NULL : "";
        c->wrong = true;
    }
    begin(c, "%p, %.100s", s.handle, path ? path : "NULL");
    finish(c, dim_trainer_save(s.handle, path), SAVING);
}

/* with: by the function that takes options. */
static void resume(context *c, bool with, size_t times) {
    bool sound;
    dim_trainer *trainer;
    const char *path = path_to_read(c, &sound);
    bool is_weights = true;
    if (dear(c, times)) {
        path = large_file(0);
        is_weights = false;
    }
    c->wrong = false;
    dim_open_options given, *options = with ? open_options(c, &given, true) : NULL;
    c->wrong |= is_weights || (options != NULL && options->networks != 0);
    dim_trainer **out = or_null(c, &trainer);
    paint(&trainer, sizeof trainer);
    begin(c, "%.100s, %s, %s", path ? path : "NULL", with ? "options" : "-", out ? "out" : "NULL");
    c->must_work = true;
    if (finish(c, with ? dim_trainer_resume_with(path, options, out) : dim_trainer_resume(path, out), RESUMING))
        keep_handle(c, trainer, TRAINER, true);
    else
        check_untouched(c, &trainer, sizeof trainer);
}

static void trainer_resume(context *c) { resume(c, false, 10000); }

/* Starts a process of its own: seldom. */
static void trainer_resume_with(context *c) {
    if (!SANITIZED && dear(c, 300))
        resume(c, true, 50);
}

/* ---- The classifier */

static void ct_create(context *c) {
    dim_classifier_trainer *trainer;
    dim_classifier_trainer **out = or_null(c, &trainer);
    dim_classifier_options o, *options = classifier_options(c, &o);
    slot s = handle_of(c, MODEL);
    paint(&trainer, sizeof trainer);
    begin(c, "%p, %s, %s", s.handle, options ? "options" : "NULL", out ? "out" : "NULL");
    c->must_work = s.handle == c->base->full;
    if (finish(c, dim_classifier_trainer_create(s.handle, options, out), CREATION))
        keep_handle(c, trainer, CLASSIFIER_TRAINER, true);
    else
        check_untouched(c, &trainer, sizeof trainer);
}

static void ct_free(context *c) {
    slot s = handle_to_free(c, CLASSIFIER_TRAINER);
    begin(c, "%p", s.handle);
    dim_classifier_trainer_free(s.handle);
    finish_plain(c, true, "");
}

enum { CT_STEP, CT_ENCODED, CT_EVALUATE };

static void ct_batch(context *c, int which, size_t times) {
    arrays *m = c->arrays;
    dim_classifier_result result, *out = once_in(&c->random, 4) ? NULL : &result;
    uint64_t table[DIM_NOTEBOOK_CLASSES * DIM_NOTEBOOK_CLASSES], *confusion = once_in(&c->random, 4) ? NULL : table;
    const float *input = which == CT_ENCODED ? m->encoded : m->images;
    const int64_t *labels = m->labels;
    size_t n = 2 + below(&c->random, 3);
    slot s = live_handle(c, CLASSIFIER_TRAINER, false);
    paint(&result, sizeof result);
    paint(table, sizeof table);
    if (!dear(c, times)) {
        switch (below(&c->random, 4)) {
        case 0:
            while (!c->wrong_handle)
                s = handle_of(c, CLASSIFIER_TRAINER);
            break;
        case 1: n = wrong_count(c, which == CT_EVALUATE ? 1 : 2); break;
        case 2: labels = m->wrong_labels; c->wrong = true; break;
        default:
            c->wrong = true;
            if (once_in(&c->random, 2))
                input = NULL;
            else
                labels = NULL;
        }
    }
    begin(c, "%p, %s, %s, %zu", s.handle, input ? "input" : "NULL", labels ? "labels" : "NULL", n);
    dim_status status = which == CT_STEP      ? dim_classifier_trainer_step(s.handle, input, labels, n, out)
                        : which == CT_ENCODED ? dim_classifier_trainer_step_encoded(s.handle, input, labels, n, out)
                                              : dim_classifier_trainer_evaluate(s.handle, input, labels, n, out, confusion);
    if (!finish(c, status, STEP)) {
        check_untouched(c, &result, sizeof result);
        check_untouched(c, table, sizeof table);
    } else if (out != NULL && (result.count != n || result.correct > n)) {
        violation(c, "%zu of %zu correct, of a batch of %zu", result.correct, result.count, n);
    } else if (out != NULL && !(result.loss - result.loss == 0)) {
        violation(c, "the loss is not finite, and DIM_OK");
    }
}

static void ct_step(context *c) { ct_batch(c, CT_STEP, 200); }
static void ct_step_encoded(context *c) { ct_batch(c, CT_ENCODED, 3); }
static void ct_evaluate(context *c) { ct_batch(c, CT_EVALUATE, 200); }

static void ct_set_learning_rate(context *c) {
    slot s = handle_of(c, CLASSIFIER_TRAINER);
    double rate = odd_double(c, &c->wrong);
    begin(c, "%p, %g", s.handle, rate);
    c->must_work = true;
    finish(c, dim_classifier_trainer_set_learning_rate(s.handle, rate), S(INVALID_HANDLE) | S(INVALID_ARGUMENT));
}

static void ct_get_options(context *c) {
    slot s = handle_of(c, CLASSIFIER_TRAINER);
    dim_classifier_options o;
    paint(&o, sizeof o);
    o.struct_size = struct_size(c, sizeof o);
    dim_classifier_options *out = or_null(c, &o);
    begin(c, "%p, %s with struct_size %zu", s.handle, out ? "options" : "NULL", o.struct_size);
    c->must_work = true;
    if (!finish(c, dim_classifier_trainer_get_options(s.handle, out), S(INVALID_HANDLE) | S(INVALID_ARGUMENT)))
        CHECK_STRUCT(c, o);
}

static void ct_step_count(context *c) {
    slot s = handle_of(c, CLASSIFIER_TRAINER);
    begin(c, "%p", s.handle);
    uint64_t count = dim_classifier_trainer_step_count(s.handle);
    finish_plain(c, c->wrong_handle ? count == 0 : count < 10000000, "0 for no handle, else a sound number");
}

static void ct_model(context *c) {
    slot s = handle_of(c, CLASSIFIER_TRAINER);
    dim_model *model;
    paint(&model, sizeof model);
    dim_model **out = or_null(c, &model);
    begin(c, "%p, %s", s.handle, out ? "out" : "NULL");
    c->must_work = true;
    if (finish(c, dim_classifier_trainer_model(s.handle, out), S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(OUT_OF_MEMORY)))
        keep_handle(c, model, MODEL, true);
    else
        check_untouched(c, &model, sizeof model);
}

static void ct_save(context *c) {
    slot s = handle_of(c, CLASSIFIER_TRAINER);
    const char *path = path_to_write(c);
    if (!c->wrong_handle && !dear(c, 2000)) {
        path = once_in(&c->random, 2) ? NULL : "";
        c->wrong = true;
    }
    begin(c, "%p, %.100s", s.handle, path ? path : "NULL");
    finish(c, dim_classifier_trainer_save(s.handle, path), SAVING);
}

/* with: by the function that takes options. */
static void resume_classifier(context *c, bool with, size_t times) {
    bool sound;
    dim_classifier_trainer *trainer;
    const char *path = path_to_read(c, &sound);
    bool is_weights = true;
    if (dear(c, times)) {
        path = large_file(1);
        is_weights = false;
    }
    c->wrong = false;
    dim_open_options given, *options = with ? open_options(c, &given, true) : NULL;
    c->wrong |= is_weights || (options != NULL && options->networks != 0);
    dim_classifier_trainer **out = or_null(c, &trainer);
    paint(&trainer, sizeof trainer);
    begin(c, "%.100s, %s, %s", path ? path : "NULL", with ? "options" : "-", out ? "out" : "NULL");
    c->must_work = true;
    if (finish(c, with ? dim_classifier_trainer_resume_with(path, options, out) : dim_classifier_trainer_resume(path, out), RESUMING))
        keep_handle(c, trainer, CLASSIFIER_TRAINER, true);
    else
        check_untouched(c, &trainer, sizeof trainer);
}

static void ct_resume(context *c) { resume_classifier(c, false, 3000); }

static void ct_resume_with(context *c) {
    if (!SANITIZED && dear(c, 300))
        resume_classifier(c, true, 20);
}

const call training_calls[] = {
    {"dim_trainer_options_init", trainer_options_init, 10},
    {"dim_trainer_create", trainer_create, 10},
    {"dim_trainer_free", trainer_free, 5},
    {"dim_trainer_step", trainer_step, 10},
    {"dim_trainer_accumulate", trainer_accumulate, 6},
    {"dim_trainer_skip", trainer_skip, 2},
    {"dim_trainer_drop", trainer_drop, 2},
    {"dim_trainer_update", trainer_update, 5},
    {"dim_trainer_evaluate", trainer_evaluate, 10},
    {"dim_trainer_get_gradient", get_gradient, 10},
    {"dim_trainer_set_gradient_callback", set_gradient_callback, 5},
    {"dim_trainer_set_learning_rates", set_learning_rates, 10},
    {"dim_trainer_get_options", trainer_get_options, 10},
    {"dim_trainer_report", trainer_report, 10},
    {"dim_trainer_step_count", trainer_step_count, 5},
    {"dim_trainer_model", trainer_model, 5},
    {"dim_trainer_save", trainer_save, 10},
    {"dim_trainer_resume", trainer_resume, 4},
    {"dim_trainer_resume_with", trainer_resume_with, 2},
    {"dim_classifier_options_init", classifier_options_init, 10},
    {"dim_classifier_trainer_create", ct_create, 10},
    {"dim_classifier_trainer_free", ct_free, 5},
    {"dim_classifier_trainer_step", ct_step, 6},
    {"dim_classifier_trainer_step_encoded", ct_step_encoded, 10},
    {"dim_classifier_trainer_evaluate", ct_evaluate, 6},
    {"dim_classifier_trainer_set_learning_rate", ct_set_learning_rate, 10},
    {"dim_classifier_trainer_get_options", ct_get_options, 10},
    {"dim_classifier_trainer_step_count", ct_step_count, 5},
    {"dim_classifier_trainer_model", ct_model, 5},
    {"dim_classifier_trainer_save", ct_save, 10},
    {"dim_classifier_trainer_resume", ct_resume, 4},
    {"dim_classifier_trainer_resume_with", ct_resume_with, 2},
};
const size_t training_call_count = sizeof training_calls / sizeof training_calls[0];

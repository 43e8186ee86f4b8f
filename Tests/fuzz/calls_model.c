/* Calls of the library's, the model's and the parameters' functions, and of the forward passes. */
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "support.h"

#define OPENING (S(INVALID_ARGUMENT) | S(IO) | S(FILE_FORMAT) | S(FILE_CONTENT) | S(OUT_OF_MEMORY))

/* ---- Library */

static void status_names(context *c) {
    static const int values[] = {0, 10, 11, 12, 13, 14, 20, 30, 31, 32, 40, 50, 51, 90};
    bool known = once_in(&c->random, 2);
    int value = known ? ONE_OF(&c->random, values) : 1000 + (int)below(&c->random, 100000);
    begin(c, "%d", value);
    const char *name = dim_status_name((dim_status)value);
    finish_plain(c, name != NULL && (strcmp(name, "unknown status") == 0) == !known, "it has a name if it is a status");
}

static void last_error(context *c) {
    begin(c, " ");
    finish_plain(c, dim_last_error() != NULL, "it is not NULL");
}

static void version(context *c) {
    begin(c, " ");
    const char *text = dim_version();
    finish_plain(c, text != NULL && text[0] >= '0' && text[0] <= '9', "it begins with a digit");
}

static void build_info(context *c) {
    begin(c, " ");
    const char *text = dim_build_info();
    finish_plain(c, text != NULL && strchr(text, '\n') == NULL && strstr(text, dim_version()) != NULL, "one line");
}

static void set_num_threads(context *c) {
    static const int good[] = {0, 1, 2, 3, 4, 8}, bad[] = {-1, 1025, INT32_MAX, INT32_MIN};
    c->wrong = once_in(&c->random, 3);
    int n = c->wrong ? ONE_OF(&c->random, bad) : ONE_OF(&c->random, good);
    int before = dim_num_threads();
    begin(c, "%d", n);
    c->must_work = true;
    bool worked = finish(c, dim_set_num_threads(n), S(INVALID_ARGUMENT));
    if (c->world->alone && dim_num_threads() != (!worked ? before : n != 0 ? n : dim_num_threads()))
        violation(c, "dim_num_threads is %d after it", dim_num_threads());
}

static void num_threads(context *c) {
    begin(c, " ");
    int n = dim_num_threads();
    finish_plain(c, n >= 1 && n <= 1024, "1 to 1024 threads");
}

static void max_images(context *c) {
    begin(c, " ");
    finish_plain(c, dim_max_images() >= 1, "at least one image");
}

/* ---- Models */

static void create(context *c) {
    dim_model *model;
    dim_model **out = &model;
    uint64_t seed = next_word(&c->random);
    if (!dear(c, 2000)) {
        out = NULL;
        c->wrong = true;
    }
    begin(c, "%llu, %s", (unsigned long long)seed, out ? "out" : "NULL");
    c->must_work = true;
    if (finish(c, dim_model_create(seed, out), S(INVALID_ARGUMENT) | S(OUT_OF_MEMORY)))
        keep_handle(c, model, MODEL, true);
}

/* Options, or NULL, or wrong ones; mostly such as change nothing. Reading as untrusted starts a process: where it may. */
dim_open_options *open_options(context *c, dim_open_options *given, bool untrusted) {
    static const double times[] = {30, 60, 86400}, no_times[] = {-1, 86401, 1e308 * 10};
    memset(given, 0, sizeof *given);
    given->struct_size = sizeof *given;
    given->untrusted = untrusted;
    given->any_architecture = once_in(&c->random, 2);
    if (once_in(&c->random, 3))
        given->timeout = ONE_OF(&c->random, times);
    if (once_in(&c->random, 4))
        given->networks = DIM_NETWORK_CLASSIFIER;
    if (!untrusted && once_in(&c->random, 8))
        return NULL;
    if (once_in(&c->random, 4)) {
        c->wrong = true;
        switch (below(&c->random, 3)) {
        case 0: given->struct_size = sizeof *given + 1 + below(&c->random, 100); break;
        case 1: given->timeout = ONE_OF(&c->random, no_times); break;
        default: given->networks = 64u << below(&c->random, 26);
        }
    }
    return given;
}

typedef dim_status open_function(const char *, dim_model **);

static void open_with(context *c, open_function *function, bool large) {
    dim_model *model;
    bool sound = true;
    const char *path = large ? large_file((int)below(&c->random, 2)) : path_to_read(c, &sound);
    dim_model **out = or_null(c, &model);
    paint(&model, sizeof model);
    begin(c, "%.100s, %s", path ? path : "NULL", out ? "out" : "NULL");
    c->must_work = sound;
    if (finish(c, function(path, out), OPENING))
        keep_handle(c, model, MODEL, large);
    else
        check_untouched(c, &model, sizeof model);
}

static void open_model(context *c) { open_with(c, dim_model_open, dear(c, 3000)); }

/* Starts a process of its own: seldom; the library's file by itself, which no sanitizer's runtime is in. */
static void open_with_options(context *c) {
    dim_model *model;
    bool sound;
    const char *path = path_to_read(c, &sound);
    dim_open_options given, *options = open_options(c, &given, !SANITIZED && dear(c, 300));
    dim_model **out = or_null(c, &model);
    paint(&model, sizeof model);
    begin(c, "%.100s, %d %d %g %#x, %s", path ? path : "NULL", given.untrusted, given.any_architecture, given.timeout,
          given.networks, out ? "out" : "NULL");
    c->must_work = sound && given.networks == 0;
    if (finish(c, dim_model_open_with(path, options, out), OPENING))
        keep_handle(c, model, MODEL, false);
    else
        check_untouched(c, &model, sizeof model);
}

static void load_with(context *c, dim_status (*function)(dim_model *, const char *)) {
    slot s = handle_of(c, MODEL);
    bool sound;
    const char *path = path_to_read(c, &sound);
    begin(c, "%p, %.100s", s.handle, path ? path : "NULL");
    finish(c, function(s.handle, path), OPENING | S(INVALID_HANDLE) | S(MISSING_NETWORK));
}

static void load(context *c) { load_with(c, dim_model_load); }

static void load_with_options(context *c) {
    slot s = handle_of(c, MODEL);
    bool sound;
    const char *path = path_to_read(c, &sound);
    dim_open_options given, *options = open_options(c, &given, !SANITIZED && dear(c, 300));
    begin(c, "%p, %.100s, %d %d %g %#x", s.handle, path ? path : "NULL", given.untrusted, given.any_architecture,
          given.timeout, given.networks);
    finish(c, dim_model_load_with(s.handle, path, options), OPENING | S(INVALID_HANDLE) | S(MISSING_NETWORK));
}

static void save(context *c) {
    slot s = handle_of(c, MODEL);
    const char *path = path_to_write(c);
    if (s.live && s.large && !c->wrong_handle && !dear(c, 2000))
        s.handle = c->base->small;      /* also where it fails: some places refuse only what is written already */
    begin(c, "%p, %.100s", s.handle, path ? path : "NULL");
    c->must_work = s.handle == c->base->small;      /* others may have met an image that is not finite, in training mode */
    finish(c, dim_model_save(s.handle, path),
           S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(IO) | S(NOT_FINITE) | S(OUT_OF_MEMORY));
}

static void save_with(context *c) {
    slot s = handle_of(c, MODEL);
    const char *path = path_to_write(c);
    if (s.live && s.large && !c->wrong_handle && !dear(c, 2000))
        s.handle = c->base->small;
    dim_save_options given = {sizeof given, once_in(&c->random, 2) ? DIM_FORMAT_SAFETENSORS : DIM_FORMAT_HDF5};
    const dim_save_options *options = once_in(&c->random, 8) ? NULL : &given;
    if (options != NULL && once_in(&c->random, 4)) {
        c->wrong = true;
        if (once_in(&c->random, 2))
            given.struct_size = below(&c->random, 2 * sizeof given + 1) ^ sizeof given;
        else
            given.format = (dim_format)(2 + below(&c->random, 1000));
        if (given.struct_size == sizeof given && given.format <= DIM_FORMAT_SAFETENSORS)
            given.format = (dim_format)2;
    }
    begin(c, "%p, %.100s, %zu %d", s.handle, path ? path : "NULL", given.struct_size, (int)given.format);
    c->must_work = s.handle == c->base->small;
    finish(c, dim_model_save_with(s.handle, path, options),
           S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(IO) | S(NOT_FINITE) | S(OUT_OF_MEMORY));
}

static void free_model(context *c) {
    slot s = handle_to_free(c, MODEL);
    begin(c, "%p", s.handle);
    dim_model_free(s.handle);
    finish_plain(c, true, "");
}

static void set_training(context *c) {
    slot s = handle_of(c, MODEL);
    bool training = once_in(&c->random, 4);
    begin(c, "%p, %d", s.handle, training);
    c->must_work = true;
    finish(c, dim_model_set_training(s.handle, training), S(INVALID_HANDLE));
}

static void is_training(context *c) {
    slot s = handle_of(c, MODEL);
    unsigned char byte[sizeof(bool)];
    bool *out = or_null(c, byte);
    paint(byte, sizeof byte);
    begin(c, "%p, out", s.handle);
    c->must_work = true;
    if (!finish(c, dim_model_is_training(s.handle, out), S(INVALID_HANDLE) | S(INVALID_ARGUMENT)))
        check_untouched(c, byte, sizeof byte);
    else if (byte[0] > 1)
        violation(c, "it says %d", byte[0]);
}

static void networks(context *c) {
    slot s = handle_of(c, MODEL);
    begin(c, "%p", s.handle);
    uint32_t found = dim_model_networks(s.handle);
    bool sound = c->wrong_handle ? found == 0 : found <= (DIM_NETWORK_ALL | DIM_NETWORK_COORDINATES_D) && (found != 0 || !c->world->alone);
    finish_plain(c, sound, "0 for no handle, else some networks");
}

/* ---- Parameters */

static void parameter_count(context *c) {
    slot s = handle_of(c, MODEL);
    begin(c, "%p", s.handle);
    size_t found = dim_model_parameter_count(s.handle);
    bool sound = c->wrong_handle ? found == 0 : found <= parameter_total() && (found != 0 || !c->world->alone);
    finish_plain(c, sound, "0 for no handle, else some parameters");
}

static void parameter_info(context *c) {
    slot s = handle_of(c, MODEL);
    dim_parameter_info info;
    paint(&info, sizeof info);
    dim_parameter_info *out = or_null(c, &info);
    const size_t far[] = {parameter_total(), SIZE_MAX, SIZE_MAX / 2 + 1};
    size_t index = below(&c->random, parameter_total());
    if (once_in(&c->random, 4)) {
        index = ONE_OF(&c->random, far);
        c->wrong = true;
    }
    info.struct_size = struct_size(c, sizeof info);
    begin(c, "%p, %zu, %s with struct_size %zu", s.handle, index, out ? "out" : "NULL", info.struct_size);
    c->must_work = s.handle == c->base->full;
    if (!finish(c, dim_model_parameter_info(s.handle, index, out), S(INVALID_HANDLE) | S(INVALID_ARGUMENT)))
        check_untouched(c, (char *)&info + sizeof(size_t), sizeof info - sizeof(size_t));
    else if (info.name == NULL || info.ndim < 0 || info.ndim > 4 || info.bytes == 0)
        violation(c, "the description is none");
}

static void find_parameter(context *c) {
    slot s = handle_of(c, MODEL);
    size_t bytes, index;
    const char *name = parameter_name(c, &bytes, false);
    size_t *out = or_null(c, &index);
    paint(&index, sizeof index);
    begin(c, "%p, %.60s, %s", s.handle, name ? name : "NULL", out ? "out" : "NULL");
    if (!finish(c, dim_model_find_parameter(s.handle, name, out),
                S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(UNKNOWN_NAME)))
        check_untouched(c, &index, sizeof index);
    else if (index >= parameter_total())
        violation(c, "the index is %zu", index);
}

static size_t byte_count(context *c, size_t right) {
    const size_t wrong[] = {0, right - 1, right + 1, right + 4, SIZE_MAX, SIZE_MAX / 2 + 1};
    if (!once_in(&c->random, 5))
        return right;
    c->wrong = true;
    return ONE_OF(&c->random, wrong);
}

#define ONE_PARAMETER (S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(UNKNOWN_NAME) | S(SIZE_MISMATCH) | S(OUT_OF_MEMORY))

static void get_parameter(context *c) {
    slot s = handle_of(c, MODEL);
    size_t right;
    const char *name = parameter_name(c, &right, true);
    void *out = or_null(c, c->arrays->out);
    size_t bytes = byte_count(c, right == SIZE_MAX ? 64 : right);
    begin(c, "%p, %.60s, %s, %zu", s.handle, name ? name : "NULL", out ? "out" : "NULL", bytes);
    if (finish(c, dim_model_get_parameter(s.handle, name, out, bytes), ONE_PARAMETER))
        paint(out, bytes);
    check_untouched(c, c->arrays->out, LARGE_PARAMETER);
}

/* Values for a parameter, finite or not; read at an odd address. */
static const void *values(context *c, const char *name, size_t bytes) {
    static __thread unsigned char block[LARGE_PARAMETER + 16];
    unsigned char *start = block + below(&c->random, 2);
    if (bytes > LARGE_PARAMETER)
        bytes = LARGE_PARAMETER;
    if (bytes == 8 && name != NULL && strstr(name, "num_batches_tracked") != NULL) {
        int64_t counter = (int64_t)(next_word(&c->random) >> 1);
        if (once_in(&c->random, 3)) {
            counter = -counter - 1;
            c->wrong = true;
        }
        memcpy(start, &counter, sizeof counter);
        return start;
    }
    float value = (float)below(&c->random, 1001) / 1000;
    for (size_t at = 0; at + sizeof value <= bytes; at += sizeof value)
        memcpy(start + at, &value, sizeof value);
    if (bytes >= sizeof value && once_in(&c->random, 4)) {
        value = (float)1e38 * 100;      /* infinity; minus infinity, so NaN, on every second */
        value = once_in(&c->random, 2) ? value : value - value;
        memcpy(start + below(&c->random, bytes / sizeof value) * sizeof value, &value, sizeof value);
        c->wrong = true;
    }
    return start;
}

static void set_parameter(context *c) {
    slot s = handle_of(c, MODEL);
    size_t right;
    const char *name = parameter_name(c, &right, true);
    size_t bytes = byte_count(c, right == SIZE_MAX ? 64 : right);
    const void *data = or_null(c, (void *)(uintptr_t)values(c, name, right == SIZE_MAX ? 64 : right));
    begin(c, "%p, %.60s, %s, %zu", s.handle, name ? name : "NULL", data ? "data" : "NULL", bytes);
    finish(c, dim_model_set_parameter(s.handle, name, data, bytes), ONE_PARAMETER);
}

static void set_parameters(context *c) {
    slot s = handle_of(c, MODEL);
    const char *names[4];
    const void *data[4];
    size_t bytes[4], count = 1 + below(&c->random, 4);
    static float zeros[LARGE_PARAMETER / sizeof(float)];
    for (size_t i = 0; i < count; i++) {
        size_t right;
        names[i] = parameter_name(c, &right, true);
        data[i] = or_null(c, zeros);
        bytes[i] = byte_count(c, right == SIZE_MAX ? 64 : right);
        for (size_t k = 0; k < i; k++)
            if (names[i] != NULL && names[k] != NULL && strcmp(names[i], names[k]) == 0)
                c->wrong = true;        /* a name that is listed twice */
    }
    const char *const *name_list = or_null(c, names);
    const void *const *data_list = or_null(c, data);
    const size_t *byte_list = or_null(c, bytes);
    if (once_in(&c->random, 8)) {
        const size_t wrong[] = {0, 1000, SIZE_MAX, SIZE_MAX / 2 + 1};
        count = ONE_OF(&c->random, wrong);
        c->wrong = true;
    }
    begin(c, "%p, %zu, ...", s.handle, count);
    finish(c, dim_model_set_parameters(s.handle, count, name_list, data_list, byte_list), ONE_PARAMETER);
}

/* ---- Forward passes */

enum { ENCODE, GLOBAL, LOCAL, PRIOR, CLASSIFY };
#define FORWARD                                                                                                       \
    (S(INVALID_HANDLE) | S(INVALID_ARGUMENT) | S(TOO_LARGE) | S(MISSING_NETWORK) | S(OUT_OF_MEMORY) | S(NOT_FINITE))

static dim_status compute(int which, void *model, const float *a, const float *b, size_t n, float *x, float *y) {
    switch (which) {
    case ENCODE: return dim_encode(model, a, n, x, y);
    case GLOBAL: return dim_score_global(model, a, b, n, x);
    case LOCAL: return dim_score_local(model, a, b, n, x);
    case PRIOR: return dim_score_prior(model, a, n, x);
    default: return dim_classify(model, a, n, x);
    }
}

/* Once in `times` it computes, on a model that has the network; otherwise something is wrong with the call. */
static void forward(context *c, int which, size_t times) {
    arrays *m = c->arrays;
    bool two_inputs = which == GLOBAL || which == LOCAL, two_outputs = which == ENCODE;
    const float *a = which != ENCODE ? m->encoded : once_in(&c->random, 4) ? m->strange_images : m->images;
    const float *b = two_inputs ? m->features : NULL;
    float *x = m->out, *y = two_outputs && once_in(&c->random, 2) ? m->more_out : NULL;
    size_t n = 1 + below(&c->random, MOST_IMAGES);
    slot s = live_handle(c, MODEL, true);
    if (dear(c, times)) {
        /* In training mode, in which it may be, images that are not finite are DIM_NOT_FINITE. */
        c->must_work = s.handle == c->base->full && (which != CLASSIFY || n > 1) && a != m->strange_images;
    } else {
        switch (below(&c->random, 4)) {
        case 0:
            while (!c->wrong_handle)
                s = handle_of(c, MODEL);
            break;
        case 1:
            n = wrong_count(c, 1);
            break;
        case 2:
            c->wrong = true;
            if (two_inputs && once_in(&c->random, 2))
                b = NULL;
            else if (once_in(&c->random, 2))
                a = NULL;
            else
                x = NULL;
            break;
        default:        /* the small model has a classifier alone */
            s.handle = c->base->small;
            if (which == CLASSIFY)
                n = wrong_count(c, 1);
            c->wrong = true;
        }
    }
    begin(c, "%p, %s, n = %zu", s.handle, a == NULL || x == NULL || (two_inputs && b == NULL) ? "with a NULL" : "arrays", n);
    if (finish(c, compute(which, s.handle, a, b, n, x, y), FORWARD)) {
        paint(x, sizeof m->out / MOST_IMAGES * n);
        if (y != NULL)
            paint(y, sizeof m->more_out / MOST_IMAGES * n);
    }
    check_untouched(c, m->out, sizeof m->out);
    check_untouched(c, m->more_out, sizeof m->more_out);
}

static void encode(context *c) { forward(c, ENCODE, 100); }
static void score_global(context *c) { forward(c, GLOBAL, 100); }
static void score_local(context *c) { forward(c, LOCAL, 100); }
static void score_prior(context *c) { forward(c, PRIOR, 10); }
static void classify(context *c) { forward(c, CLASSIFY, 4); }

const call model_calls[] = {
    {"dim_status_name", status_names, 5},
    {"dim_last_error", last_error, 5},
    {"dim_version", version, 2},
    {"dim_build_info", build_info, 3},
    {"dim_set_num_threads", set_num_threads, 5},
    {"dim_num_threads", num_threads, 2},
    {"dim_max_images", max_images, 2},
    {"dim_model_create", create, 5},
    {"dim_model_open", open_model, 4},
    {"dim_model_open_with", open_with_options, 4},
    {"dim_model_load", load, 4},
    {"dim_model_load_with", load_with_options, 4},
    {"dim_model_save", save, 3},
    {"dim_model_save_with", save_with, 3},
    {"dim_model_free", free_model, 20},
    {"dim_model_set_training", set_training, 10},
    {"dim_model_is_training", is_training, 10},
    {"dim_model_networks", networks, 10},
    {"dim_model_parameter_count", parameter_count, 10},
    {"dim_model_parameter_info", parameter_info, 15},
    {"dim_model_find_parameter", find_parameter, 15},
    {"dim_model_get_parameter", get_parameter, 15},
    {"dim_model_set_parameter", set_parameter, 15},
    {"dim_model_set_parameters", set_parameters, 8},
    {"dim_encode", encode, 6},
    {"dim_score_global", score_global, 10},
    {"dim_score_local", score_local, 10},
    {"dim_score_prior", score_prior, 10},
    {"dim_classify", classify, 10},
};
const size_t model_call_count = sizeof model_calls / sizeof model_calls[0];

/* The opening functions for untrusted files, in the shape of those without options. */
#ifndef UNTRUSTED_H
#define UNTRUSTED_H

#include <dim.h>

/* The isolated reader is the library's file by itself, without the runtime of a sanitizer. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static inline dim_open_options untrusted_within(double seconds) {
    dim_open_options options = {sizeof options, true, false, seconds, NULL, 0};
    return options;
}

static inline dim_status open_untrusted(const char *path, dim_model **out) {
    const dim_open_options options = untrusted_within(0);
    return dim_model_open_with(path, &options, out);
}

static inline dim_status load_untrusted(dim_model *model, const char *path) {
    const dim_open_options options = untrusted_within(0);
    return dim_model_load_with(model, path, &options);
}

static inline dim_status resume_untrusted(const char *path, dim_trainer **out) {
    const dim_open_options options = untrusted_within(0);
    return dim_trainer_resume_with(path, &options, out);
}

static inline dim_status resume_classifier_untrusted(const char *path, dim_classifier_trainer **out) {
    const dim_open_options options = untrusted_within(0);
    return dim_classifier_trainer_resume_with(path, &options, out);
}

#endif

/* The opening functions for untrusted files, in the shape of those without options. */
#ifndef UNTRUSTED_H
#define UNTRUSTED_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

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

/* A process whose parent is that one, 0 for none. */
static inline pid_t child_of(pid_t parent) {
    DIR *entries = opendir("/proc");
    pid_t found = 0;
    for (struct dirent *entry; found == 0 && (entry = readdir(entries)) != NULL;) {
        char path[300], state;
        int pid = atoi(entry->d_name), of = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = pid > 0 ? fopen(path, "r") : NULL;
        if (file == NULL)
            continue;
        if (fscanf(file, "%*d (%*[^)]) %c %d", &state, &of) == 2 && of == parent && state != 'Z')
            found = pid;
        fclose(file);
    }
    closedir(entries);
    return found;
}

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

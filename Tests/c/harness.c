#include "harness.h"

#include <dirent.h>
#include <pthread.h>
#include <stdarg.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int passed, failed, failures;
static const char *running = "";
static char folder[64];

void harness_check(bool holds, const char *file, int line, const char *format, ...) {
    if (holds)
        return;
    va_list arguments;
    pthread_mutex_lock(&lock);
    failures++;
    fprintf(stderr, "%s:%d: %s: not so: ", file, line, running);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    pthread_mutex_unlock(&lock);
}

int harness_failures(void) { return failures; }
void harness_forget(void) { folder[0] = '\0'; }

static bool is_one_or_more_lines(const char *text) {
    return text != NULL && text[0] != '\0' && text[strlen(text) - 1] != '\n';
}

void harness_status(dim_status expected, dim_status found, const char *call, const char *file, int line) {
    harness_check(found == expected, file, line, "%s: expected %s, found %s (%s)", call, dim_status_name(expected),
                  dim_status_name(found), found == DIM_OK ? "" : dim_last_error());
    if (found != DIM_OK)
        harness_check(is_one_or_more_lines(dim_last_error()), file, line, "%s: leaves a message", call);
}

void harness_message(const char *text, const char *file, int line) {
    harness_check(strstr(dim_last_error(), text) != NULL, file, line, "the message names \"%s\"; it is: %s", text,
                  dim_last_error());
}

void harness_run(const char *name, void (*test)(void)) {
    running = name;
    failures = 0;
    test();
    if (failures == 0)
        passed++;
    else
        failed++;
    fflush(stderr);
}

static void remove_folder(void) {
    DIR *entries = folder[0] ? opendir(folder) : NULL;
    if (entries == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;)
        if (entry->d_name[0] != '.')
            remove(scratch_path(entry->d_name));
    closedir(entries);
    rmdir(folder);
}

int harness_finish(void) {
    remove_folder();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

void harness_must(dim_status status, const char *call, const char *file, int line) {
    if (status == DIM_OK)
        return;
    fprintf(stderr, "%s:%d: %s: %s: %s: %s\n", file, line, running, call, dim_status_name(status), dim_last_error());
    remove_folder();
    printf("%d passed, %d failed\n", passed, failed + 1);
    fflush(NULL);
    _exit(1);
}

void *take(size_t bytes) {
    void *block = malloc(bytes ? bytes : 1);
    if (block == NULL) {
        fputs("the test is out of memory\n", stderr);
        exit(1);
    }
    return block;
}

void fill(float *values, size_t count, unsigned seed) {
    uint32_t state = seed * 2654435761u + 12345u;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) / 16777216.0f;
    }
}

float *new_images(size_t n, unsigned seed) {
    float *images = take(sizeof(float) * DIM_NOTEBOOK_IMAGE_SIZE * n);
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * n, seed);
    return images;
}

bool same_parameters(const dim_model *a, const dim_model *b) {
    size_t count = dim_model_parameter_count(a);
    bool same = count == dim_model_parameter_count(b) && count > 0;
    for (size_t i = 0; same && i < count; i++) {
        dim_parameter_info info = {.struct_size = sizeof info};
        MUST(dim_model_parameter_info(a, i, &info));
        void *x = take(info.bytes), *y = take(info.bytes);
        MUST(dim_model_get_parameter(a, info.name, x, info.bytes));
        same = dim_model_get_parameter(b, info.name, y, info.bytes) == DIM_OK && memcmp(x, y, info.bytes) == 0;
        free(x);
        free(y);
    }
    return same;
}

double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static bool stop;
void tell_to_stop(bool yes) { __atomic_store_n(&stop, yes, __ATOMIC_SEQ_CST); }
bool stopped(void) { return __atomic_load_n(&stop, __ATOMIC_SEQ_CST); }

void paint(void *block, size_t bytes) { memset(block, 0xA5, bytes); }

bool painted(const void *block, size_t bytes) {
    const unsigned char *p = block;
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != 0xA5)
            return false;
    return true;
}

dim_model *shared_model(void) {
    static dim_model *model;
    if (model == NULL)
        MUST(dim_model_create(7, &model));
    return model;
}

const char *scratch_path(const char *name) {
    static char paths[4][512];
    static int next;
    if (folder[0] == '\0') {
        strcpy(folder, "/tmp/libdim-test-XXXXXX");
        if (mkdtemp(folder) == NULL) {
            perror("mkdtemp");
            exit(1);
        }
    }
    next = (next + 1) % 4;
    snprintf(paths[next], sizeof paths[next], "%s/%s", folder, name);
    return paths[next];
}

void *foreign_handle(int index) {
    static unsigned char block[256];
    switch (index) {
    case 0: return NULL;
    case 1: return (void *)(uintptr_t)1;
    case 2: return (void *)(uintptr_t)8;
    case 3: return (void *)(uintptr_t)4096;
    case 4: return (void *)UINTPTR_MAX;
    case 5: return (void *)(UINTPTR_MAX / 2 + 1);
    case 6: return block + 64;
    default: return &block;
    }
}

size_t large_count(int index) {
    switch (index) {
    case 0: return SIZE_MAX;
    case 1: return SIZE_MAX / 2 + 1;
    case 2: return SIZE_MAX / 2;
    case 3: return SIZE_MAX / (DIM_NOTEBOOK_IMAGE_SIZE * sizeof(float)) + 1;
    case 4: return SIZE_MAX / (DIM_NOTEBOOK_FEATURES_SIZE * sizeof(float)) + 1;
    default: return dim_max_images() + 1;
    }
}

/*
 * files.c - damaged HDF5 and safetensors files through what reads them.
 *
 *     files --function dim_model_open --count 10000 --seed 1 [--corpus FOLDER] [--mend 50]
 *     files --function dim_model_open --seed 1 --first 4711 --count 1 --keep FILE     one mutant again, and as a file
 *     files --function dim_model_open --replay FILE                                   a file as it is
 *     files --function dim_model_open_with --untrusted [...]                          of any architecture, isolated
 *
 * Mutant i depends on the seed, on i and on the corpus. Children open them, so that a crash is counted, not suffered. What
 * opens a file must come to DIM_OK or to one of the statuses for files, with a message, and take its time. The exit status
 * is 1 where libdim is to blame for a crash, or --strict is given and libhdf5 is.
 *
 * With LIBFUZZER this is a target of libFuzzer, guided by coverage: DIM_FUZZ_FUNCTION names the function.
 */
#include <dim.h>
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mutation.h"
#include "support.h"

#ifndef CORPUS
#define CORPUS "Tests/fuzz/corpus"
#endif

/* ---- What is called */

typedef struct target {
    void *function;
    bool loads;                 /* f(model, path); else f(path, &out) */
    bool has_options;           /* dim_..._with: of any architecture */
    dim_open_options options;
    void (*release)(void *);
    dim_model *model;           /* for what loads */
} target;

static void free_model(void *p) { dim_model_free(p); }
static void free_trainer(void *p) { dim_trainer_free(p); }
static void free_classifier_trainer(void *p) { dim_classifier_trainer_free(p); }

static target find_target(const char *name, bool untrusted) {
    target t = {.function = dlsym(RTLD_DEFAULT, name), .loads = strstr(name, "_load") != NULL, .release = free_model};
    t.has_options = strstr(name, "_with") != NULL;
    t.options = (dim_open_options){sizeof t.options, untrusted, true, 0, NULL, 0};
    if (untrusted && !t.has_options)
        give_up("%s takes no options: --untrusted goes with dim_..._with", name);
    if (t.function == NULL)
        give_up("the library has no function %s", name);
    if (strstr(name, "classifier_trainer") != NULL)
        t.release = free_classifier_trainer;
    else if (strstr(name, "trainer") != NULL)
        t.release = free_trainer;
    if (t.loads && dim_model_open(CORPUS "/classifier-libdim.h5", &t.model) != DIM_OK)
        give_up("dim_model_open: %s", dim_last_error());
    return t;
}

static dim_status call(const target *t, const char *path) {
    void *out = NULL;
    dim_status status;
    if (t->has_options) {
        if (t->loads) {
            dim_status (*load)(dim_model *, const char *, const dim_open_options *);
            memcpy(&load, &t->function, sizeof load);
            return load(t->model, path, &t->options);
        }
        dim_status (*open)(const char *, const dim_open_options *, void **);
        memcpy(&open, &t->function, sizeof open);
        status = open(path, &t->options, &out);
        if (status == DIM_OK)
            t->release(out);
        return status;
    }
    if (t->loads) {
        dim_status (*load)(dim_model *, const char *);
        memcpy(&load, &t->function, sizeof load);       /* ISO C has no cast between the two kinds of pointers */
        return load(t->model, path);
    }
    dim_status (*open)(const char *, void **);
    memcpy(&open, &t->function, sizeof open);
    status = open(path, &out);
    if (status == DIM_OK)
        t->release(out);
    return status;
}

/* NULL where all is well. */
static const char *complaint(dim_status status) {
    if (status != DIM_OK && status != DIM_IO && status != DIM_FILE_FORMAT && status != DIM_FILE_CONTENT)
        return "a status that is not for files";
    if (status != DIM_OK && dim_last_error()[0] == '\0')
        return "no message";
    return NULL;
}

static const char *make_path(const unsigned char *bytes, size_t size) {
    static char path[64];
    static int descriptor = -1;
    if (descriptor < 0) {       /* a file without a name: nothing stays, whatever happens */
        descriptor = memfd_create("mutant", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
    }
    if (descriptor < 0 || ftruncate(descriptor, 0) != 0 || pwrite(descriptor, bytes, size, 0) != (ssize_t)size)
        give_up("cannot write the mutant: %s", strerror(errno));
    return path;
}

#ifdef LIBFUZZER

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static target t;
    if (t.function == NULL) {
        const char *name = getenv("DIM_FUZZ_FUNCTION");
        t = find_target(name ? name : "dim_model_open", false);
        dim_set_num_threads(1);
    }
    const char *wrong = complaint(call(&t, make_path(data, size)));
    if (wrong != NULL) {
        fprintf(stderr, "%s: %s\n", wrong, dim_last_error());
        abort();
    }
    return 0;
}

/* Half of the time with mended checksums; libFuzzer's own ways, which may lengthen the file, now and then. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
    generator g = stream(seed, size);
    if (size == 0 || once_in(&g, 8))
        return LLVMFuzzerMutate(data, size, most);
    mutate(data, &size, &g, !once_in(&g, 3));
    return size;
}

#else

/* ---- The corpus */

enum { MOST_SOURCES = 64, BATCH = 500, OUTCOMES = 5, FILE_SECONDS = 120 };
static struct {
    unsigned char *bytes;
    size_t size;
} sources[MOST_SOURCES];
static size_t source_count, largest_source;

/* Checkpoints are for what reads checkpoints: they take long to open. */
static void read_corpus(const char *folder, const char *function) {
    static file_list list;
    list = list_files(folder, ".h5");
    if (list.count == 0)
        list = list_files(folder, ".safetensors");
    bool classifier = strstr(function, "classifier_trainer") != NULL, trainer = strstr(function, "trainer") != NULL;
    for (size_t i = 0; i < list.count && source_count < MOST_SOURCES; i++) {
        bool objective = strstr(list.paths[i], "checkpoint-objective") != NULL;
        bool checkpoint = strstr(list.paths[i], "checkpoint-") != NULL;
        if (trainer ? !checkpoint || classifier == objective : checkpoint)
            continue;
        sources[source_count].bytes = read_file(list.paths[i], &sources[source_count].size);
        if (sources[source_count].bytes == NULL)
            give_up("%s: %s", list.paths[i], strerror(errno));
        remember_blocks(sources[source_count].bytes, sources[source_count].size);
        if (sources[source_count].size > largest_source)
            largest_source = sources[source_count].size;
        source_count++;
    }
    if (source_count == 0)
        give_up("%s: no file for %s", folder, function);
}

/* ---- Children */

typedef struct board {
    uint64_t next, mended;
    uint64_t outcomes[OUTCOMES];
    char note[256];
} board;

static int outcome(dim_status status) {
    return status == DIM_OK ? 0 : status == DIM_IO ? 1 : status == DIM_FILE_FORMAT ? 2 : status == DIM_FILE_CONTENT ? 3 : 4;
}

static size_t make_mutant(uint64_t seed, uint64_t i, uint64_t mend, unsigned char *bytes, bool *mended) {
    generator g = stream(seed, i);
    size_t source = below(&g, source_count), size = sources[source].size;
    *mended = below(&g, 100) < mend;
    memcpy(bytes, sources[source].bytes, size);
    mutate(bytes, &size, &g, *mended);
    return size;
}

static void open_batch(const target *t, board *b, uint64_t last, uint64_t seed, uint64_t mend, unsigned char *bytes) {
    struct rlimit memory = {(rlim_t)4 << 30, (rlim_t)4 << 30};
    if (!SANITIZED)
        setrlimit(RLIMIT_AS, &memory);
    blame_crashes();
    dim_set_num_threads(1);
    for (; b->next < last; b->next++) {
        bool mended;
        size_t size = make_mutant(seed, b->next, mend, bytes, &mended);
        alarm(FILE_SECONDS);
        dim_status status = call(t, make_path(bytes, size));
        alarm(0);
        b->mended += mended;
        b->outcomes[outcome(status)]++;
        const char *wrong = complaint(status);
        if (wrong != NULL) {
            snprintf(b->note, sizeof b->note, "%s: %s: %.150s", wrong, dim_status_name(status), dim_last_error());
            _exit(3);
        }
    }
    if (SANITIZED)
        exit(0);                /* a leak detector looks at it */
    _exit(0);
}

/* The child's status, as waitpid gives it. */
static int in_child(const target *t, board *b, uint64_t last, uint64_t seed, uint64_t mend, unsigned char *bytes) {
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        open_batch(t, b, last, seed, mend, bytes);
    if (child < 0 || waitpid(child, &status, 0) < 0)
        give_up("fork: %s", strerror(errno));
    return status;
}

static int replay(const target *t, const char *path) {
    blame_crashes();
    dim_set_num_threads(1);
    alarm(FILE_SECONDS);
    dim_status status = call(t, path);
    const char *wrong = complaint(status);
    say("%s: %s%s%s", path, dim_status_name(status), status == DIM_OK ? "" : ": ", status == DIM_OK ? "" : dim_last_error());
    if (wrong != NULL)
        say("%s", wrong);
    return wrong != NULL;
}

int main(int argc, char **argv) {
    static const char *const names[] = {"function=", "count=", "first=", "seed=", "corpus=", "mend=", "keep=", "replay=",
                                        "seconds=", "strict", "untrusted", "verbose", NULL};
    check_options(argc, argv, names,
                  "files [--function NAME] [--count N] [--first I] [--seed S] [--corpus FOLDER] [--mend PERCENT]"
                  " [--seconds T] [--keep FILE] [--replay FILE] [--strict] [--untrusted] [--verbose]");
    const char *function = option(argc, argv, "function", "dim_model_open"), *keep = option(argc, argv, "keep", NULL);
    uint64_t first = number_option(argc, argv, "first", 0), count = number_option(argc, argv, "count", 2000);
    uint64_t seed = number_option(argc, argv, "seed", 1), mend = number_option(argc, argv, "mend", 50);
    double start = seconds_now(), seconds = (double)number_option(argc, argv, "seconds", 1000000);
    target t = find_target(function, flag(argc, argv, "untrusted"));
    const char *path = option(argc, argv, "replay", NULL);
    if (path != NULL)
        return replay(&t, path);
    read_corpus(option(argc, argv, "corpus", CORPUS), function);
    static unsigned char *bytes;        /* static: what lives as long as the program is no leak */
    bytes = malloc(largest_source + 64);
    board *b = shared_memory(sizeof *b);
    if (bytes == NULL)
        give_up("out of memory");
    if (keep != NULL) {
        bool mended;
        size_t size = make_mutant(seed, first, mend, bytes, &mended);
        write_file(keep, bytes, size);
    }
    uint64_t bad = 0, in_hdf5 = 0, last = first + count;
    for (b->next = first; b->next < last && seconds_now() - start < seconds;) {
        uint64_t stop = b->next + BATCH < last ? b->next + BATCH : last;
        int status = in_child(&t, b, stop, seed, mend, bytes);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        bool hdf5 = WIFEXITED(status) && WEXITSTATUS(status) == BLAME_HDF5;
        bool told = WIFEXITED(status) && WEXITSTATUS(status) == 3;
        if (!hdf5 || flag(argc, argv, "strict") || flag(argc, argv, "verbose"))
            say("mutant %llu of seed %llu: %s; again: files --function %s --seed %llu --mend %llu"
                " --first %llu --count 1 --keep FILE",
                (unsigned long long)b->next, (unsigned long long)seed,
                told ? b->note : blamed(WIFEXITED(status) ? WEXITSTATUS(status) : 0), function, (unsigned long long)seed,
                (unsigned long long)mend, (unsigned long long)b->next);
        in_hdf5 += hdf5;
        bad += !hdf5;
        b->next++;
    }
    say("%s: %llu mutants of %zu files, seed %llu, %llu with mended checksums: %llu opened, %llu DIM_IO, %llu DIM_FILE_FORMAT,"
        " %llu DIM_FILE_CONTENT; %llu crashes in libhdf5, %llu other faults; %.0f s",
        function, (unsigned long long)(b->next - first), source_count, (unsigned long long)seed, (unsigned long long)b->mended,
        (unsigned long long)b->outcomes[0], (unsigned long long)b->outcomes[1], (unsigned long long)b->outcomes[2],
        (unsigned long long)b->outcomes[3], (unsigned long long)in_hdf5, (unsigned long long)bad, seconds_now() - start);
    return bad > 0 || (in_hdf5 > 0 && flag(argc, argv, "strict"));
}

#endif

/* When the machine fails: no memory, files that change while they are read, a program that ends or forks at a bad moment.
 * Every call comes back with a status; none ends the process. */
#include "harness.h"
#include "untrusted.h"

#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 2, SIZE = DIM_NOTEBOOK_ENCODED_SIZE * N };

static float images[DIM_NOTEBOOK_IMAGE_SIZE * N], expected[SIZE];
static int64_t labels[N] = {1, 2};
static char weights[512], checkpoint[512];

/* ---- Allocations that fail --------------------------------------------------------------------------- */

/* The program's own malloc comes before the C library's, for libdim and libhdf5 too. Which allocations fail: of those of
 * LARGE bytes or more, libhdf5's too, number fail_at; of all sizes, where libdim asks, number fail_at or all from that on. */
enum { LARGE = 32 * 1024 };
typedef enum failing { LARGE_ONE, OWN_ONE, OWN_REST } failing;
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);
static long seen, fail_at;   /* fail_at: 0 = not counted, -1 = counted, none fails */
static failing which_fail;
static const char *own_code, *own_code_end;

static int find_own_code(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size, (void)unused;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const char *code = (const char *)info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (const char *)(size_t)dim_version >= code &&
            (const char *)(size_t)dim_version < code + info->dlpi_phdr[i].p_memsz)
            own_code = code, own_code_end = code + info->dlpi_phdr[i].p_memsz;
    }
    return own_code != NULL;
}

static bool fails(size_t bytes, const char *caller) {
    long at = __atomic_load_n(&fail_at, __ATOMIC_SEQ_CST);
    if (at == 0 || (which_fail == LARGE_ONE ? bytes < LARGE : caller < own_code || caller >= own_code_end))
        return false;
    long number = __atomic_add_fetch(&seen, 1, __ATOMIC_SEQ_CST);
    return number == at || (at > 0 && number > at && which_fail == OWN_REST);
}

static void fail_number(long at) {
    __atomic_store_n(&seen, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&fail_at, at, __ATOMIC_SEQ_CST);
}

#define CALLER ((const char *)__builtin_return_address(0))
void *malloc(size_t bytes) { return fails(bytes, CALLER) ? (errno = ENOMEM, NULL) : __libc_malloc(bytes); }
void *calloc(size_t count, size_t size) {
    return fails(count * size, CALLER) ? (errno = ENOMEM, NULL) : __libc_calloc(count, size);
}
void *realloc(void *block, size_t bytes) {
    return fails(bytes, CALLER) ? (errno = ENOMEM, NULL) : __libc_realloc(block, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) {
    return fails(bytes, CALLER) ? (errno = ENOMEM, NULL) : __libc_memalign(alignment, bytes);
}
int posix_memalign(void **out, size_t alignment, size_t bytes) {
    void *block = fails(bytes, CALLER) ? NULL : __libc_memalign(alignment, bytes);
    if (block == NULL)
        return ENOMEM;
    *out = block;
    return 0;
}

/* ---- What is tried ----------------------------------------------------------------------------------- */

typedef dim_status (*operation)(void);

static dim_status create(void) {
    dim_model *model = NULL;
    dim_status status = dim_model_create(1, &model);
    dim_model_free(model);
    return status;
}

static dim_status open_here(void) {
    dim_model *model = NULL;
    dim_status status = dim_model_open(weights, &model);
    dim_model_free(model);
    return status;
}

static dim_status open_isolated(void) {
    dim_model *model = NULL;
    dim_status status = open_untrusted(weights, &model);
    dim_model_free(model);
    return status;
}

static dim_status load(void) { return dim_model_load(shared_model(), weights); }

static dim_status encode(void) {
    float y[SIZE];
    dim_status status = dim_encode(shared_model(), images, N, y, NULL);
    CHECK(status != DIM_OK || memcmp(y, expected, sizeof y) == 0);
    return status;
}

static dim_status score(void) {
    static float y[SIZE], M[DIM_NOTEBOOK_FEATURES_SIZE * N], logits[DIM_NOTEBOOK_LOCAL_SIZE * N];
    dim_status status = dim_encode(shared_model(), images, N, y, M);
    if (status == DIM_OK) status = dim_score_global(shared_model(), y, M, N, logits);
    if (status == DIM_OK) status = dim_score_local(shared_model(), y, M, N, logits);
    if (status == DIM_OK) status = dim_score_prior(shared_model(), y, N, logits);
    if (status == DIM_OK) status = dim_classify(shared_model(), y, N, logits);
    return status;
}

static dim_status train(void) {
    dim_trainer *trainer = NULL;
    dim_status status = dim_trainer_create(shared_model(), NULL, &trainer);
    if (status == DIM_OK) status = dim_trainer_accumulate(trainer, images, N, NULL);
    dim_trainer_free(trainer);
    return status;
}

static dim_status train_classifier(void) {
    dim_classifier_trainer *trainer = NULL;
    dim_classifier_result result;
    dim_status status = dim_classifier_trainer_create(shared_model(), NULL, &trainer);
    if (status == DIM_OK) status = dim_classifier_trainer_evaluate(trainer, images, labels, N, &result, NULL);
    dim_classifier_trainer_free(trainer);
    return status;
}

static dim_status save(void) { return dim_model_save(shared_model(), scratch_path("saved.h5")); }

static dim_status resume(void) {
    dim_trainer *trainer = NULL;
    dim_status status = dim_trainer_resume(checkpoint, &trainer);
    if (status == DIM_OK) status = dim_trainer_save(trainer, scratch_path("saved.h5"));
    dim_trainer_free(trainer);
    return status;
}

static dim_status set_parameter(void) {
    static float values[512 * 512];
    return dim_model_set_parameter(shared_model(), "local_d.c1.weight", values, sizeof values);
}

static const struct {
    const char *name;
    operation run;
} operations[] = {
    {"create", create}, {"open", open_here}, {"open, isolated", open_isolated}, {"load", load}, {"encode", encode},
    {"score and classify", score}, {"train", train}, {"train the classifier", train_classifier}, {"save", save},
    {"resume and save", resume}, {"set a parameter", set_parameter},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

/* The child's exit status: 0, or 1 where a check failed; a signal ends it otherwise. */
static bool in_child(void (*body)(int), int argument) {
    fflush(NULL);
    int before = harness_failures();
    pid_t child = fork();
    if (child == 0) {
        alarm(300);
        body(argument);
        _exit(harness_failures() != before);
    }
    int status = -1;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        fprintf(stderr, "a child ended by signal %d\n", WTERMSIG(status));
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void each_allocation_fails(int which) {
    operation run = operations[which].run;
    MUST(run());                        /* what is made once is made */
    fail_number(-1);
    MUST(run());
    long count = seen, step = count / (which_fail == LARGE_ONE ? 15 : 25) + 1;
    fail_number(0);
    CHECK(count > 0 || which_fail == LARGE_ONE);     /* what is large may have been made once */
    for (long at = 1; at <= count; at += step) {
        fail_number(at);
        dim_status status = run();
        fail_number(0);
        /* libdim's own come back as an error; libhdf5 and the C library may do without. */
        harness_check(status == DIM_OK || status == DIM_OUT_OF_MEMORY, __FILE__, __LINE__,
                      "%s, allocation %ld of %ld fails (%d): %s: %s", operations[which].name, at, count, which_fail,
                      dim_status_name(status), dim_last_error());
    }
    CHECK_STATUS(DIM_OK, run());
    CHECK_STATUS(DIM_OK, encode());
}

static void all_operations(failing kind) {
    which_fail = kind;
    for (int i = 0; i < OPERATIONS; i++)
        harness_check(in_child(each_allocation_fails, i), __FILE__, __LINE__, "%s survives", operations[i].name);
}

static void a_large_allocation_fails(void) { all_operations(LARGE_ONE); }

/* Swift's runtime ends the process where an allocation of its own fails: it gets small blocks from the library's reserve. */
static void an_allocation_of_any_size_fails(void) { all_operations(OWN_ONE); }
static void all_memory_is_gone_from_some_point_on(void) { all_operations(OWN_REST); }

/* ---- An address space that is used up ---------------------------------------------------------------- */

static void little_memory(int kilobytes) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld", &pages) != 1)
        exit(1);
    fclose(file);
    struct rlimit before, limit;
    getrlimit(RLIMIT_AS, &before);
    limit = before;
    limit.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (rlim_t)kilobytes * 1000;
    for (int i = 0; i < OPERATIONS; i++) {
        setrlimit(RLIMIT_AS, &limit);
        dim_status status = operations[i].run();
        setrlimit(RLIMIT_AS, &before);
        /* The isolated reader is another process with the same limit: the loader may fail in it. */
        harness_check(status == DIM_OK || status == DIM_OUT_OF_MEMORY || (operations[i].run == open_isolated && status == DIM_IO),
                      __FILE__, __LINE__, "%s in %d kB: %s: %s", operations[i].name, kilobytes, dim_status_name(status),
                      dim_last_error());
    }
    for (int i = 0; i < OPERATIONS; i++)
        CHECK_STATUS(DIM_OK, operations[i].run());
}

static void address_space_used_up(void) {
    static const int levels[] = {2000, 10000, 30000, 60000, 110000, 220000, 400000};
    for (int i = 0; i < 7; i++)
        harness_check(in_child(little_memory, levels[i]), __FILE__, __LINE__, "survives in %d kB more", levels[i]);
}

/* libhdf5 crashes, or ends the process, where it finds no memory: at its first use in a process, too. */
static dim_status call_of_a_file(bool saves) {
    if (saves)
        return dim_model_save(shared_model(), scratch_path("little.h5"));
    dim_model *model = NULL;
    dim_status status = dim_model_open(weights, &model);
    dim_model_free(model);
    return status;
}

static void *saves_and_opens(void *unused) {
    (void)unused;
    for (int saves = 0; saves < 2; saves++) {
        dim_status status = call_of_a_file(saves);
        CHECK(status == DIM_OK || status == DIM_OUT_OF_MEMORY);
    }
    return NULL;
}

/* What was freed before is taken, but for so many kB. */
static void fill_memory(int kilobytes) {
    enum { KEPT = 16384 };
    void **kept = take(KEPT * sizeof *kept);
    int count = 0;
    for (void *block; (block = malloc(1000)) != NULL;)
        if (count < KEPT)
            kept[count++] = block;
    while (count > 0 && kilobytes-- > 0)
        free(kept[--count]);
}

/* Negative: in a thread of its own, which finds no room for small blocks. */
static void a_file_in_little_memory(int kilobytes) {
    long pages = 0;
    pthread_t thread;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld", &pages) != 1)
        exit(1);
    fclose(file);
    rlim_t most = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + (rlim_t)abs(kilobytes) * 1000;
    setrlimit(RLIMIT_AS, &(struct rlimit){most, most});
    if (kilobytes >= 0) {
        fill_memory(kilobytes);
        saves_and_opens(NULL);
        return;
    }
    if (pthread_create(&thread, NULL, saves_and_opens, NULL) == 0)
        pthread_join(thread, NULL);
}

static void files_in_little_memory(void) {
    for (int kilobytes = 0; kilobytes < 16000; kilobytes += kilobytes < 3000 ? 100 : 2000) {
        harness_check(in_child(a_file_in_little_memory, kilobytes), __FILE__, __LINE__, "survives in %d kB", kilobytes);
        harness_check(in_child(a_file_in_little_memory, -9000 - kilobytes), __FILE__, __LINE__,
                      "a thread survives in %d kB", 9000 + kilobytes);
    }
}

/* ---- Files that change ------------------------------------------------------------------------------- */

static void *truncate_again_and_again(void *path) {
    FILE *file = fopen(weights, "rb");
    size_t size = 0;
    char *content = take(1 << 20);
    size = fread(content, 1, 1 << 20, file);
    fclose(file);
    for (unsigned i = 0; !stopped(); i++) {
        file = fopen(path, i % 2 ? "r+b" : "wb");       /* to nothing, to a piece, to the same again */
        fwrite(content, 1, size / (i % 3 + 1), file);
        fclose(file);
        if (i % 5 == 0 && truncate(path, 99284644) != 0)
            break;
    }
    free(content);
    return NULL;
}

static void truncated_while_it_is_read(void) {
    pthread_t thread;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("changing.h5"));
    MUST(dim_model_save(shared_model(), path));
    tell_to_stop(false);
    pthread_create(&thread, NULL, truncate_again_and_again, path);
    for (int i = 0; i < 60; i++) {
        dim_model *model = NULL;
        dim_status status = i % 6 ? dim_model_open(path, &model) : open_untrusted(path, &model);
        CHECK(status == DIM_FILE_FORMAT || status == DIM_IO || status == DIM_FILE_CONTENT);
        dim_model_free(model);
    }
    tell_to_stop(true);
    pthread_join(thread, NULL);
}

/* ---- Threads and ends -------------------------------------------------------------------------------- */

typedef struct worker {
    pthread_t thread;
    bool is_right;
} worker;

static void *use_everything(void *raw) {
    worker *w = raw;
    float y[SIZE];
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    w->is_right = dim_encode(shared_model(), images, N, y, NULL) == DIM_OK && memcmp(y, expected, sizeof y) == 0;
    w->is_right = w->is_right && dim_score_prior(shared_model(), y, N, y) == DIM_OK;
    w->is_right = w->is_right && dim_model_open("/nonexistent", (dim_model **)(void *)y) == DIM_IO;
    w->is_right = w->is_right && strstr(dim_last_error(), "/nonexistent") != NULL;
    return NULL;
}

static void sixty_four_threads(void) {
    worker workers[64];
    for (int i = 0; i < 64; i++)
        pthread_create(&workers[i].thread, NULL, use_everything, &workers[i]);
    for (int i = 0; i < 64; i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK(workers[i].is_right);
    }
}

static void *encode_forever(void *raw) {
    (void)raw;
    float y[SIZE];
    while (dim_encode(shared_model(), images, N, y, NULL) == DIM_OK)
        ;
    return NULL;
}

static void exit_while_it_encodes(int ms) {
    pthread_t thread;
    for (int i = 0; i < 2; i++)
        pthread_create(&thread, NULL, encode_forever, NULL);
    nanosleep(&(struct timespec){0, 1000000L * ms}, NULL);
    harness_forget();
    exit(0);    /* with atexit handlers and destructors */
}

static void *load_forever(void *raw) {
    (void)raw;
    while (dim_model_load(shared_model(), weights) == DIM_OK)
        ;
    return NULL;
}

static void exit_while_it_loads(int ms) {
    pthread_t thread;
    pthread_create(&thread, NULL, load_forever, NULL);
    nanosleep(&(struct timespec){0, 1000000L * ms}, NULL);
    harness_forget();
    exit(0);
}

static void exits(void) {
    for (int ms = 1; ms < 200; ms += 37) {
        CHECK(in_child(exit_while_it_encodes, ms));
        CHECK(in_child(exit_while_it_loads, ms));
    }
}

int main(void) {
    dim_trainer *trainer = NULL;
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * N, 1);
    snprintf(weights, sizeof weights, "%s", scratch_path("weights.h5"));
    snprintf(checkpoint, sizeof checkpoint, "%s", scratch_path("checkpoint.h5"));
    MUST(dim_encode(shared_model(), images, N, expected, NULL));
    MUST(dim_model_save(shared_model(), weights));
    MUST(dim_trainer_create(shared_model(), NULL, &trainer));
    MUST(dim_trainer_save(trainer, checkpoint));
    dim_trainer_free(trainer);
    dl_iterate_phdr(find_own_code, NULL);
    RUN(a_large_allocation_fails);
    RUN(an_allocation_of_any_size_fails);
    RUN(all_memory_is_gone_from_some_point_on);
    RUN(address_space_used_up);
    RUN(files_in_little_memory);
    RUN(truncated_while_it_is_read);
    RUN(sixty_four_threads);
    RUN(exits);
    return harness_finish();
}

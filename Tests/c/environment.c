/* What a thread of the host brings along: rounding, flushed subnormal numbers, exceptions that trap, a small stack. Results do
 * not depend on it, and it is as it was after each call. */
#include "harness.h"
#include "untrusted.h"

#include <fenv.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 4 };

static float images[DIM_NOTEBOOK_IMAGE_SIZE * N];

static uint64_t checksum(uint64_t hash, const void *bytes, size_t count) { /* FNV-1a */
    for (size_t i = 0; i < count; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(1099511628211);
    return hash;
}

#if defined(__x86_64__)
static unsigned mxcsr(void) {
    unsigned word;
    __asm__ volatile("stmxcsr %0" : "=m"(word));
    return word & ~0x3fu;       /* without the exceptions that have been */
}
/* With the word of long double's unit, which fesetround sets as well. */
static unsigned control(void) {
    unsigned short word;
    __asm__ volatile("fnstcw %0" : "=m"(word));
    return mxcsr() | (unsigned)word << 16;
}
static void set_mxcsr(unsigned word) { __asm__ volatile("ldmxcsr %0" ::"m"(word)); }
#else
static unsigned mxcsr(void) { return 0; }
static unsigned control(void) { return (unsigned)fegetround(); }
static void set_mxcsr(unsigned unused) { (void)unused; }
#endif

enum { PLAIN, UPWARD, FLUSHED, TRAPS, KINDS };

static void disturb(int kind) {
    if (kind == UPWARD)
        fesetround(FE_UPWARD);
    if (kind == FLUSHED)
        set_mxcsr(mxcsr() | 0x8040);        /* FTZ and DAZ */
    if (kind == TRAPS)
        feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW | FE_UNDERFLOW);
}

static unsigned in_callback;

static int callback(float *values, size_t count, void *context) {
    (void)count;
    dim_model *other = context;
    in_callback = control();
    bool training;
    return values == NULL || dim_model_is_training(other, &training) != DIM_OK || control() != in_callback;
}

/* The bits of how far a rate below the normal numbers moves what was 0, a batch norm's bias: by nothing where such numbers are
 * flushed. Bits, since this thread itself may flush. */
static uint32_t smallest_step(dim_model *model, const float *y) {
    static const int64_t labels[N] = {1, 2, 3, 4};
    dim_classifier_trainer *trainer = NULL;
    dim_classifier_options options;
    uint32_t bias[15], largest = 0;
    MUST(dim_classifier_options_init(&options, sizeof options));
    options.learning_rate = 1e-40;
    MUST(dim_classifier_trainer_create(model, &options, &trainer));
    MUST(dim_classifier_trainer_step_encoded(trainer, y, labels, N, NULL));
    MUST(dim_model_get_parameter(model, "classifier.bn1.bias", bias, sizeof bias));
    dim_classifier_trainer_free(trainer);
    for (int i = 0; i < 15; i++)
        if ((bias[i] & 0x7fffffff) > largest)
            largest = bias[i] & 0x7fffffff;
    return largest;
}

/* Everything that computes, with so many threads; a checksum of all results, 0 where the environment did not come back. */
static uint64_t compute(int kind, int threads) {
    float y[DIM_NOTEBOOK_ENCODED_SIZE * N], scores[DIM_NOTEBOOK_LOCAL_SIZE * N], p[DIM_NOTEBOOK_CLASSES * N];
    float weight[64 * 3 * 16], variance[512];
    float *features = take(sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N);
    dim_model *model = NULL;
    dim_trainer *trainer = NULL;
    dim_losses losses;
    uint64_t hash = UINT64_C(14695981039346656037);
    disturb(kind);
    unsigned before = control();
    MUST(dim_set_num_threads(threads));
    MUST(dim_model_create(1, &model));
    MUST(dim_encode(model, images, N, y, features));
    hash = checksum(checksum(hash, y, sizeof y), features, sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N);
    MUST(dim_score_local(model, y, features, N, scores));
    hash = checksum(hash, scores, sizeof scores);
    MUST(dim_score_prior(model, y, N, scores));
    hash = checksum(hash, scores, sizeof(float) * N);
    MUST(dim_classify(model, y, N, p));
    hash = checksum(hash, p, sizeof p);
    MUST(dim_trainer_create(model, NULL, &trainer));
    MUST(dim_trainer_set_gradient_callback(trainer, callback, model));
    MUST(dim_trainer_step(trainer, images, N, &losses));
    hash = checksum(hash, &losses, sizeof losses);
    MUST(dim_model_get_parameter(model, "encoder.c0.weight", weight, sizeof weight));
    MUST(dim_model_get_parameter(model, "encoder.b3.running_var", variance, sizeof variance));
    hash = checksum(checksum(hash, weight, sizeof weight), variance, sizeof variance);
    uint32_t small = smallest_step(model, y);
    hash = small > 0 && small < 0x00800000 ? checksum(hash, &small, sizeof small) : 0;
    dim_trainer_free(trainer);
    dim_model_free(model);
    free(features);
    return control() == before && in_callback == before ? hash : 0;
}

/* In a process of its own, where the library is used for the first time. `then`: a second kind of thread, later. */
static uint64_t in_child(int first, int then, int threads) {
    int channel[2];
    uint64_t hash = 0;
    if (pipe(channel) != 0)
        return 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        hash = compute(first, threads);
        fesetenv(FE_DFL_ENV);
        set_mxcsr(0x1f80);
        if (hash != 0 && then != first)
            hash = compute(then, threads);
        _exit(write(channel[1], &hash, sizeof hash) == (ssize_t)sizeof hash ? 0 : 1);
    }
    close(channel[1]);
    if (read(channel[0], &hash, sizeof hash) != (ssize_t)sizeof hash)
        hash = 0;
    close(channel[0]);
    waitpid(child, NULL, 0);
    return hash;
}

static uint64_t expected;

static void plain(void) {
    expected = in_child(PLAIN, PLAIN, 2);
    CHECK(expected != 0);
    CHECK(in_child(PLAIN, PLAIN, 1) == expected);
}

static void rounding(void) {
    CHECK(in_child(UPWARD, UPWARD, 1) == expected);
    CHECK(in_child(UPWARD, PLAIN, 3) == expected);      /* the library's threads were made in the first call */
}

static void flushed_subnormals(void) {
    CHECK(in_child(FLUSHED, FLUSHED, 1) == expected);
    CHECK(in_child(FLUSHED, PLAIN, 3) == expected);
}

static void traps(void) { CHECK(in_child(TRAPS, TRAPS, 2) == expected); }

/* ---- The stack of the calling thread ---- */

static void any_architecture(void) {
    static float drawn[28 * 28 * N], y[64 * N];
    static const char text[] = "{\"preset\":\"basic28\",\"image\":{\"channels\":1}}";
    static const char brackets[] = "[[[[[[[[[[[[[[[[[[[[[[[[";
    dim_architecture *architecture = NULL, *bad = NULL;
    dim_model *model = NULL, *opened = NULL;
    dim_trainer *trainer = NULL;
    const dim_open_options options = {.struct_size = sizeof options, .any_architecture = true};
    dim_losses losses;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("stack-any.h5"));
    fill(drawn, 28 * 28 * N, 1);
    MUST(dim_architecture_parse(text, sizeof text - 1, &architecture));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_architecture_parse(brackets, sizeof brackets - 1, &bad));
    MUST(dim_model_create_with(architecture, 1, &model));
    MUST(dim_encode(model, drawn, N, y, NULL));
    MUST(dim_trainer_create(model, NULL, &trainer));
    MUST(dim_trainer_step(trainer, drawn, N, &losses));
    MUST(dim_trainer_save(trainer, path));
    MUST(dim_model_open_with(path, &options, &opened));
    dim_trainer_free(trainer);
    dim_model_free(model);
    dim_model_free(opened);
    dim_architecture_free(architecture);
}

/* Everything that a small thread might do; ends the program where the stack is too small. */
static void *every_call(void *right) {
    static float y[DIM_NOTEBOOK_ENCODED_SIZE * N], scores[DIM_NOTEBOOK_LOCAL_SIZE * N], p[DIM_NOTEBOOK_CLASSES * N];
    static const int64_t labels[N] = {1, 2, 3, 4};
    float *features = take(sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N);
    dim_model *model = NULL, *opened = NULL, *untrusted = NULL;
    dim_trainer *trainer = NULL, *resumed = NULL;
    dim_classifier_trainer *classifier = NULL;
    dim_classifier_options options;
    dim_losses losses;
    char path[512];
    snprintf(path, sizeof path, "%s", scratch_path("stack.h5"));
    MUST(dim_model_create(1, &model));
    for (int training = 0; training < 2; training++) {
        MUST(dim_model_set_training(model, training));
        MUST(dim_encode(model, images, N, y, features));
        MUST(dim_score_local(model, y, features, N, scores));
        MUST(dim_score_global(model, y, features, N, scores));
        MUST(dim_score_prior(model, y, N, scores));
        MUST(dim_classify(model, y, N, p));
    }
    MUST(dim_trainer_create(model, NULL, &trainer));
    MUST(dim_trainer_step(trainer, images, N, &losses));
    MUST(dim_trainer_evaluate(trainer, images, N, &losses));
    MUST(dim_classifier_options_init(&options, sizeof options));
    options.encoder = DIM_ENCODER_TRAINED;
    MUST(dim_classifier_trainer_create(model, &options, &classifier));
    MUST(dim_classifier_trainer_step(classifier, images, labels, N, NULL));
    MUST(dim_trainer_save(trainer, path));
    MUST(dim_trainer_resume(path, &resumed));
    MUST(dim_model_open(path, &opened));
    MUST(open_untrusted(path, &untrusted));
    MUST(dim_model_load(model, path));
    CHECK_STATUS(DIM_IO, dim_model_load(model, "/no/such/file.h5"));
    dim_build_info();
    any_architecture();
    dim_classifier_trainer_free(classifier);
    dim_trainer_free(trainer);
    dim_trainer_free(resumed);
    dim_model_free(model);
    dim_model_free(opened);
    dim_model_free(untrusted);
    free(features);
    *(bool *)right = true;
    return NULL;
}

/* With half of what dim.h states. */
static void stack_of_the_caller(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    bool right = false;
    pthread_attr_init(&attributes);
    CHECK(pthread_attr_setstacksize(&attributes, DIM_STACK_SIZE / 2) == 0);
    CHECK(pthread_create(&thread, &attributes, every_call, &right) == 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&attributes);
    CHECK(right);
}

int main(void) {
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * N, 1);
    RUN(plain);
    RUN(rounding);
    RUN(flushed_subnormals);
    RUN(traps);
    RUN(stack_of_the_caller);
    return harness_finish();
}

/* fork(): a child of a process that has used the library uses it too, and so does the parent afterwards. */
#include "harness.h"
#include "untrusted.h"

#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 3, SIZE = DIM_NOTEBOOK_ENCODED_SIZE * N };

static float images[DIM_NOTEBOOK_IMAGE_SIZE * N], expected[SIZE];

static bool encodes_the_same(dim_model *model) {
    float y[SIZE];
    return dim_encode(model, images, N, y, NULL) == DIM_OK && memcmp(y, expected, sizeof y) == 0;
}

/* Runs the function in a child; true if it said true within a minute. */
static bool in_child(bool (*function)(dim_model *)) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(300);
        _exit(function(shared_model()) ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool grandchild(dim_model *model) { return encodes_the_same(model) && in_child(encodes_the_same); }

static bool with_threads(dim_model *model) {
    return dim_num_threads() == 2 && dim_set_num_threads(4) == DIM_OK && encodes_the_same(model) && dim_num_threads() == 4;
}

static bool own_model(dim_model *model) {
    dim_model *mine = NULL, *back = NULL;
    bool right = dim_model_create(7, &mine) == DIM_OK && mine != model && encodes_the_same(mine) &&
                 dim_model_save(mine, scratch_path("child.h5")) == DIM_OK &&
                 dim_model_open(scratch_path("child.h5"), &back) == DIM_OK && encodes_the_same(back);
    dim_model_free(mine);
    dim_model_free(back);
    return right && encodes_the_same(model);
}

static int at_the_start;

static void *call_together(void *unused) {
    (void)unused;
    __atomic_add_fetch(&at_the_start, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&at_the_start, __ATOMIC_SEQ_CST) < 2)
        ;
    dim_version();
    dim_architecture_preset_name(0);
    dim_status_name(1);
    return NULL;
}

/* Swift's runtime has locks for what is made at its first use. One child of five hung at such a lock: Sources/CReserve/thread_id.c. */
static void threads_of_a_child_begin_together(void) {
    fflush(NULL);
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            alarm(60);
            if (pthread_create(&thread, NULL, call_together, NULL) != 0)
                _exit(1);
            call_together(NULL);
            _exit(pthread_join(thread, NULL));
        }
        int status = -1;
        waitpid(child, &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            harness_check(false, __FILE__, __LINE__, "child %d ended with status %#x", i, (unsigned)status);
            return;
        }
    }
}

static void before_any_use(void) {
    /* Nothing but a handle exists yet: the child is the first to compute. */
    CHECK(in_child(own_model) || !"a child computes first");
}

static void after_use(void) {
    MUST(dim_set_num_threads(2));
    CHECK(encodes_the_same(shared_model()));
    CHECK(in_child(encodes_the_same));
    CHECK(encodes_the_same(shared_model()));
    CHECK(in_child(grandchild));
    CHECK(in_child(with_threads));
    CHECK(dim_num_threads() == 2);      /* the child's number is the child's */
    CHECK(in_child(own_model));
    CHECK(encodes_the_same(shared_model()));
}

static void several_children_at_once(void) {
    pid_t children[4];
    fflush(NULL);
    for (int i = 0; i < 4; i++) {
        if ((children[i] = fork()) == 0) {
            alarm(300);
            _exit(encodes_the_same(shared_model()) ? 0 : 1);
        }
    }
    CHECK(encodes_the_same(shared_model()));
    for (int i = 0; i < 4; i++) {
        int status = -1;
        waitpid(children[i], &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

/* ---- A fork in the middle of other threads' calls ---- */

static dim_trainer *trainer;
static char weights[512];

static void *encode(void *unused) {
    (void)unused;
    while (!stopped())
        encodes_the_same(shared_model());
    return NULL;
}

/* The shortest calls there are, so that forks meet their locks. */
static void *look(void *unused) {
    (void)unused;
    while (!stopped()) {
        dim_model_parameter_count(shared_model());
        dim_num_threads();
    }
    return NULL;
}

static void *swap(void *unused) {
    dim_model *model = NULL;
    (void)unused;
    MUST(dim_model_create(3, &model));
    while (!stopped())
        MUST(dim_model_load(model, weights));
    dim_model_free(model);
    return NULL;
}

static void *train(void *unused) {
    (void)unused;
    while (!stopped())
        MUST(dim_trainer_step(trainer, images, N, NULL));
    return NULL;
}

static bool opens_untrusted(dim_model *model) {
    dim_model *opened = NULL;
    bool right = open_untrusted(weights, &opened) == DIM_OK && encodes_the_same(opened);
    dim_model_free(opened);
    return right && encodes_the_same(model);
}

static bool opens_or_says_why(dim_model *model) {
    dim_model *opened = NULL;
    dim_status status = dim_model_open(weights, &opened);
    bool right = status == DIM_OK || (status == DIM_IO && strstr(dim_last_error(), "was forked while another") != NULL);
    dim_model_free(opened);
    return right && encodes_the_same(model);
}

static bool steps_or_says_why(dim_model *model) {
    dim_status status = dim_trainer_step(trainer, images, N, NULL);
    return encodes_the_same(model) &&
           (status == DIM_OK || (status == DIM_INVALID_HANDLE && strstr(dim_last_error(), "forked while a call was using it") != NULL));
}

static void in_the_middle_of_calls(void) {
    static void *(*const bodies[])(void *) = {encode, look, look, swap, train};
    static bool (*const children[])(dim_model *) = {encodes_the_same, opens_untrusted, opens_or_says_why, steps_or_says_why};
    dim_model *trained = NULL;
    pthread_t threads[5];
    snprintf(weights, sizeof weights, "%s", scratch_path("weights.h5"));
    MUST(dim_model_save(shared_model(), weights));
    MUST(dim_model_create(5, &trained));
    MUST(dim_trainer_create(trained, NULL, &trainer));
    for (int i = 0; i < 5; i++)
        pthread_create(&threads[i], NULL, bodies[i], NULL);
    for (int i = 0; i < 40; i++) {
        nanosleep(&(struct timespec){0, 3000000 + i * 400000}, NULL);
        CHECK(in_child(children[i % 4]));
    }
    tell_to_stop(true);
    for (int i = 0; i < 5; i++)
        pthread_join(threads[i], NULL);
    dim_trainer_free(trainer);
    dim_model_free(trained);
}

/* Each model's first pass makes its plan, which asks how many threads there are. */
static void *make_models(void *unused) {
    float *pixels = calloc(1, 28 * 28 * sizeof *pixels), y[128];
    dim_architecture *small = NULL;
    (void)unused;
    MUST(dim_architecture_preset("basic28", &small));
    while (!stopped()) {
        dim_model *model = NULL;
        MUST(dim_model_create_with(small, 1, &model));
        MUST(dim_encode(model, pixels, 1, y, NULL));
        dim_model_free(model);
    }
    dim_architecture_free(small);
    free(pixels);
    return NULL;
}

/* The parent waited for ever: a thread that made a plan held what fork waits for, and waited for the thread that forked. */
static void while_models_are_made(void) {
    pthread_t threads[4];
    tell_to_stop(false);
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, make_models, NULL);
    for (int i = 0; i < 100; i++) {
        nanosleep(&(struct timespec){0, 5000000}, NULL);
        alarm(120);
        pid_t child = fork();
        alarm(0);
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
    }
    tell_to_stop(true);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* ---- How long a fork waits ---- */

enum { BUSY = 32 };

static void *score(void *unused) {
    float y[DIM_NOTEBOOK_ENCODED_SIZE] = {0}, p;
    (void)unused;
    while (!stopped())
        MUST(dim_score_prior(shared_model(), y, 1, &p));
    return NULL;
}

/* A fork that would wait for ever ends when the others stop. */
static void *stop_in_a_while(void *unused) {
    (void)unused;
    for (int i = 0; i < 300 && !stopped(); i++)
        nanosleep(&(struct timespec){0, 100000000}, NULL);
    tell_to_stop(true);
    return NULL;
}

static void *spin(void *unused) {
    (void)unused;
    while (!stopped())
        ;
    return NULL;
}

/* The longest of ten forks beside `count` threads in the call. */
static double longest_wait(void *(*call)(void *), int count) {
    pthread_t threads[BUSY], watch;
    double longest = 0;
    tell_to_stop(false);
    for (int i = 0; i < count; i++)
        pthread_create(&threads[i], NULL, call, NULL);
    pthread_create(&watch, NULL, stop_in_a_while, NULL);
    for (int i = 0; i < 10 && !stopped(); i++) {
        nanosleep(&(struct timespec){0, 5000000}, NULL);
        double before = now();
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        double wait = now() - before;
        longest = wait > longest ? wait : longest;
        waitpid(child, NULL, 0);
    }
    tell_to_stop(true);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    pthread_join(watch, NULL);
    return longest;
}

/* The bound that dim.h states. */
static void forks_wait_little(void) {
    /* Of steps and swaps a few: they wait for each other, and each swap has a model of its own. */
    static const struct {
        void *(*call)(void *);
        int threads;
        const char *name;
    } calls[] = {{look, BUSY, "look"}, {score, BUSY, "score"}, {encode, BUSY, "encode"}, {train, 4, "train"}, {swap, 2, "swap"}};
    dim_model *trained = NULL;
    MUST(dim_set_num_threads(0));
    MUST(dim_model_create(5, &trained));
    MUST(dim_trainer_create(trained, NULL, &trainer));
    for (size_t c = 0; c < sizeof calls / sizeof calls[0]; c++) {
        /* What threads that call nothing, and other processes, take of the machine is not the library's. */
        double least = 1e9;
        for (int again = 0; again < 5 && least >= 0.2; again++) {
            double others = longest_wait(spin, calls[c].threads);
            double wait = longest_wait(calls[c].call, calls[c].threads) - others;
            least = wait < least ? wait : least;
        }
        harness_check(least < 0.2, __FILE__, __LINE__, "a fork beside %d threads in %s waited %.3f s", calls[c].threads,
                      calls[c].name, least);
    }
    dim_trainer_free(trainer);
    dim_model_free(trained);
}

int main(void) {
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * N, 1);
    scratch_path("made before the first fork");
    RUN(threads_of_a_child_begin_together);     /* before this process calls anything */
    /* What is expected comes from a child, so that before_any_use forks a process that never computed. */
    int channel[2];
    if (pipe(channel) != 0)
        return 1;
    shared_model();
    pid_t child = fork();
    if (child == 0) {
        MUST(dim_encode(shared_model(), images, N, expected, NULL));
        _exit(write(channel[1], expected, sizeof expected) == (ssize_t)sizeof expected ? 0 : 1);
    }
    close(channel[1]);
    for (size_t got = 0; got < sizeof expected;) {
        ssize_t more = read(channel[0], (char *)expected + got, sizeof expected - got);
        if (more <= 0)
            return 1;
        got += (size_t)more;
    }
    waitpid(child, NULL, 0);
    RUN(before_any_use);
    RUN(after_use);
    RUN(several_children_at_once);
    RUN(in_the_middle_of_calls);
    RUN(while_models_are_made);
    RUN(forks_wait_little);
    return harness_finish();
}

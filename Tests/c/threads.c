/* Threads: one handle in several, swaps and frees while others work, results that depend on none of it. */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { N = 5, SIZE = DIM_NOTEBOOK_ENCODED_SIZE * N };

typedef struct outputs {
    float y[SIZE], M[DIM_NOTEBOOK_FEATURES_SIZE * N], g[N], l[DIM_NOTEBOOK_LOCAL_SIZE * N], p[N], c[DIM_NOTEBOOK_CLASSES * N];
} outputs;

static float images[DIM_NOTEBOOK_IMAGE_SIZE * N];

static void forward(dim_model *model, outputs *o) {
    MUST(dim_encode(model, images, N, o->y, o->M));
    MUST(dim_score_global(model, o->y, o->M, N, o->g));
    MUST(dim_score_local(model, o->y, o->M, N, o->l));
    MUST(dim_score_prior(model, o->y, N, o->p));
    MUST(dim_classify(model, o->y, N, o->c));
}

/* The same bytes on 1, 2, 3, 4 and 7 threads, in both modes; the running statistics too. */
static void number_of_threads(void) {
    static const int numbers[] = {1, 2, 3, 4, 7};
    outputs *first[2] = {take(sizeof(outputs)), take(sizeof(outputs))}, *o = take(sizeof *o);
    float variance[512], first_variance[512];
    for (int i = 0; i < 5; i++) {
        MUST(dim_set_num_threads(numbers[i]));
        for (int training = 0; training < 2; training++) {
            dim_model *model = NULL;
            MUST(dim_model_create(4, &model));
            MUST(dim_model_set_training(model, training));
            forward(model, i == 0 ? first[training] : o);
            CHECK(i == 0 || memcmp(o, first[training], sizeof *o) == 0);
            MUST(dim_model_get_parameter(model, "encoder.b3.running_var", variance, sizeof variance));
            if (i == 0)
                memcpy(first_variance, variance, sizeof variance);
            else if (training)
                CHECK(memcmp(first_variance, variance, sizeof variance) == 0);
            dim_model_free(model);
        }
    }
    MUST(dim_set_num_threads(0));
    free(first[0]);
    free(first[1]);
    free(o);
}

/* One image's vector does not depend on the images beside it. */
static void place_in_the_batch(void) {
    float all[SIZE], one[DIM_NOTEBOOK_ENCODED_SIZE], two[2 * DIM_NOTEBOOK_ENCODED_SIZE];
    MUST(dim_encode(shared_model(), images, N, all, NULL));
    float *features = take(sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N), again[SIZE];
    MUST(dim_encode(shared_model(), images, N, again, features));
    CHECK(memcmp(all, again, sizeof all) == 0);     /* nor on whether the features are wanted */
    free(features);
    double largest = 0, square = 0;
    for (int i = 0; i < N; i++) {
        MUST(dim_encode(shared_model(), images + i * DIM_NOTEBOOK_IMAGE_SIZE, 1, one, NULL));
        for (int k = 0; k < DIM_NOTEBOOK_ENCODED_SIZE; k++) {
            double difference = (double)one[k] - (double)all[i * DIM_NOTEBOOK_ENCODED_SIZE + k];
            largest = difference > largest ? difference : -difference > largest ? -difference : largest;
            square += (double)one[k] * (double)one[k];
        }
    }
    /* Another batch size may choose another algorithm, so not bit for bit: the square of 1e-4 of the rms. */
    CHECK(largest * largest < 1e-8 * square / SIZE);
    MUST(dim_encode(shared_model(), images, 2, two, NULL));
}

typedef struct worker {
    pthread_t thread;
    dim_model *model;
    const float *expected, *other;
    int rounds, seen[2];
    bool right;
    dim_status last;
} worker;

static void *encode_again_and_again(void *raw) {
    worker *w = raw;
    float y[SIZE];
    w->right = true;
    for (int i = 0; i < w->rounds && !stopped(); i++) {
        w->last = dim_encode(w->model, images, N, y, NULL);
        bool a = memcmp(y, w->expected, sizeof y) == 0, b = w->other != NULL && memcmp(y, w->other, sizeof y) == 0;
        w->right = w->right && w->last == DIM_OK && (a || b);
        w->seen[0] += a;
        w->seen[1] += b;
    }
    return NULL;
}

static void several_threads_on_one_handle(void) {
    float expected[SIZE];
    MUST(dim_encode(shared_model(), images, N, expected, NULL));
    worker workers[4];
    for (int i = 0; i < 4; i++) {
        workers[i] = (worker){.model = shared_model(), .expected = expected, .rounds = 8};
        pthread_create(&workers[i].thread, NULL, encode_again_and_again, &workers[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK(workers[i].right);
        CHECK(workers[i].seen[0] == 8);
    }
}

static void *forward_again_and_again(void *raw) {
    worker *w = raw;
    const outputs *expected = (const outputs *)(const void *)w->expected;
    outputs *o = take(sizeof *o);
    w->right = true;
    for (int i = 0; i < w->rounds; i++) {
        forward(w->model, o);
        w->right = w->right && memcmp(o, expected, sizeof *o) == 0;
    }
    free(o);
    return NULL;
}

/* The number of threads changes while calls run: no call notices. */
static void number_changes_meanwhile(void) {
    outputs *expected = take(sizeof *expected);
    forward(shared_model(), expected);
    worker workers[2];
    for (int i = 0; i < 2; i++) {
        workers[i] = (worker){.model = shared_model(), .expected = expected->y, .rounds = 15};
        pthread_create(&workers[i].thread, NULL, forward_again_and_again, &workers[i]);
    }
    for (int i = 0; i < 1000; i++) {
        MUST(dim_set_num_threads(1 + i % 8));
        nanosleep(&(struct timespec){0, 500000}, NULL);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK(workers[i].right);
    }
    MUST(dim_set_num_threads(0));
    free(expected);
}

/* A swap is atomic: every answer is all of A's or all of B's. */
static void hot_swap(void) {
    dim_model *a = NULL, *b = NULL, *model = NULL;
    float from_a[SIZE], from_b[SIZE];
    MUST(dim_model_create(100, &a));
    MUST(dim_model_create(200, &b));
    MUST(dim_model_save(a, scratch_path("a.h5")));
    MUST(dim_model_save(b, scratch_path("b.h5")));
    MUST(dim_encode(a, images, N, from_a, NULL));
    MUST(dim_encode(b, images, N, from_b, NULL));
    MUST(dim_model_create(100, &model));
    worker workers[2];
    tell_to_stop(false);
    for (int i = 0; i < 2; i++) {
        workers[i] = (worker){.model = model, .expected = from_a, .other = from_b, .rounds = 1000000};
        pthread_create(&workers[i].thread, NULL, encode_again_and_again, &workers[i]);
    }
    for (int i = 0; i < 8; i++) {
        CHECK_STATUS(DIM_OK, dim_model_load(model, i % 2 ? scratch_path("a.h5") : scratch_path("b.h5")));
        CHECK_STATUS(DIM_IO, dim_model_load(model, scratch_path("missing.h5")));
        float y[SIZE];
        MUST(dim_encode(model, images, N, y, NULL));
        CHECK(memcmp(y, i % 2 ? from_a : from_b, sizeof y) == 0);
    }
    tell_to_stop(true);
    for (int i = 0; i < 2; i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK(workers[i].right);
    }
    CHECK(workers[0].seen[1] + workers[1].seen[1] > 0);
    tell_to_stop(false);
    dim_model_free(a);
    dim_model_free(b);
    dim_model_free(model);
}

static void *encode_until_freed(void *raw) {
    worker *w = raw;
    float y[SIZE];
    w->right = true;
    do {
        paint(y, sizeof y);
        w->last = dim_encode(w->model, images, N, y, NULL);
        w->right = w->right && (w->last == DIM_OK ? memcmp(y, w->expected, sizeof y) == 0 : painted(y, sizeof y));
    } while (w->last == DIM_OK);
    return NULL;
}

static void freed_while_in_use(void) {
    float expected[SIZE];
    MUST(dim_encode(shared_model(), images, N, expected, NULL));
    for (int round = 0; round < 4; round++) {
        dim_model *model = NULL;
        MUST(dim_model_create(7, &model));      /* the seed of shared_model */
        worker workers[2];
        for (int i = 0; i < 2; i++) {
            workers[i] = (worker){.model = model, .expected = expected};
            pthread_create(&workers[i].thread, NULL, encode_until_freed, &workers[i]);
        }
        nanosleep(&(struct timespec){0, 30000000L * (round + 1)}, NULL);
        dim_model_free(model);
        for (int i = 0; i < 2; i++) {
            pthread_join(workers[i].thread, NULL);
            CHECK(workers[i].right);
            CHECK(workers[i].last == DIM_INVALID_HANDLE);
        }
    }
}

static void *with_all_signals_blocked(void *raw) {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    return encode_again_and_again(raw);
}

static volatile sig_atomic_t signals;
static void count_signal(int number) {
    (void)number;
    signals++;
}

static void signals_and_threads(void) {
    float expected[SIZE];
    MUST(dim_encode(shared_model(), images, N, expected, NULL));
    worker w = {.model = shared_model(), .expected = expected, .rounds = 10};
    pthread_create(&w.thread, NULL, with_all_signals_blocked, &w);
    pthread_join(w.thread, NULL);
    CHECK(w.right);

    /* The library's threads take none of the host's signals: with it blocked here, it stays pending. */
    sigset_t one, before, pending;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    signal(SIGUSR1, count_signal);
    pthread_sigmask(SIG_BLOCK, &one, &before);
    kill(getpid(), SIGUSR1);
    nanosleep(&(struct timespec){0, 50000000}, NULL);
    sigpending(&pending);
    CHECK(signals == 0 && sigismember(&pending, SIGUSR1));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK(signals == 1);
}

/* ---- Readers while a step updates the weights ---- */

static double updating_since, longest_gap;

static int update_begins(float *values, size_t count, void *context) {
    (void)values, (void)count, (void)context;
    updating_since = now();
    return 0;
}

/* How long a look at the model takes at most, from the last reset on. */
static void *look(void *model) {
    double last = now();
    bool training;
    while (!stopped()) {
        MUST(dim_model_is_training(model, &training));
        double time = now(), gap;
        __atomic_load(&longest_gap, &gap, __ATOMIC_SEQ_CST);
        if (time - last > gap) {
            gap = time - last;
            __atomic_store(&longest_gap, &gap, __ATOMIC_SEQ_CST);
        }
        last = time;
    }
    return NULL;
}

/* The new weights are made beside the old ones: nobody waits for Adam. The best of several steps, for a busy machine. */
static void updates_block_nobody(void) {
    dim_model *model = NULL;
    dim_trainer *trainer = NULL;
    pthread_t reader;
    double least = 1, none = 0, gap;
    MUST(dim_model_create(6, &model));
    MUST(dim_trainer_create(model, NULL, &trainer));
    MUST(dim_trainer_set_gradient_callback(trainer, update_begins, NULL));
    tell_to_stop(false);
    pthread_create(&reader, NULL, look, model);
    for (int i = 0; i < 8; i++) {
        MUST(dim_trainer_accumulate(trainer, images, 2, NULL));
        __atomic_store(&longest_gap, &none, __ATOMIC_SEQ_CST);
        MUST(dim_trainer_update(trainer));
        __atomic_load(&longest_gap, &gap, __ATOMIC_SEQ_CST);
        double share = gap / (now() - updating_since);
        least = share < least ? share : least;
    }
    tell_to_stop(true);
    pthread_join(reader, NULL);
    harness_check(least < 0.4, __FILE__, __LINE__, "a look at the model waited for %.0f%% of an update", 100 * least);
    dim_trainer_free(trainer);
    dim_model_free(model);
}

int main(void) {
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * N, 1);
    RUN(number_of_threads);
    RUN(place_in_the_batch);
    RUN(several_threads_on_one_handle);
    RUN(number_changes_meanwhile);
    RUN(hot_swap);
    RUN(freed_while_in_use);
    RUN(signals_and_threads);
    RUN(updates_block_nobody);
    return harness_finish();
}

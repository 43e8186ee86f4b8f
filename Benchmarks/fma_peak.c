/*
 * fma_peak THREADS - the most float32 operations a second that this machine's cores can do: fused
 * multiply-adds on registers alone, in the widest vectors that the compiler was allowed (-march=native).
 * Prints GFLOP/s of all threads together, the best of several tries.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined(__AVX512F__)
enum { WIDTH = 16, CHAINS = 24 };
#elif defined(__AVX__)
enum { WIDTH = 8, CHAINS = 12 };
#else
enum { WIDTH = 4, CHAINS = 12 };
#endif
typedef float vector __attribute__((vector_size(WIDTH * sizeof(float))));

enum { ROUNDS = 4000000, TRIES = 10, MOST_THREADS = 1024 };
static pthread_barrier_t barrier;

/* A thread's own: the main thread may not get a core in time to look at the clock for others. */
static struct thread {
    double start[TRIES], end[TRIES];
    float used;
} threads_of_run[MOST_THREADS];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *work(void *argument) {
    struct thread *own = argument;
    vector sums[CHAINS], a, b;
    for (int i = 0; i < WIDTH; i++) {
        a[i] = 0.999f;
        b[i] = 1e-3f;
    }
    for (int i = 0; i < CHAINS; i++)
        sums[i] = a + (float)i;
    for (int try = 0; try < TRIES; try++) {
        pthread_barrier_wait(&barrier);
        own->start[try] = now();
        for (int round = 0; round < ROUNDS; round++) {
#pragma GCC unroll 24
            for (int i = 0; i < CHAINS; i++)
                sums[i] = sums[i] * a + b;
            __asm__ volatile("" : "+x"(a), "+x"(b));       /* nothing may be moved out of the loop */
        }
        own->end[try] = now();
    }
    for (int i = 0; i < CHAINS; i++)
        own->used += sums[i][0];
    return NULL;
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1;
    if (threads < 1 || threads > MOST_THREADS)
        return 2;
    static pthread_t handles[MOST_THREADS];
    pthread_barrier_init(&barrier, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&handles[i], NULL, work, &threads_of_run[i]) != 0)
            return 1;
    float used = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(handles[i], NULL);
        used += threads_of_run[i].used;
    }
    double best = 0;
    for (int try = 0; try < TRIES; try++) {
        double start = threads_of_run[0].start[try], end = threads_of_run[0].end[try];
        for (int i = 1; i < threads; i++) {
            const struct thread *t = &threads_of_run[i];
            start = t->start[try] < start ? t->start[try] : start;
            end = t->end[try] > end ? t->end[try] : end;
        }
        double rate = 2.0 * WIDTH * CHAINS * ROUNDS * threads / (end - start) / 1e9;
        best = rate > best ? rate : best;
    }
    return printf("%.1f\n", best) < 0 || used < 0;
}

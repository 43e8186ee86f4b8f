/*
 * core_latency - how long a store of one core takes to be seen by another: one way, in nanoseconds, the median of several
 * tries. Two threads pass a number to and fro through one cache line. On some machines it changes between runs by several
 * times, and with it the speed of everything that cores share.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 20000, TRIES = 9 };
static _Alignas(128) atomic_int ball;
/* A thread could not be moved to its core: nobody waits for it. */
static atomic_int failed;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* To the n-th of the cores that this process may use. */
static void move_to(int n) {
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        for (int core = 0; core < CPU_SETSIZE && CPU_COUNT(&one) == 0; core++)
            if (CPU_ISSET(core, &allowed) && n-- == 0)
                CPU_SET(core, &one);
    if (CPU_COUNT(&one) == 0 || pthread_setaffinity_np(pthread_self(), sizeof one, &one) != 0)
        atomic_store(&failed, 1);
}

static void play(int side) {
    for (int round = 0; round < ROUNDS; round++) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != side)
            if (atomic_load_explicit(&failed, memory_order_relaxed))
                return;
        atomic_store_explicit(&ball, 1 - side, memory_order_release);
    }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void *first(void *result) {
    move_to(0);
    double seconds[TRIES];
    for (int try = 0; try < TRIES; try++) {
        double start = now();
        play(0);
        seconds[try] = now() - start;
    }
    qsort(seconds, TRIES, sizeof *seconds, ascending);
    *(double *)result = seconds[TRIES / 2] / (2.0 * ROUNDS) * 1e9;
    return NULL;
}

static void *second(void *unused) {
    (void)unused;
    move_to(1);
    for (int try = 0; try < TRIES; try++)
        play(1);
    return NULL;
}

int main(void) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2)
        return 2;
    pthread_t threads[2];
    double nanoseconds = 0;
    if (pthread_create(&threads[0], NULL, first, &nanoseconds) != 0 ||
        pthread_create(&threads[1], NULL, second, NULL) != 0)
        return 1;
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    if (atomic_load(&failed))
        return 1;
    return printf("%.0f\n", nanoseconds) < 0;
}

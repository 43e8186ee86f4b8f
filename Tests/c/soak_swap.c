/* Hot swap under load: one thread swaps weights between two files as fast as it can while four encode. Every answer is
 * all of A's or all of B's, bit for bit, none fails, and memory stays where it was.
 * usage: soak_swap [SECONDS]      20 without; `make soak SECONDS=3600` for an hour */
#include "harness.h"
#include "untrusted.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { N = 2, SIZE = DIM_NOTEBOOK_ENCODED_SIZE * N, ENCODERS = 4, SAMPLES = 20 };

static float images[DIM_NOTEBOOK_IMAGE_SIZE * N], from_a[SIZE], from_b[SIZE];
static char path_a[512], path_b[512];
static dim_model *model;
static double seconds = 20;

typedef struct counts {
    pthread_t thread;
    unsigned long a, b, neither, failed;
} counts;

static void *encode(void *raw) {
    counts *c = raw;
    float y[SIZE];
    while (!stopped()) {
        if (dim_encode(model, images, N, y, NULL) != DIM_OK)
            c->failed++;
        else if (memcmp(y, from_a, sizeof y) == 0)
            c->a++;
        else if (memcmp(y, from_b, sizeof y) == 0)
            c->b++;
        else
            c->neither++;
    }
    return NULL;
}

/* Every tenth swap by way of the isolated reader. */
static void *swap(void *raw) {
    counts *c = raw;
    for (unsigned long i = 0; !stopped(); i++) {
        const char *path = i % 2 ? path_a : path_b;
        dim_status status = i % 10 == 9 ? load_untrusted(model, path) : dim_model_load(model, path);
        if (status != DIM_OK)
            c->failed++;
        else if (i % 2)
            c->a++;
        else
            c->b++;
    }
    return NULL;
}

static double resident_mb(void) {
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%ld %ld", &total, &resident) != 2)
        exit(1);
    fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

/* The largest of many looks in a stretch of time: how much is held varies with what runs at the moment. */
static double peak_during(double end) {
    double peak = 0;
    do {
        double mb = resident_mb();
        peak = mb > peak ? mb : peak;
        nanosleep(&(struct timespec){0, 5000000}, NULL);
    } while (now() < end);
    return peak;
}

static double largest(const double *values, int count) {
    double most = 0;
    for (int i = 0; i < count; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

static void swap_under_load(void) {
    dim_model *a = NULL, *b = NULL;
    MUST(dim_model_create(100, &a));
    MUST(dim_model_create(200, &b));
    snprintf(path_a, sizeof path_a, "%s", scratch_path("a.h5"));
    snprintf(path_b, sizeof path_b, "%s", scratch_path("b.h5"));
    MUST(dim_model_save(a, path_a));
    MUST(dim_model_save(b, path_b));
    MUST(dim_encode(a, images, N, from_a, NULL));
    MUST(dim_encode(b, images, N, from_b, NULL));
    CHECK(memcmp(from_a, from_b, sizeof from_a) != 0);
    dim_model_free(a);
    dim_model_free(b);
    MUST(dim_model_open(path_a, &model));

    counts encoders[ENCODERS] = {{.a = 0}}, swaps = {.a = 0}, sum = {.a = 0};
    for (int i = 0; i < ENCODERS; i++)
        pthread_create(&encoders[i].thread, NULL, encode, &encoders[i]);
    pthread_create(&swaps.thread, NULL, swap, &swaps);
    double start = now(), memory[SAMPLES];
    for (int i = 0; i < SAMPLES; i++)
        memory[i] = peak_during(start + seconds * (i + 1) / SAMPLES);
    tell_to_stop(true);
    pthread_join(swaps.thread, NULL);
    for (int i = 0; i < ENCODERS; i++) {
        pthread_join(encoders[i].thread, NULL);
        sum.a += encoders[i].a;
        sum.b += encoders[i].b;
        sum.neither += encoders[i].neither;
        sum.failed += encoders[i].failed;
    }
    dim_model_free(model);

    printf("%.0f s: %lu swaps; %lu answers of A, %lu of B, %lu of neither, %lu failures\nresident MB:", now() - start,
           swaps.a + swaps.b, sum.a, sum.b, sum.neither, sum.failed + swaps.failed);
    for (int i = 0; i < SAMPLES; i++)
        printf(" %.0f", memory[i]);
    printf("\n");
    CHECK(sum.neither == 0);
    CHECK(sum.failed + swaps.failed == 0);
    CHECK(sum.a > 0 && sum.b > 0 && swaps.a > 2);
    /* The first quarter fills caches; after it, nothing may pile up. A set of weights is 100 MB, and each encoder may be at
     * work with one that was swapped out, on a busy machine more often than on a quiet one. */
    CHECK(largest(memory + SAMPLES / 2, SAMPLES / 2) < largest(memory + SAMPLES / 4, SAMPLES / 4) + 100 * ENCODERS);
}

int main(int argc, char **argv) {
    if (argc > 1 && (seconds = atof(argv[1])) < 1) {
        fputs("usage: soak_swap [SECONDS]\n", stderr);
        return 2;
    }
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * N, 1);
    RUN(swap_under_load);
    return harness_finish();
}

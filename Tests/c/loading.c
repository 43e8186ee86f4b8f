/* dlopen and dlclose: a plug-in host loads the library, uses it, closes it, and does so again. Not linked with libdim.
 * usage: loading build/libdim.so */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <dim.h>

enum { N = 3 };

static int failures;

static void check(bool holds, const char *what) {
    if (!holds) {
        failures++;
        fprintf(stderr, "loading: not so: %s\n", what);
    }
}

/* One load, use and close. */
static void cycle(const char *path, int flags, float *encoded) {
    static float images[DIM_NOTEBOOK_IMAGE_SIZE * N];
    dim_model *model = NULL;
    void *library = dlopen(path, flags);
    if (library == NULL) {
        fprintf(stderr, "loading: %s\n", dlerror());
        exit(1);
    }
    dim_status (*create)(uint64_t, dim_model **);
    dim_status (*encode)(dim_model *, const float *, size_t, float *, float *);
    dim_status (*threads)(int);
    void (*release)(dim_model *);
    *(void **)&create = dlsym(library, "dim_model_create");
    *(void **)&encode = dlsym(library, "dim_encode");
    *(void **)&threads = dlsym(library, "dim_set_num_threads");
    *(void **)&release = dlsym(library, "dim_model_free");
    for (int i = 0; i < DIM_NOTEBOOK_IMAGE_SIZE * N; i++)
        images[i] = (float)(i * 7919 % 1000) / 1000.0f;
    check(threads(2) == DIM_OK && create(1, &model) == DIM_OK && encode(model, images, N, encoded, NULL) == DIM_OK,
          "a loaded library encodes");
    release(model);
    check(dlclose(library) == 0, "the library closes");
    nanosleep(&(struct timespec){0, 20000000}, NULL);   /* its threads continue waiting: they must still have code to run */
}

int main(int argc, char **argv) {
    float first[DIM_NOTEBOOK_ENCODED_SIZE * N], encoded[DIM_NOTEBOOK_ENCODED_SIZE * N];
    int passed = 0;
    if (argc != 2)
        return 2;
    for (int i = 0; i < 6; i++) {
        int before = failures;
        cycle(argv[1], i % 2 ? RTLD_NOW | RTLD_LOCAL : RTLD_LAZY | RTLD_GLOBAL, i == 0 ? first : encoded);
        check(i == 0 || memcmp(first, encoded, sizeof first) == 0, "each load gives the same vectors");
        passed += failures == before;
    }
    printf("%d passed, %d failed\n", passed, 6 - passed);
    return failures != 0;
}

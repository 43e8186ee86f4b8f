/* use.c without linking the library: dlopen, as a plugin's host would. usage: load LIBRARY FILE.h5 */
#include <dim.h>

#include <dlfcn.h>
#include <stdio.h>

static float images[2 * DIM_NOTEBOOK_IMAGE_SIZE], encoded[2 * DIM_NOTEBOOK_ENCODED_SIZE];

/* POSIX, and not ISO C, makes functions of what dlsym returns. */
#define FIND(result, name, ...) \
    result (*name)(__VA_ARGS__); \
    *(void **)&name = dlvsym(library, #name, "LIBDIM_0.1"); \
    if (name == NULL) { \
        fprintf(stderr, "%s\n", dlerror()); \
        return 1; \
    }

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    FIND(const char *, dim_version, void)
    FIND(const char *, dim_last_error, void)
    FIND(dim_status, dim_model_create, uint64_t, dim_model **)
    FIND(dim_status, dim_model_open, const char *, dim_model **)
    FIND(dim_status, dim_model_save, const dim_model *, const char *)
    FIND(dim_status, dim_encode, dim_model *, const float *, size_t, float *, float *)
    FIND(void, dim_model_free, dim_model *)
    dim_model *model = NULL, *read = NULL;
    for (size_t i = 0; i < 2 * DIM_NOTEBOOK_IMAGE_SIZE; ++i) images[i] = (float)(i % 255) / 255;
    if (dim_model_create(3, &model) != DIM_OK || dim_model_save(model, argv[2]) != DIM_OK ||
        dim_model_open(argv[2], &read) != DIM_OK || dim_encode(read, images, 2, encoded, NULL) != DIM_OK) {
        fprintf(stderr, "%s\n", dim_last_error());
        return 1;
    }
    printf("%s %.6g %.6g\n", dim_version(), encoded[0], encoded[2 * DIM_NOTEBOOK_ENCODED_SIZE - 1]);
    dim_model_free(model);
    dim_model_free(read);
    return dlclose(library);
}

/* A C99 program as a user writes it. Prints one line, which every client here must print alike. usage: use FILE.h5 */
#include <dim.h>

#include <stdio.h>
#include <string.h>

static float images[2 * DIM_NOTEBOOK_IMAGE_SIZE], encoded[2 * DIM_NOTEBOOK_ENCODED_SIZE];

int main(int argc, char **argv) {
    char compiled[32];
    dim_model *model = NULL, *read = NULL;
    if (argc != 2) return 2;
    snprintf(compiled, sizeof compiled, "%d.%d.%d", DIM_VERSION_MAJOR, DIM_VERSION_MINOR, DIM_VERSION_PATCH);
    if (strcmp(compiled, dim_version()) != 0) {
        fprintf(stderr, "the header is of %s, the library of %s\n", compiled, dim_version());
        return 1;
    }
    for (size_t i = 0; i < 2 * DIM_NOTEBOOK_IMAGE_SIZE; ++i) images[i] = (float)(i % 255) / 255;
    if (dim_model_create(3, &model) != DIM_OK || dim_model_save(model, argv[1]) != DIM_OK ||
        dim_model_open(argv[1], &read) != DIM_OK || dim_encode(read, images, 2, encoded, NULL) != DIM_OK) {
        fprintf(stderr, "%s\n", dim_last_error());
        return 1;
    }
    printf("%s %.6g %.6g\n", dim_version(), encoded[0], encoded[2 * DIM_NOTEBOOK_ENCODED_SIZE - 1]);
    dim_model_free(model);
    dim_model_free(read);
    return 0;
}

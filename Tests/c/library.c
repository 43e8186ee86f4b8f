/* Status, messages, version, threads: what the header says about the library as a whole. */
#include "harness.h"

#include <limits.h>
#include <pthread.h>

/* Programs compiled against one version run with another: these values are for ever. */
typedef char status_values[DIM_OK == 0 && DIM_INVALID_ARGUMENT == 10 && DIM_INVALID_HANDLE == 11 && DIM_TOO_LARGE == 12 &&
                                   DIM_UNKNOWN_NAME == 13 && DIM_SIZE_MISMATCH == 14 && DIM_MISSING_NETWORK == 20 &&
                                   DIM_IO == 30 && DIM_FILE_FORMAT == 31 && DIM_FILE_CONTENT == 32 &&
                                   DIM_OUT_OF_MEMORY == 40 && DIM_NOT_FINITE == 50 && DIM_CANCELLED == 51 &&
                                   DIM_INTERNAL == 90
                               ? 1
                               : -1];
typedef char network_values[DIM_NETWORK_ENCODER == 1 && DIM_NETWORK_GLOBAL_D == 2 && DIM_NETWORK_LOCAL_D == 4 &&
                                    DIM_NETWORK_PRIOR_D == 8 && DIM_NETWORK_CLASSIFIER == 16 && DIM_NETWORK_ALL == 31 &&
                                    DIM_FLOAT32 == 0 && DIM_INT64 == 1
                                ? 1
                                : -1];
typedef char sizes[DIM_NOTEBOOK_IMAGE_SIZE == 3072 && DIM_NOTEBOOK_ENCODED_SIZE == 64 && DIM_NOTEBOOK_FEATURES_SIZE == 86528 && DIM_NOTEBOOK_LOCAL_SIZE == 676 &&
                           DIM_NOTEBOOK_CLASSES == 10
                       ? 1
                       : -1];

static bool is_ascii(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text >= 127 || ((unsigned char)*text < 32 && *text != '\n'))
            return false;
    return true;
}

static void names_of_statuses(void) {
    static const struct {
        dim_status status;
        const char *name;
    } all[] = {{DIM_OK, "DIM_OK"},
               {DIM_INVALID_ARGUMENT, "DIM_INVALID_ARGUMENT"},
               {DIM_INVALID_HANDLE, "DIM_INVALID_HANDLE"},
               {DIM_TOO_LARGE, "DIM_TOO_LARGE"},
               {DIM_UNKNOWN_NAME, "DIM_UNKNOWN_NAME"},
               {DIM_SIZE_MISMATCH, "DIM_SIZE_MISMATCH"},
               {DIM_MISSING_NETWORK, "DIM_MISSING_NETWORK"},
               {DIM_IO, "DIM_IO"},
               {DIM_FILE_FORMAT, "DIM_FILE_FORMAT"},
               {DIM_FILE_CONTENT, "DIM_FILE_CONTENT"},
               {DIM_OUT_OF_MEMORY, "DIM_OUT_OF_MEMORY"},
               {DIM_NOT_FINITE, "DIM_NOT_FINITE"},
               {DIM_CANCELLED, "DIM_CANCELLED"},
               {DIM_INTERNAL, "DIM_INTERNAL"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        CHECK(strcmp(dim_status_name(all[i].status), all[i].name) == 0);
        CHECK(dim_status_name(all[i].status) == dim_status_name(all[i].status));
    }
    static const int others[] = {1, 9, 15, 29, 89, 91, 255, INT_MAX, -1, INT_MIN};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        CHECK(strcmp(dim_status_name((dim_status)others[i]), "unknown status") == 0);
}

static void version_and_build(void) {
    char expected[64];
    snprintf(expected, sizeof expected, "%d.%d.%d", DIM_VERSION_MAJOR, DIM_VERSION_MINOR, DIM_VERSION_PATCH);
    CHECK(strcmp(dim_version(), expected) == 0);
    CHECK(dim_version() == dim_version());
    const char *info = dim_build_info();
    CHECK(info != NULL && strstr(info, expected) != NULL);
    CHECK(strchr(info, '\n') == NULL);
    CHECK(is_ascii(info));
    CHECK(strstr(info, "HDF5") != NULL);
}

static void *first_message(void *out) {
    *(bool *)out = dim_last_error() != NULL && dim_last_error()[0] == '\0';
    dim_model_create(0, NULL);
    *(bool *)out = *(bool *)out && dim_last_error()[0] != '\0';
    return NULL;
}

static void messages_belong_to_threads(void) {
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_set_num_threads(-5));
    CHECK_MESSAGE("-5");
    char before[1024];
    snprintf(before, sizeof before, "%s", dim_last_error());
    bool right = false;
    pthread_t thread;
    pthread_create(&thread, NULL, first_message, &right);
    pthread_join(thread, NULL);
    CHECK(right);
    CHECK(strcmp(before, dim_last_error()) == 0);
    CHECK(dim_set_num_threads(2) == DIM_OK);    /* success leaves the message alone */
    CHECK(strcmp(before, dim_last_error()) == 0);
    CHECK(is_ascii(before));
}

static void numbers_of_threads(void) {
    static const int wrong[] = {-1, -1024, 1025, INT_MAX, INT_MIN};
    CHECK_STATUS(DIM_OK, dim_set_num_threads(3));
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_set_num_threads(wrong[i]));
        CHECK(dim_num_threads() == 3);
    }
    CHECK_STATUS(DIM_OK, dim_set_num_threads(1024));
    CHECK(dim_num_threads() == 1024);
    CHECK_STATUS(DIM_OK, dim_set_num_threads(1));
    CHECK(dim_num_threads() == 1);
    CHECK_STATUS(DIM_OK, dim_set_num_threads(0));
    CHECK(dim_num_threads() >= 1);
}

static void most_images(void) {
    CHECK(dim_max_images() >= 1024);
    CHECK(dim_max_images() <= PTRDIFF_MAX / (DIM_NOTEBOOK_FEATURES_SIZE * sizeof(float)));
    CHECK(dim_max_images() == dim_max_images());
}

int main(void) {
    CHECK(dim_last_error()[0] == '\0');     /* nothing has failed yet */
    RUN(names_of_statuses);
    RUN(version_and_build);
    RUN(messages_belong_to_threads);
    RUN(numbers_of_threads);
    RUN(most_images);
    return harness_finish();
}

/* Weights files: what the operating system refuses, what is no weights file, networks that a file does not hold, round trips. */
#include "harness.h"
#include "untrusted.h"

#include <hdf5.h>
#include <sys/stat.h>
#include <unistd.h>

enum { N = 2 };

static void write_file(const char *path, const void *bytes, size_t count) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(bytes, 1, count, file) != count || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

static size_t files_beside(const char *path) {
    char command[600];
    snprintf(command, sizeof command, "ls -A \"$(dirname %s)\" | wc -l", path);
    FILE *pipe = popen(command, "r");
    unsigned long count = 0;
    if (pipe == NULL || fscanf(pipe, "%lu", &count) != 1)
        exit(1);
    pclose(pipe);
    return count;
}

static void round_trip(void) {
    dim_model *saved = NULL, *opened = NULL;
    float images[DIM_NOTEBOOK_IMAGE_SIZE * N], a[DIM_NOTEBOOK_ENCODED_SIZE * N], b[DIM_NOTEBOOK_ENCODED_SIZE * N];
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * N, 1);
    MUST(dim_model_create(11, &saved));
    MUST(dim_model_set_training(saved, true));
    MUST(dim_encode(saved, images, N, a, NULL));    /* moves the running statistics */
    CHECK_STATUS(DIM_OK, dim_model_save(saved, scratch_path("round.h5")));
    CHECK_STATUS(DIM_OK, dim_model_save(saved, scratch_path("round.h5")));  /* over itself */
    CHECK_STATUS(DIM_OK, dim_model_open(scratch_path("round.h5"), &opened));
    CHECK(dim_model_networks(opened) == DIM_NETWORK_ALL);
    CHECK(same_parameters(saved, opened));
    bool training = true;
    MUST(dim_model_is_training(opened, &training));
    CHECK(!training);
    MUST(dim_model_set_training(saved, false));
    MUST(dim_encode(saved, images, N, a, NULL));
    MUST(dim_encode(opened, images, N, b, NULL));
    CHECK(memcmp(a, b, sizeof a) == 0);
    dim_model_free(saved);
    dim_model_free(opened);
}

static void open_that_fails(dim_status expected, const char *path) {
    dim_model *out;
    paint(&out, sizeof out);
    CHECK_STATUS(expected, dim_model_open(path, &out));
    if (path != NULL && path[0] != '\0' && strlen(path) < 300)
        CHECK_MESSAGE(path);
    CHECK(painted(&out, sizeof out));
    CHECK_STATUS(expected, dim_model_load(shared_model(), path));
}

static void files_that_are_refused(void) {
    dim_model *before = NULL;
    MUST(dim_model_create(7, &before));
    open_that_fails(DIM_INVALID_ARGUMENT, NULL);
    open_that_fails(DIM_IO, scratch_path("missing.h5"));
    open_that_fails(DIM_IO, scratch_path("missing/missing.h5"));
    char *name = take(20000);
    memset(name, 'a', 19999);
    name[19999] = '\0';
    open_that_fails(DIM_IO, name);
    free(name);
    CHECK(dim_model_open("", &before) != DIM_OK);
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_open(scratch_path("missing.h5"), NULL));

    dim_model *out = NULL;
    CHECK(dim_model_open("/", &out) != DIM_OK);
    CHECK(dim_model_open("/dev/null", &out) != DIM_OK);
    CHECK(dim_model_open("/dev/zero", &out) != DIM_OK);
    mkfifo(scratch_path("fifo.h5"), 0600);
    CHECK(dim_model_open(scratch_path("fifo.h5"), &out) != DIM_OK);     /* and does not wait */
    CHECK(out == NULL);

    write_file(scratch_path("empty.h5"), "", 0);
    open_that_fails(DIM_FILE_FORMAT, scratch_path("empty.h5"));
    write_file(scratch_path("text.h5"), "encoder.c0.weight = 1\n", 22);
    open_that_fails(DIM_FILE_FORMAT, scratch_path("text.h5"));
    write_file(scratch_path("signature.h5"), "\211HDF\r\n\032\n", 8);
    open_that_fails(DIM_FILE_FORMAT, scratch_path("signature.h5"));

    MUST(dim_model_save(before, scratch_path("short.h5")));
    struct stat info;
    stat(scratch_path("short.h5"), &info);
    static const double parts[] = {0.999, 0.5, 0.01};
    for (int i = 0; i < 3; i++) {
        if (truncate(scratch_path("short.h5"), (off_t)((double)info.st_size * parts[i])) != 0)
            exit(1);
        CHECK(dim_model_open(scratch_path("short.h5"), &out) != DIM_OK);
        CHECK(dim_model_load(shared_model(), scratch_path("short.h5")) != DIM_OK);
        CHECK(out == NULL);
    }
    CHECK(same_parameters(before, shared_model()));     /* as it was */
    dim_model_free(before);
}

static void empty_hdf5(void) {
    hid_t file = H5Fcreate(scratch_path("nothing.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Fclose(file);
    open_that_fails(DIM_FILE_CONTENT, scratch_path("nothing.h5"));
}

static bool begins_with(const char *path, const char *bytes, size_t at, size_t count) {
    unsigned char found[16] = {0};
    FILE *file = fopen(path, "rb");
    bool same = file != NULL && fread(found, 1, sizeof found, file) == sizeof found && memcmp(found + at, bytes, count) == 0;
    if (file != NULL)
        fclose(file);
    return same;
}

static void safetensors(void) {
    dim_model *saved = NULL, *opened = NULL;
    dim_save_options options = {sizeof options, DIM_FORMAT_SAFETENSORS};
    char path[300];
    snprintf(path, sizeof path, "%s", scratch_path("round.safetensors"));
    MUST(dim_model_create(12, &saved));
    CHECK_STATUS(DIM_OK, dim_model_save_with(saved, path, &options));
    CHECK(begins_with(path, "{\"__met", 8, 7));
    CHECK_STATUS(DIM_OK, dim_model_open(path, &opened));
    CHECK(dim_model_networks(opened) == DIM_NETWORK_ALL && same_parameters(saved, opened));
    dim_model_free(opened);
    CHECK_STATUS(DIM_OK, SANITIZED ? dim_model_open(path, &opened) : open_untrusted(path, &opened));
    CHECK(same_parameters(saved, opened));
    CHECK_STATUS(DIM_OK, dim_model_load(opened, path));
    CHECK(same_parameters(saved, opened));
    /* HDF5 by default */
    CHECK_STATUS(DIM_OK, dim_model_save_with(saved, path, NULL));
    CHECK(begins_with(path, "\x89HDF", 0, 4));
    options.format = DIM_FORMAT_HDF5;
    CHECK_STATUS(DIM_OK, dim_model_save_with(saved, path, &options));
    CHECK_STATUS(DIM_OK, dim_model_load(opened, path));
    options.format = (dim_format)2;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_save_with(saved, path, &options));
    CHECK_MESSAGE("DIM_FORMAT_SAFETENSORS");
    options = (dim_save_options){sizeof options - 1, DIM_FORMAT_SAFETENSORS};
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_save_with(saved, path, &options));
    CHECK_MESSAGE("struct_size");
    options.struct_size = sizeof options;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_save_with(saved, NULL, &options));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_save_with(saved, "", &options));
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_save_with(NULL, path, &options));
    CHECK_STATUS(DIM_IO, dim_model_save_with(saved, scratch_path("no-such-folder/w.safetensors"), &options));
    CHECK(begins_with(path, "\x89HDF", 0, 4));
    dim_model_free(saved);
    dim_model_free(opened);
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_save_with(saved, path, &options));
}

static void saves_that_fail(void) {
    dim_model *model = shared_model();
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_save(model, NULL));
    CHECK_STATUS(DIM_IO, dim_model_save(model, scratch_path("no-such-folder/weights.h5")));
    CHECK_MESSAGE("no-such-folder");
    CHECK(dim_model_save(model, "") != DIM_OK);
    mkdir(scratch_path("folder.h5"), 0700);
    size_t before = files_beside(scratch_path("folder.h5"));
    CHECK_STATUS(DIM_IO, dim_model_save(model, scratch_path("folder.h5")));
    CHECK(files_beside(scratch_path("folder.h5")) == before);       /* no temporary file stays behind */
    CHECK_STATUS(DIM_IO, dim_model_save(model, "/dev/full/weights.h5"));
}

/* Copies the root's datasets whose names begin with the prefix. */
static void copy_network(const char *from, const char *to, const char *prefix) {
    hid_t source = H5Fopen(from, H5F_ACC_RDONLY, H5P_DEFAULT);
    hid_t target = H5Fcreate(to, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5G_info_t group;
    if (source < 0 || target < 0 || H5Gget_info(source, &group) < 0)
        exit(1);
    for (hsize_t i = 0; i < group.nlinks; i++) {
        char name[256];
        H5Lget_name_by_idx(source, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name, H5P_DEFAULT);
        if (strncmp(name, prefix, strlen(prefix)) == 0 && H5Ocopy(source, name, target, name, H5P_DEFAULT, H5P_DEFAULT) < 0)
            exit(1);
    }
    H5Fclose(target);
    H5Fclose(source);
}

static void networks_that_are_missing(void) {
    dim_model *all = NULL, *part = NULL;
    float images[DIM_NOTEBOOK_IMAGE_SIZE * N], y[DIM_NOTEBOOK_ENCODED_SIZE * N], out[DIM_NOTEBOOK_LOCAL_SIZE * N];
    float *M = take(sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE * N);
    fill(images, DIM_NOTEBOOK_IMAGE_SIZE * N, 1);
    MUST(dim_model_create(21, &all));
    MUST(dim_model_save(all, scratch_path("all.h5")));

    copy_network(scratch_path("all.h5"), scratch_path("part.h5"), "encoder.");
    CHECK_STATUS(DIM_OK, dim_model_open(scratch_path("part.h5"), &part));
    CHECK(dim_model_networks(part) == DIM_NETWORK_ENCODER);
    CHECK(dim_model_parameter_count(part) == 25);
    CHECK_STATUS(DIM_OK, dim_encode(part, images, N, y, M));
    paint(out, sizeof out);
    CHECK_STATUS(DIM_MISSING_NETWORK, dim_score_global(part, y, M, N, out));
    CHECK_STATUS(DIM_MISSING_NETWORK, dim_score_local(part, y, M, N, out));
    CHECK_STATUS(DIM_MISSING_NETWORK, dim_score_prior(part, y, N, out));
    CHECK_STATUS(DIM_MISSING_NETWORK, dim_classify(part, y, N, out));
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_model_get_parameter(part, "prior_d.l2.bias", out, sizeof(float)));
    CHECK(painted(out, sizeof out));
    dim_model_free(part);

    copy_network(scratch_path("all.h5"), scratch_path("part.h5"), "prior_d.");
    CHECK_STATUS(DIM_OK, dim_model_open(scratch_path("part.h5"), &part));
    CHECK(dim_model_networks(part) == DIM_NETWORK_PRIOR_D);
    CHECK_STATUS(DIM_OK, dim_score_prior(part, y, N, out));
    paint(y, sizeof y);
    CHECK_STATUS(DIM_MISSING_NETWORK, dim_encode(part, images, N, y, NULL));
    CHECK_MESSAGE("encoder");
    CHECK(painted(y, sizeof y));
    dim_model_free(part);

    /* A load replaces what the file holds and leaves the rest. */
    dim_model *other = NULL;
    float mine[200], theirs[200], bias[64], bias_after[64];
    MUST(dim_model_create(22, &other));
    MUST(dim_model_get_parameter(other, "encoder.c0.bias", bias, sizeof bias));
    CHECK_STATUS(DIM_OK, dim_model_load(other, scratch_path("part.h5")));
    MUST(dim_model_get_parameter(other, "prior_d.l2.weight", mine, sizeof mine));
    MUST(dim_model_get_parameter(all, "prior_d.l2.weight", theirs, sizeof theirs));
    MUST(dim_model_get_parameter(other, "encoder.c0.bias", bias_after, sizeof bias_after));
    CHECK(memcmp(mine, theirs, sizeof mine) == 0 && memcmp(bias, bias_after, sizeof bias) == 0);
    dim_model_free(other);
    dim_model_free(all);
    free(M);
}

/* A weights file in which one dataset has another shape: the message tells both, and all such names. */
static void wrong_shapes(void) {
    dim_model *all = NULL, *out = NULL;
    MUST(dim_model_create(21, &all));
    MUST(dim_model_save(all, scratch_path("all.h5")));
    copy_network(scratch_path("all.h5"), scratch_path("wrong.h5"), "prior_d.");
    hid_t file = H5Fopen(scratch_path("wrong.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
    static const char *const names[] = {"prior_d.l1.bias", "prior_d.l2.weight"};
    float values[77] = {0};
    hsize_t extent = 77;
    hid_t space = H5Screate_simple(1, &extent, NULL);
    for (int i = 0; i < 2; i++) {
        H5Ldelete(file, names[i], H5P_DEFAULT);
        hid_t set = H5Dcreate2(file, names[i], H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
        H5Dwrite(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
        H5Dclose(set);
    }
    H5Ldelete(file, "prior_d.l0.bias", H5P_DEFAULT);
    H5Sclose(space);
    H5Fclose(file);
    CHECK_STATUS(DIM_FILE_CONTENT, dim_model_open(scratch_path("wrong.h5"), &out));
    CHECK_MESSAGE("l1.bias");
    CHECK_MESSAGE("l2.weight");
    CHECK_MESSAGE("l0.bias");
    CHECK_MESSAGE("77");
    CHECK_MESSAGE("200");
    CHECK(out == NULL);
    CHECK_STATUS(DIM_FILE_CONTENT, dim_model_load(all, scratch_path("wrong.h5")));
    dim_model_free(all);
}

int main(void) {
    RUN(round_trip);
    RUN(files_that_are_refused);
    RUN(empty_hdf5);
    RUN(safetensors);
    RUN(saves_that_fail);
    RUN(networks_that_are_missing);
    RUN(wrong_shapes);
    return harness_finish();
}

/* Opening files of other architectures: what the functions without options refuse, and what options allow. A program with
 * arrays of the macros' sizes must get an error, never an overflow; run under the address sanitizer, too. */
#include "harness.h"
#include "untrusted.h"

/* 40x40 images, 100 numbers, 150 classes: all larger than the notebook's. */
static const char large[] =
    "{\"image\":{\"channels\":3,\"height\":40,\"width\":40},\"encoder\":{\"layers\":["
    "{\"op\":\"conv\",\"name\":\"c0\",\"out\":9,\"kernel\":3,\"norm\":\"batch\",\"activation\":\"relu\"},"
    "{\"op\":\"avgpool\",\"name\":\"p0\",\"kernel\":2},{\"op\":\"flatten\"},"
    "{\"op\":\"linear\",\"name\":\"l0\",\"out\":100}],\"features\":\"c0\"},"
    "\"local\":{\"score\":\"dot\",\"net\":\"light\",\"units\":16},\"prior\":{\"hidden\":[20]},"
    "\"classifier\":{\"hidden\":[30],\"dropout\":0.5,\"classes\":150}}";

static dim_architecture *parsed(const char *json) {
    dim_architecture *architecture = NULL;
    MUST(dim_architecture_parse(json, strlen(json), &architecture));
    return architecture;
}

static dim_model *large_model(void) {
    dim_architecture *architecture = parsed(large);
    dim_model *model = NULL;
    MUST(dim_model_create_with(architecture, 5, &model));
    dim_architecture_free(architecture);
    return model;
}

/* Weights and checkpoints of the large architecture. */
static void save_all(void) {
    static const char *names[150];
    static char text[150][16];
    dim_model *model = large_model();
    dim_trainer *trainer = NULL;
    dim_classifier_trainer *classifier = NULL;
    for (int i = 0; i < 150; i++) {
        snprintf(text[i], sizeof text[i], "class %d", i);
        names[i] = text[i];
    }
    MUST(dim_model_set_class_names(model, 150, names));
    MUST(dim_model_save(model, scratch_path("large.h5")));
    MUST(dim_trainer_create(model, NULL, &trainer));
    MUST(dim_trainer_save(trainer, scratch_path("run.h5")));
    MUST(dim_classifier_trainer_create(model, NULL, &classifier));
    MUST(dim_classifier_trainer_save(classifier, scratch_path("classifier.h5")));
    dim_classifier_trainer_free(classifier);
    dim_trainer_free(trainer);
    dim_model_free(model);
}

/* The program that dim.h's first version shows: arrays of the macros' sizes, whatever the file is. */
static dim_status as_a_program_of_the_macros(const char *path) {
    float *images = new_images(1, 1), *features = take(sizeof(float) * DIM_NOTEBOOK_FEATURES_SIZE);
    float encoded[DIM_NOTEBOOK_ENCODED_SIZE], probabilities[DIM_NOTEBOOK_CLASSES];
    dim_model *model = NULL;
    dim_status status = dim_model_open(path, &model);
    if (status == DIM_OK)
        status = dim_encode(model, images, 1, encoded, features);
    if (status == DIM_OK)
        status = dim_classify(model, encoded, 1, probabilities);
    dim_model_free(model);
    free(features);
    free(images);
    return status;
}

static void the_notebook_alone(void) {
    dim_trainer *trainer = NULL;
    dim_classifier_trainer *classifier = NULL;
    MUST(dim_model_save(shared_model(), scratch_path("notebook.h5")));
    CHECK_STATUS(DIM_OK, as_a_program_of_the_macros(scratch_path("notebook.h5")));
    static const char *const files[] = {"large.h5", "run.h5", "classifier.h5"};
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(DIM_FILE_CONTENT, as_a_program_of_the_macros(scratch_path(files[i])));
        CHECK_MESSAGE("expected the notebook's architecture");
        CHECK_MESSAGE("3x40x40 images");
        CHECK_MESSAGE("dim_model_open_with");
    }
    CHECK_STATUS(DIM_FILE_CONTENT, dim_trainer_resume(scratch_path("run.h5"), &trainer));
    CHECK_MESSAGE("dim_trainer_resume_with");
    CHECK_STATUS(DIM_FILE_CONTENT, dim_classifier_trainer_resume(scratch_path("classifier.h5"), &classifier));
    CHECK_STATUS(DIM_FILE_CONTENT, dim_model_load(shared_model(), scratch_path("large.h5")));
    CHECK_MESSAGE("expected architecture notebook");
    /* The same by the isolated reader. */
    dim_model *model = NULL;
    if (!SANITIZED) {
        CHECK_STATUS(DIM_FILE_CONTENT, open_untrusted(scratch_path("large.h5"), &model));
        CHECK_MESSAGE("expected the notebook's architecture");
        CHECK_STATUS(DIM_FILE_CONTENT, resume_untrusted(scratch_path("run.h5"), &trainer));
        CHECK_STATUS(DIM_FILE_CONTENT, load_untrusted(shared_model(), scratch_path("large.h5")));
    }
    CHECK(model == NULL && trainer == NULL && classifier == NULL);
}

static void any_architecture(void) {
    dim_model *saved = large_model(), *opened = NULL;
    dim_trainer *trainer = NULL;
    dim_classifier_trainer *classifier = NULL;
    for (int untrusted = 0; untrusted < 2 - SANITIZED; untrusted++) {
        dim_open_options options = {sizeof options, untrusted != 0, true, 0, NULL, 0};
        CHECK_STATUS(DIM_OK, dim_model_open_with(scratch_path("large.h5"), &options, &opened));
        CHECK(same_parameters(saved, opened));
        dim_sizes sizes = {.struct_size = sizeof sizes};
        CHECK_STATUS(DIM_OK, dim_model_sizes(opened, &sizes));
        CHECK(sizes.image_height == 40 && sizes.encoded == 100 && sizes.classes == 150);
        char name[16];
        CHECK_STATUS(DIM_OK, dim_model_class_name(opened, 149, name, sizeof name, NULL));
        CHECK(strcmp(name, "class 149") == 0);
        CHECK_STATUS(DIM_SIZE_MISMATCH, dim_model_class_name(opened, 149, name, 1, NULL));
        CHECK_MESSAGE("the name needs 10 bytes with its NUL, found a capacity of 1; nothing was written");
        size_t needed = 777;
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_class_name(opened, 149, NULL, 16, &needed));
        CHECK(needed == 777);
        CHECK_STATUS(DIM_SIZE_MISMATCH, dim_model_class_name(opened, 149, NULL, 0, &needed));
        CHECK(needed == 10);
        dim_model_free(opened);
        CHECK_STATUS(DIM_OK, dim_trainer_resume_with(scratch_path("run.h5"), &options, &trainer));
        dim_trainer_free(trainer);
        CHECK_STATUS(DIM_OK, dim_classifier_trainer_resume_with(scratch_path("classifier.h5"), &options, &classifier));
        dim_classifier_trainer_free(classifier);

        dim_architecture *architecture = parsed(large), *other = NULL;
        options.architecture = architecture;
        CHECK_STATUS(DIM_OK, dim_model_open_with(scratch_path("large.h5"), &options, &opened));
        dim_model_free(opened);
        CHECK_STATUS(DIM_FILE_CONTENT, dim_model_open_with(scratch_path("notebook.h5"), &options, &opened));
        CHECK_MESSAGE("expected architecture without a preset (3x40x40 images), found architecture notebook (3x32x32 images) by ");
        CHECK_MESSAGE("they differ in image, encoder");
        MUST(dim_architecture_preset("basic32", &other));
        options.architecture = other;
        CHECK_STATUS(DIM_FILE_CONTENT, dim_trainer_resume_with(scratch_path("run.h5"), &options, &trainer));
        dim_architecture_free(architecture);
        dim_architecture_free(other);
        options.architecture = architecture;        /* freed */
        opened = NULL;
        CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_open_with(scratch_path("large.h5"), &options, &opened));
        CHECK(opened == NULL);
    }
    dim_model_free(saved);
}

static void some_networks(void) {
    dim_model *model = NULL, *twin = large_model();
    dim_open_options options = {sizeof options, false, true, 0, NULL, DIM_NETWORK_ENCODER | DIM_NETWORK_PRIOR_D};
    CHECK_STATUS(DIM_OK, dim_model_open_with(scratch_path("large.h5"), &options, &model));
    CHECK(dim_model_networks(model) == (DIM_NETWORK_ENCODER | DIM_NETWORK_PRIOR_D));
    dim_model_free(model);
    /* An encoder of the same description, whatever else differs. */
    char json[sizeof large];
    strcpy(json, large);
    char *classes = strstr(json, "150");
    memcpy(classes, "151", 3);
    dim_architecture *other = parsed(json);
    MUST(dim_model_create_with(other, 6, &model));
    CHECK_STATUS(DIM_FILE_CONTENT, dim_model_load(model, scratch_path("large.h5")));
    CHECK_MESSAGE("they differ in classifier");
    options.networks = DIM_NETWORK_ENCODER;
    CHECK_STATUS(DIM_OK, dim_model_load_with(model, scratch_path("large.h5"), &options));
    float one[9], two[9];
    MUST(dim_model_get_parameter(model, "encoder.c0.bias", one, sizeof one));
    MUST(dim_model_get_parameter(twin, "encoder.c0.bias", two, sizeof two));
    CHECK(memcmp(one, two, sizeof one) == 0);
    options.architecture = other;
    CHECK_STATUS(DIM_OK, dim_model_load_with(model, scratch_path("large.h5"), &options));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_load_with(twin, scratch_path("large.h5"), &options));
    CHECK_MESSAGE("a model keeps its own");
    options.architecture = NULL;
    options.networks = DIM_NETWORK_COORDINATES_D;
    CHECK_STATUS(DIM_FILE_CONTENT, dim_model_load_with(model, scratch_path("large.h5"), &options));
    CHECK_MESSAGE("no weights found");
    dim_architecture_free(other);
    dim_model_free(twin);
    dim_model_free(model);
}

/* A model of one network, and a file that has more: they are added, and their parameters are known. */
static void networks_that_are_added(void) {
    dim_model *model = NULL, *whole = large_model();
    dim_parameter_info info = {.struct_size = sizeof info};
    dim_open_options options = {sizeof options, false, true, 0, NULL, DIM_NETWORK_PRIOR_D};
    MUST(dim_model_open_with(scratch_path("large.h5"), &options, &model));
    size_t index = 0, few = dim_model_parameter_count(model);
    MUST(dim_model_parameter_info(model, 0, &info));
    CHECK(strcmp(info.name, "prior_d.l0.weight") == 0);
    CHECK_STATUS(DIM_UNKNOWN_NAME, dim_model_find_parameter(model, "encoder.c0.bias", &index));
    CHECK_STATUS(DIM_OK, dim_model_load(model, scratch_path("large.h5")));
    CHECK(dim_model_networks(model) == dim_model_networks(whole));
    CHECK(dim_model_parameter_count(model) == dim_model_parameter_count(whole) && dim_model_parameter_count(model) > few);
    CHECK(same_parameters(model, whole));
    CHECK_STATUS(DIM_OK, dim_model_find_parameter(model, "encoder.c0.bias", &index));
    CHECK(index == 1);
    dim_model_free(whole);
    whole = large_model();
    CHECK(strcmp(info.name, "prior_d.l0.weight") == 0);     /* as long as the model */
    dim_model_free(model);
    dim_model_free(whole);
}

static void wrong_options(void) {
    dim_model *model = NULL;
    dim_trainer *trainer = NULL;
    dim_open_options options = {sizeof options, false, true, 0, NULL, 64};
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_open_with(scratch_path("large.h5"), &options, &model));
    CHECK_MESSAGE("options->networks is 64");
    options.networks = DIM_NETWORK_ENCODER;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_trainer_resume_with(scratch_path("run.h5"), &options, &trainer));
    CHECK_MESSAGE("a checkpoint is read whole");
    options.networks = 0;
    options.struct_size--;
    CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_open_with(scratch_path("large.h5"), &options, &model));
    CHECK_MESSAGE("sizeof(dim_open_options)");
    options.struct_size++;
    options.architecture = (const dim_architecture *)shared_model();
    CHECK_STATUS(DIM_INVALID_HANDLE, dim_model_open_with(scratch_path("large.h5"), &options, &model));
    CHECK_STATUS(DIM_FILE_CONTENT, dim_model_open_with(scratch_path("large.h5"), NULL, &model));      /* as dim_model_open */
    CHECK(model == NULL && trainer == NULL);
}

int main(void) {
    save_all();
    RUN(the_notebook_alone);
    RUN(any_architecture);
    RUN(some_networks);
    RUN(networks_that_are_added);
    RUN(wrong_options);
    return harness_finish();
}

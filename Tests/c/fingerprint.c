/* fingerprint - enters every kernel with small batches and prints a checksum of each result.
 *
 *     fingerprint          a small network, encoded and trained; the notebook's networks in evaluation mode
 *     fingerprint all      training steps of the notebook's networks, too: ten minutes where they are emulated
 *
 * tools/check/emulated.sh runs it on this processor and on emulated older ones, held to the same instruction set: the same
 * instructions must give the same bytes, and none may be illegal there. Not a test by itself. */
#include "harness.h"

enum { N = 2 };

static uint64_t checksum(const void *bytes, size_t count) { /* FNV-1a */
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < count; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * UINT64_C(1099511628211);
    return hash;
}

static void report(const char *what, const void *bytes, size_t count) {
    printf("%-28s %016llx\n", what, (unsigned long long)checksum(bytes, count));
    fflush(stdout);
}

static void parameter(dim_model *model, const char *name) {
    dim_parameter_info info = {.struct_size = sizeof info};
    for (size_t i = 0; i < dim_model_parameter_count(model); i++) {
        MUST(dim_model_parameter_info(model, i, &info));
        if (strcmp(info.name, name) == 0) break;
    }
    void *values = take(info.bytes);
    MUST(dim_model_get_parameter(model, name, values, info.bytes));
    report(name, values, info.bytes);
    free(values);
}

static void step(dim_model *model, const float *images) {
    dim_trainer *trainer = NULL;
    dim_losses losses;
    MUST(dim_trainer_create(model, NULL, &trainer));
    MUST(dim_trainer_step(trainer, images, N, &losses));
    report("losses", &losses, sizeof losses);
    dim_trainer_free(trainer);
}

static void small_network(void) {
    static const char description[] =
        "{\"preset\": \"basic28\", \"local\": {\"score\": \"dot\", \"net\": \"authors\", \"units\": 64}}";
    dim_architecture *architecture = NULL;
    dim_model *model = NULL;
    MUST(dim_architecture_parse(description, strlen(description), &architecture));
    MUST(dim_model_create_with(architecture, 1, &model));
    dim_architecture_free(architecture);
    dim_sizes sizes = {.struct_size = sizeof sizes};
    MUST(dim_model_sizes(model, &sizes));
    float *images = new_images(N, 1); /* The notebook's are larger. */
    const size_t map = sizes.features_channels * sizes.features_height * sizes.features_width;
    float *encoded = take(sizeof(float) * N * sizes.encoded), *features = take(sizeof(float) * N * map);

    MUST(dim_encode(model, images, N, encoded, features));
    report("basic28 encoded", encoded, sizeof(float) * N * sizes.encoded);
    report("basic28 features", features, sizeof(float) * N * map);
    step(model, images);
    parameter(model, "encoder.c0.weight");
    parameter(model, "encoder.c1.weight");
    parameter(model, "encoder.l0.weight");
    dim_model_free(model);
    free(features);
    free(encoded);
    free(images);
}

static void steps(dim_model *model, const float *images, const float *encoded) {
    dim_classifier_trainer *classifier = NULL;
    dim_classifier_result classified;
    const int64_t labels[N] = {3, 7};

    step(model, images);
    parameter(model, "encoder.c0.weight");
    parameter(model, "encoder.c3.weight");
    parameter(model, "encoder.b2.running_var");
    parameter(model, "global_d.c1.weight");
    parameter(model, "local_d.c1.weight");
    parameter(model, "prior_d.l0.weight");

    MUST(dim_classifier_trainer_create(model, NULL, &classifier));
    MUST(dim_classifier_trainer_step_encoded(classifier, encoded, labels, N, &classified));
    report("classifier's loss", &classified, sizeof classified);
    parameter(model, "classifier.l1.weight");
    dim_classifier_trainer_free(classifier);
}

int main(int argc, char **argv) {
    const bool all = argc == 2 && strcmp(argv[1], "all") == 0;
    dim_model *model = NULL;
    float *images = new_images(N, 1);
    float encoded[N * DIM_NOTEBOOK_ENCODED_SIZE], local[N * DIM_NOTEBOOK_LOCAL_SIZE], few[N * DIM_NOTEBOOK_CLASSES];
    float *features = take(sizeof(float) * N * DIM_NOTEBOOK_FEATURES_SIZE);

    printf("%s\n", dim_build_info());
    small_network();
    MUST(dim_model_create(1, &model));
    MUST(dim_encode(model, images, N, encoded, features));
    report("encoded", encoded, sizeof encoded);
    report("features", features, sizeof(float) * N * DIM_NOTEBOOK_FEATURES_SIZE);
    MUST(dim_score_local(model, encoded, features, N, local));
    report("local", local, sizeof local);
    MUST(dim_score_global(model, encoded, features, N, few));
    report("global", few, sizeof(float) * N);
    MUST(dim_score_prior(model, encoded, N, few));
    report("prior", few, sizeof(float) * N);
    MUST(dim_classify(model, encoded, N, few));
    report("classes", few, sizeof few);
    if (all) steps(model, images, encoded);
    dim_model_free(model);
    free(features);
    free(images);
    return 0;
}

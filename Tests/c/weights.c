/* Writes a weights file: usage: weights SEED FILE */
#include "harness.h"

int main(int argc, char **argv) {
    dim_model *model = NULL;
    if (argc != 3)
        return 2;
    MUST(dim_model_create(strtoull(argv[1], NULL, 10), &model));
    MUST(dim_model_save(model, argv[2]));
    dim_model_free(model);
    return 0;
}

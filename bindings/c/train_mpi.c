/*
 * train_mpi - trains basic32 over MPI. The checkpoint has the same bytes for 1, 2 and 4 processes.
 *
 *   mpicc train_mpi.c -ldim -o train_mpi && mpirun -n 4 ./train_mpi CHECKPOINT IMAGES STEPS
 *
 * IMAGES: raw float32, 3x32x32 an image, 4 x 8 of them a step, in the file's order and from its start again at its end.
 */
#include <stdio.h>
#include <stdlib.h>

#include <dim.h>
#include <mpi.h>

enum { K = 4, N = 8, IMAGE = 3 * 32 * 32 };     /* micro-batches a step, images in each */

static int rank, processes;

static void must(dim_status status) {
    if (status == DIM_OK) return;
    fprintf(stderr, "train_mpi: rank %d of %d: %s\n", rank, processes, dim_last_error());
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* Adds the arrays of all processes: neighbours first, then pairs of neighbours... A sum of two is the same in both. */
static int add(float *values, size_t count, void *context) {
    float *theirs = malloc(count * sizeof *theirs);
    (void)context;
    if (theirs == NULL) return 1;
    for (int distance = 1; distance < processes; distance *= 2) {
        MPI_Sendrecv(values, (int)count, MPI_FLOAT, rank ^ distance, 0, theirs, (int)count, MPI_FLOAT, rank ^ distance, 0,
                     MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        for (size_t i = 0; i < count; i++) values[i] += theirs[i];
    }
    free(theirs);
    return 0;
}

int main(int argc, char **argv) {
    static float images[N * IMAGE];
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &processes);
    FILE *file = argc == 4 ? fopen(argv[2], "rb") : NULL;
    if (file == NULL || K % processes != 0 || fseek(file, 0, SEEK_END) != 0 || ftell(file) < (long)sizeof images) {
        fprintf(stderr, "usage: mpirun -n 1|2|4 train_mpi CHECKPOINT IMAGES STEPS\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    long groups = ftell(file) / (long)sizeof images, steps = atol(argv[3]);
    dim_architecture *architecture;
    dim_model *model;
    dim_trainer *trainer;
    dim_trainer_options options;
    must(dim_architecture_preset("basic32", &architecture));
    must(dim_model_create_with(architecture, 0, &model));   /* one seed: the same weights everywhere */
    must(dim_trainer_options_for(model, &options, sizeof options));
    options.micro_batches = K;
    must(dim_trainer_create(model, &options, &trainer));
    if (processes > 1) must(dim_trainer_set_gradient_callback(trainer, add, NULL));
    for (long step = 0; step < steps; step++) {
        int failed = 0, failures;
        for (int part = 0; part < K; part++) {
            if (part / (K / processes) != rank) {
                failed |= dim_trainer_skip(trainer, N) != DIM_OK;
                continue;
            }
            failed |= fseek(file, (step * K + part) % groups * (long)sizeof images, SEEK_SET) != 0;
            failed |= fread(images, sizeof images, 1, file) != 1 || dim_trainer_accumulate(trainer, images, N, NULL) != DIM_OK;
        }
        MPI_Allreduce(&failed, &failures, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);     /* all update, or none */
        if (failures) must(failed ? DIM_INTERNAL : dim_trainer_drop(trainer));
        else must(dim_trainer_update(trainer));
    }
    if (rank == 0) must(dim_trainer_save(trainer, argv[1]));
    dim_trainer_free(trainer);
    dim_model_free(model);
    dim_architecture_free(architecture);
    fclose(file);
    MPI_Finalize();
    return 0;
}

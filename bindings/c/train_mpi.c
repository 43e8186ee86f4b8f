/*
 * train_mpi - trains basic32 over MPI. The checkpoint has the same bytes for 1, 2 and 4 processes. If it exists, the run
 * continues from it, for STEPS more; each process reads it.
 *
 *   mpicc train_mpi.c -ldim -o train_mpi && mpirun -n 4 ./train_mpi CHECKPOINT IMAGES STEPS
 *
 * IMAGES: raw float32, 3x32x32 an image, 4 x 8 of them a step, in the file's order and from its start again at its end.
 * Exit status: 0 all is well, 1 something failed, 2 wrong usage; in both cases a process says what, and all end.
 */
#define _XOPEN_SOURCE 700       /* program.h */

#include <stdio.h>
#include <stdlib.h>

#include <dim.h>
#include <mpi.h>

#include "program.h"

enum { K = 4, N = 8, IMAGE = 3 * 32 * 32 };     /* micro-batches a step, images in each */

static int rank, processes;
static float images[N * IMAGE];

static void end(int code, const char *what, const char *why) {
    fprintf(stderr, "train_mpi: rank %d of %d: %s: %s\n", rank, processes, what, why);
    if (code == 2) fprintf(stderr, "usage: mpirun -n 1|2|4 train_mpi CHECKPOINT IMAGES STEPS\n");
    MPI_Abort(MPI_COMM_WORLD, code);
}

static void must(dim_status status, const char *what) {
    if (status != DIM_OK) end(1, what, dim_last_error());
}

/* Reads N images from where the file is; returns why that failed, NULL if it did not. */
static const char *read_images(FILE *file) {
    if (fread(images, sizeof images, 1, file) == 1) return NULL;
    return ferror(file) ? strerror(errno) : "expected 8 images of 3 x 32 x 32 float32, found the end of the file";
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

/* A new run. One seed: the same weights everywhere. */
static dim_trainer *begin(const dim_architecture *architecture) {
    dim_model *model;
    dim_trainer *trainer;
    dim_trainer_options options;
    must(dim_model_create_with(architecture, 0, &model), "model");
    must(dim_trainer_options_for(model, &options, sizeof options), "options");
    options.micro_batches = K;
    must(dim_trainer_create(model, &options, &trainer), "trainer");
    dim_model_free(model);      /* the trainer keeps it alive */
    return trainer;
}

static dim_trainer *resume(const char *checkpoint, const dim_architecture *architecture) {
    const dim_open_options opening = {.struct_size = sizeof opening, .architecture = architecture};
    dim_trainer *trainer;
    dim_trainer_options options = {.struct_size = sizeof options};
    must(dim_trainer_resume_with(checkpoint, &opening, &trainer), "checkpoint");
    must(dim_trainer_get_options(trainer, &options), "options");
    if (options.micro_batches != K) end(1, checkpoint, "expected a run of 4 micro-batches a step, as this program makes");
    return trainer;
}

/* Rank 0, which saves the checkpoint, says whether there is one: otherwise some processes could begin and others continue. */
static dim_trainer *start(const char *checkpoint, const dim_architecture *architecture) {
    int exists = may_exist(checkpoint);
    MPI_Bcast(&exists, 1, MPI_INT, 0, MPI_COMM_WORLD);
    dim_trainer *trainer = exists ? resume(checkpoint, architecture) : begin(architecture);
    const char *why = rank == 0 ? why_not_saved(checkpoint) : NULL;     /* now, not when all the work is done */
    if (why != NULL) end(1, checkpoint, why);
    unsigned long long mine = dim_trainer_step_count(trainer), step = mine;
    MPI_Bcast(&step, 1, MPI_UNSIGNED_LONG_LONG, 0, MPI_COMM_WORLD);
    if (mine != step) end(1, checkpoint, "its step is not that of rank 0's file; expected the same file for all");
    if (exists && rank == 0) printf("going on from %s, step %llu\n", checkpoint, step);
    return trainer;
}

int main(int argc, char **argv) {
    long steps = 0, bytes = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &processes);
    if (argc != 4) end(2, "arguments", "expected CHECKPOINT, IMAGES and STEPS");
    if (K % processes != 0) end(2, "processes", "expected 1, 2 or 4 of them");
    if (parse_number(argv[3], 1, 1000000000, &steps) != 0) end(2, argv[3], "expected a number of steps, 1 or more");
    if (same_file(argv[1], argv[2])) end(2, argv[1], "CHECKPOINT names the file of IMAGES");
    FILE *file = fopen(argv[2], "rb");
    if (file == NULL) end(1, argv[2], strerror(errno));
    const char *why = read_images(file);        /* a folder, a file that is too short: told before the work begins */
    if (why != NULL) end(1, argv[2], why);
    if (fseek(file, 0, SEEK_END) != 0 || (bytes = ftell(file)) < 0) end(1, argv[2], strerror(errno));
    unsigned long groups = (unsigned long)bytes / sizeof images;
    dim_architecture *architecture;
    must(dim_architecture_preset("basic32", &architecture), "architecture");
    dim_trainer *trainer = start(argv[1], architecture);
    if (processes > 1) must(dim_trainer_set_gradient_callback(trainer, add, NULL), "callback");
    for (; steps > 0; steps--) {
        unsigned long long step = dim_trainer_step_count(trainer);
        int failed = 0, failures;
        for (int part = 0; part < K && !failed; part++) {
            if (part / (K / processes) != rank) {
                failed = dim_trainer_skip(trainer, N) != DIM_OK;
                continue;
            }
            unsigned long long group = (step * K + (unsigned)part) % groups;
            why = fseek(file, (long)(group * sizeof images), SEEK_SET) != 0 ? strerror(errno) : read_images(file);
            failed = why != NULL || dim_trainer_accumulate(trainer, images, N, NULL) != DIM_OK;
        }
        MPI_Allreduce(&failed, &failures, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);     /* all update, or none */
        if (failed) end(1, why != NULL ? argv[2] : "step", why != NULL ? why : dim_last_error());
        if (failures) MPI_Barrier(MPI_COMM_WORLD);      /* until the end by the process that failed: nothing may be saved */
        must(dim_trainer_update(trainer), "step");
    }
    if (rank == 0) must(dim_trainer_save(trainer, argv[1]), "checkpoint");
    dim_trainer_free(trainer);
    dim_architecture_free(architecture);
    fclose(file);
    MPI_Finalize();
    return 0;
}

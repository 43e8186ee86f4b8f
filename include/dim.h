/*
 * dim.h - Deep InfoMax on the CPU, as a C library.
 *
 * libdim holds the networks of Deep InfoMax (Hjelm et al., arXiv:1808.06670): an encoder, discriminators and a
 * classifier, of any size. It encodes images, scores pairs, classifies, trains, and exchanges weights with PyTorch
 * through HDF5 and safetensors files. A model's architecture gives the sizes of its arrays: "Architectures" below, and
 * dim_model_sizes. Functions without an architecture (dim_model_create, dim_model_open) are for the original PyTorch
 * notebook's networks, whose sizes are the macros DIM_NOTEBOOK_*; "the notebook" means that one.
 *
 *     dim_model *model = NULL;
 *     if (dim_model_open("weights.h5", &model) != DIM_OK) { puts(dim_last_error()); return 1; }
 *     dim_status status = dim_encode(model, images, n, encoded, NULL);
 *     dim_model_free(model);
 *
 * Arrays. Every array is C-contiguous float32 in PyTorch's order (n, channel, row, column) = (n, c, h, w); the caller
 *   allocates and owns it. (n, image) is (n, image_channels, image_height, image_width) of dim_sizes, (n, features) and
 *   the others likewise. n is the number of images. An input is only read and an output only written.
 *   Inputs and outputs must not overlap. Pointers need no more alignment than their element type.
 *
 * Errors. Each fallible function returns a dim_status; DIM_OK is 0. On any other value the outputs are
 *   untouched, the handle is as it was before the call, and dim_last_error() says in one or more lines what
 *   was expected and what was found. Nothing aborts, nothing is printed. A NULL, freed or foreign handle is
 *   DIM_INVALID_HANDLE: handles are never reused within a process.
 *
 * Threads. Every function may be called from any thread. One model may be used by several threads at once:
 *   calls in evaluation mode run side by side; a call that changes the model (load, set_parameter, a forward
 *   pass in training mode, a trainer's step) waits for other such calls, and each evaluation call that runs
 *   meanwhile sees all of the old weights or all of the new. Inside one call the library uses up to
 *   dim_num_threads() threads. Results do not depend on the number of threads, bit for bit, nor on the calling
 *   thread's floating-point environment (rounding, flushed subnormal numbers, traps), which is as it was when a call
 *   returns, and while it runs a callback. The library may be
 *   used in a child after fork(). fork() waits for calls of other threads, less than 0.2 s with 32 of them. Where it
 *   interrupted such a call, the object in use is invalid in the child: a trainer that was in a step is
 *   DIM_INVALID_HANDLE there; where a file was being read or written, opening and saving return DIM_IO, except for
 *   untrusted files (dim_open_options). A thread that calls needs a stack of DIM_STACK_SIZE bytes; PTHREAD_STACK_MIN is
 *   too small.
 *
 * Modes. As in PyTorch, batch norm uses running statistics in evaluation mode and the statistics of the batch
 *   in training mode; a forward pass in training mode moves running_mean, running_var and
 *   num_batches_tracked. A model is created in evaluation mode. The original notebook, which never calls
 *   .eval(), shows training mode.
 *
 * Environment. DIM_NUM_THREADS sets the number of threads, DIM_ISA=avx512|avx2|baseline forces the kernels and
 *   DIM_CONV=direct|winograd the convolution algorithm. They are read once, at first use; case and blanks around them
 *   do not matter, and dim_build_info names those that are not understood. Without DIM_NUM_THREADS, or with 0, there are
 *   as many threads as cores that the process may run on and that its control group (cgroup) gives it time for.
 *
 * "Since" is the version of this header's first release of the symbol: 0.1 for all that name none.
 */
#ifndef DIM_H
#define DIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DIM_VERSION_MAJOR 0
#define DIM_VERSION_MINOR 1
#define DIM_VERSION_PATCH 0

/* Floats per image of the notebook's arrays. */
#define DIM_NOTEBOOK_IMAGE_SIZE (3 * 32 * 32)            /* images   (n, 3, 32, 32) */
#define DIM_NOTEBOOK_ENCODED_SIZE 64                     /* encoded  (n, 64) */
#define DIM_NOTEBOOK_FEATURES_SIZE (128 * 26 * 26)       /* features (n, 128, 26, 26) */
#define DIM_NOTEBOOK_LOCAL_SIZE (26 * 26)                /* local logits (n, 1, 26, 26) */
#define DIM_NOTEBOOK_CLASSES 10                          /* class probabilities (n, 10) */

/* Bytes of stack that a calling thread needs, for pthread_attr_setstacksize. */
#define DIM_STACK_SIZE (256 * 1024)

/* ---- Status ------------------------------------------------------------------------------------------ */

/* Result of a call. The values are pinned: a program compiled against one version understands another. */
typedef enum dim_status {
    DIM_OK = 0,
    DIM_INVALID_ARGUMENT = 10,  /* NULL, n = 0, a value outside its range, an image that is not finite */
    DIM_INVALID_HANDLE = 11,    /* NULL, freed, or not made by this library */
    DIM_TOO_LARGE = 12,         /* n is over dim_max_images(), or a size overflows */
    DIM_UNKNOWN_NAME = 13,      /* no parameter of that name */
    DIM_SIZE_MISMATCH = 14,     /* the byte count is not the parameter's */
    DIM_MISSING_NETWORK = 20,   /* the model holds no weights for the network that was asked for */
    DIM_IO = 30,                /* the operating system refused: no such file, no permission, disk full */
    DIM_FILE_FORMAT = 31,       /* neither HDF5 nor safetensors, damaged, or it uses a feature that is refused */
    DIM_FILE_CONTENT = 32,      /* a sound file whose names, shapes, types or values do not fit */
    DIM_OUT_OF_MEMORY = 40,
    DIM_NOT_FINITE = 50,        /* a loss, gradient, weight or statistic would be NaN or infinite: nothing was applied */
    DIM_CANCELLED = 51,         /* the gradient callback asked to stop: the step was not applied */
    DIM_INTERNAL = 90           /* a defect of this library; please report it */
} dim_status;

/* The status's name, "DIM_IO" for instance; "unknown status" for other values. Static storage. */
const char *dim_status_name(dim_status status);

/* The calling thread's last error message, "" if there was none. Never NULL. Valid until the next failing call
 * of this thread; calls that succeed leave it alone. */
const char *dim_last_error(void);

/* ---- Library ----------------------------------------------------------------------------------------- */

/* The library's version, "0.1.0" for instance. Static storage. */
const char *dim_version(void);

/* One line: version, kernels chosen, convolution algorithm, threads, HDF5 version, and after "; not understood: " what
 * is wrong with the environment's values. Valid until this thread's next call of dim_build_info. */
const char *dim_build_info(void);

/* How many threads one call may use; 0 = as many as there are cores, see "Environment" above. Holds for the whole
 * process, from the next call on. Errors: DIM_INVALID_ARGUMENT unless 0 <= n <= 1024. */
dim_status dim_set_num_threads(int n);

/* The number that is in force. */
int dim_num_threads(void);

/* The largest n of one call; dim_model_sizes has any model's. Evaluation mode works through n in blocks of bounded
 * size; training mode needs the whole batch in memory (the notebook's networks about 3 MB an image) and returns
 * DIM_OUT_OF_MEMORY where that fails. */
size_t dim_max_images(void);

/* ---- Architectures ----------------------------------------------------------------------------------- */
/*
 * Which networks: the image's shape, the encoder's layers, the score networks, the prior discriminator, the
 * classifier. An architecture is a value: it is made from a name or from a description in JSON, and never changes.
 * docs/architecture.md has the grammar. Several threads may use one handle at once.
 */
typedef struct dim_architecture dim_architecture;

/* One of the architectures with names: "notebook", "basic28", "basic32", "basic64", "alex64", "resnet19_32".
 * *out: to be freed with dim_architecture_free.
 * Errors: DIM_INVALID_ARGUMENT (NULL, ""), DIM_UNKNOWN_NAME. */
dim_status dim_architecture_preset(const char *name, dim_architecture **out);

/* The name of preset `index`, counted from 0; NULL past the last. Static storage. */
const char *dim_architecture_preset_name(size_t index);

/* Reads a description: JSON, UTF-8, `bytes` bytes without a NUL, at most 60,000. What it leaves out comes from the
 * preset that it names, or has a default. *out: to be freed with dim_architecture_free.
 * Errors: DIM_INVALID_ARGUMENT (NULL; no JSON; a description with faults: dim_last_error() lists all of them, each
 * with its place, "encoder.layers[3].stride: expected 1 to 4, found 0"), DIM_TOO_LARGE. */
dim_status dim_architecture_parse(const char *json, size_t bytes, dim_architecture **out);

/* Writes the canonical description, NUL-terminated: every key with its value, in a fixed order, without spaces. Two
 * architectures are the same if these texts are, "preset" left aside; reading the text gives the same architecture.
 * capacity: of out, in bytes. *needed: the text's bytes with the NUL, also where the capacity is too small; may be
 * NULL. out may be NULL if capacity is 0, to ask for the size.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_SIZE_MISMATCH (the capacity is too small; out is untouched). */
dim_status dim_architecture_json(const dim_architecture *architecture, char *out, size_t capacity, size_t *needed);

/* Writes a table of the layers as JSON: {"layers": [{"network": "encoder", "name": "c0", "op": "conv",
 * "output": [64, 16, 16], "parameters": 3200, "multiply_adds": 786432}, ...], "parameters": ..., "multiply_adds": ...}.
 * A vector's output is [n]; multiply_adds are those of one image's forward pass. Sizes and errors: as
 * dim_architecture_json. */
dim_status dim_architecture_summary(const dim_architecture *architecture, char *out, size_t capacity, size_t *needed);

/* Accepts NULL and ignores a handle that is not live. */
void dim_architecture_free(dim_architecture *architecture);

/* ---- Model ------------------------------------------------------------------------------------------- */

/* A set of networks and their weights. */
typedef struct dim_model dim_model;

/* The networks, as bits of a mask. */
enum {
    DIM_NETWORK_ENCODER = 1,
    DIM_NETWORK_GLOBAL_D = 2,
    DIM_NETWORK_LOCAL_D = 4,
    DIM_NETWORK_PRIOR_D = 8,
    DIM_NETWORK_CLASSIFIER = 16,
    DIM_NETWORK_COORDINATES_D = 32,
    DIM_NETWORK_ALL = 31        /* the notebook's */
};

/* Makes a model with the notebook's five networks, initialised as PyTorch does after torch.manual_seed(seed), the networks
 * made in the notebook's order (Encoder, GlobalDiscriminator, LocalDiscriminator, PriorDiscriminator, Classifier):
 * the same weights bit for bit. As in PyTorch only the low 32 bits of the seed matter.
 * *out: a new model, to be freed with dim_model_free.
 * Errors: DIM_INVALID_ARGUMENT (out is NULL), DIM_OUT_OF_MEMORY. */
dim_status dim_model_create(uint64_t seed, dim_model **out);

/* The same for any architecture: all its networks, with the weights that torch.manual_seed(seed) and PyTorch's modules of
 * the same description have, bit for bit. The architecture is copied.
 * Errors: DIM_INVALID_ARGUMENT (NULL), DIM_INVALID_HANDLE, DIM_OUT_OF_MEMORY. */
dim_status dim_model_create_with(const dim_architecture *architecture, uint64_t seed, dim_model **out);

/* *out: the model's architecture, to be freed with dim_architecture_free.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_OUT_OF_MEMORY. */
dim_status dim_model_architecture(const dim_model *model, dim_architecture **out);

/* Sizes of a model's arrays, in floats an image where nothing else is said; 0 for what the architecture does not have. */
typedef struct dim_sizes {
    size_t struct_size;         /* set by the caller to sizeof(dim_sizes) */
    size_t image_channels, image_height, image_width;
    size_t features_channels, features_height, features_width;
    size_t encoded;
    size_t local_height, local_width;       /* of dim_score_local's logits */
    size_t global_channels, global_height, global_width;    /* of the map that dim_score_global reads */
    size_t conv_channels, conv_height, conv_width;          /* of the last map before it is flattened */
    size_t fc;                  /* the last hidden linear layer */
    size_t classes;
    size_t max_images;          /* the largest n of one call on this model */
} dim_sizes;

/* Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (out is NULL or its struct_size not known). */
dim_status dim_model_sizes(const dim_model *model, dim_sizes *out);

/* Reads a model of the notebook's architecture from an HDF5 file: a file by dim_model_save, a checkpoint, or a state_dict
 * as people write them with h5py; or from a safetensors file. The file may hold any of the networks; dim_model_networks
 * tells which. The file is checked before it is used: docs/hdf5.md and docs/safetensors.md say what is accepted and
 * what is refused.
 * path: bytes, as the system takes them, in no particular encoding; here and in all functions. Messages show bytes that
 * are not UTF-8 as \xe9.
 * A file of another architecture is DIM_FILE_CONTENT: the caller's arrays may be of the notebook's sizes (DIM_NOTEBOOK_*).
 * dim_model_open_with opens it.
 * *out: a new model, to be freed with dim_model_free.
 * Errors: DIM_INVALID_ARGUMENT, DIM_IO, DIM_FILE_FORMAT, DIM_FILE_CONTENT (the message lists all that is wrong),
 * DIM_OUT_OF_MEMORY. */
dim_status dim_model_open(const char *path, dim_model **out);

/* Swaps weights: the file must be of the model's architecture, whatever that is. Every network that it holds replaces the
 * model's, and so do its classes' names, where it has some; networks that the file does not hold stay.
 * All or nothing. Calls that run meanwhile see all-old or all-new, and none of them fails or waits for the swap,
 * however many swaps follow one another (Tests/c/soak_swap.c).
 * Errors: as dim_model_open, and DIM_INVALID_HANDLE. */
dim_status dim_model_load(dim_model *model, const char *path);

/* How a file is opened. All zero but struct_size: as the functions without options do. */
typedef struct dim_open_options {
    size_t struct_size;         /* set by the caller to sizeof(dim_open_options) */
    bool untrusted;             /* the file may be made to do harm: see below */
    bool any_architecture;      /* take whatever the file is; else the notebook's alone */
    double timeout;             /* of an untrusted file's reader, in seconds by the clock; 0: 60 s; at most 86400 */
    const dim_architecture *architecture;   /* what the file must be, and is where it does not say so; NULL: see above */
    uint32_t networks;          /* a mask of DIM_NETWORK_*, of those to read; the others are not compared; 0: all */
} dim_open_options;

/* dim_model_open with options; NULL for none.
 *
 * Architecture. A file by this library names its architecture, and that decides; a name or shape that disagrees is
 * reported. A file that names none: options->architecture, else the notebook where everything fits, else the one preset
 * that fits.
 *
 * Untrusted files. The same checks, and nothing of the file is looked at in this process. A child process without rights
 * reads it, with bounds on memory, time and system calls; what comes back is checked again. A crash of libhdf5 in the
 * child is reported as an error. Costs 10 ms more, or 130 for all networks of the notebook. See docs/isolation.md.
 * The child is the library's file itself, run by the dynamic loader, with the libraries that this process has loaded: all
 * must still be there, and a program with libdim.a inside, or one that has called chroot since, gets DIM_IO. The host
 * gets no SIGCHLD, and wait() does not see the child. The calling thread takes no signals meanwhile.
 *
 * Errors: as dim_model_open, and DIM_INVALID_HANDLE (architecture). Of untrusted files DIM_FILE_FORMAT also where the file
 * ended the child or was not read in time, DIM_IO also where no child can be started. */
dim_status dim_model_open_with(const char *path, const dim_open_options *options, dim_model **out);

/* dim_model_load with options; NULL for none. The file must be of the model's architecture as far as `networks` go, so that
 * a mask reads a pretrained encoder into a model with another classifier. any_architecture is ignored;
 * options->architecture must be NULL or the model's. Errors: as dim_model_open_with and dim_model_load. */
dim_status dim_model_load_with(dim_model *model, const char *path, const dim_open_options *options);

/* Writes all networks of the model to an HDF5 file in PyTorch's layout: one dataset per state_dict entry, at the
 * root, named by its dotted key ("encoder.c0.weight"), float32 (num_batches_tracked int64). Atomic: the file
 * appears whole under its name or not at all, and an older file of that name stays until then. Reading detects any
 * flipped bit.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_IO, DIM_NOT_FINITE (a weight is NaN or infinite),
 * DIM_OUT_OF_MEMORY. */
dim_status dim_model_save(const dim_model *model, const char *path);

/* What a file is written as. Reading tells by the content. */
typedef enum dim_format {
    DIM_FORMAT_HDF5 = 0,
    DIM_FORMAT_SAFETENSORS = 1  /* float32 and int64 tensors by the same names: docs/safetensors.md. No checksums */
} dim_format;

typedef struct dim_save_options {
    size_t struct_size;         /* set by the caller to sizeof(dim_save_options) */
    dim_format format;
} dim_save_options;

/* dim_model_save with options; NULL for what dim_model_save writes. Atomic, too.
 * Errors: as dim_model_save; DIM_INVALID_ARGUMENT also where struct_size or format is not known;
 * DIM_TOO_LARGE where names of classes make a safetensors header larger than one that is read (4 MiB). */
dim_status dim_model_save_with(const dim_model *model, const char *path, const dim_save_options *options);

/* Frees the model. Accepts NULL, and ignores a handle that is not live. A call of another thread that still uses the
 * model completes; its memory is freed after the last user. */
void dim_model_free(dim_model *model);

/* PyTorch's train() and eval(). Errors: DIM_INVALID_HANDLE. */
dim_status dim_model_set_training(dim_model *model, bool training);

/* *out: true in training mode. Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT. */
dim_status dim_model_is_training(const dim_model *model, bool *out);

/* Which networks the model holds, as a mask of DIM_NETWORK_*; 0 for a handle that is not live. */
uint32_t dim_model_networks(const dim_model *model);

/* The classifier's class names: none at first, else one for each class. A weights file keeps them.
 * count is 0 (none) or the architecture's number of classes; each name is UTF-8 of 1 to 255 bytes without control
 * characters. Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_SIZE_MISMATCH (count), DIM_MISSING_NETWORK (no
 * classifier). */
dim_status dim_model_set_class_names(dim_model *model, size_t count, const char *const *names);

/* Copies the name of class `index`, with its NUL, into out; *needed (may be NULL): the bytes it takes, 1 and an empty text
 * where the model has no names. Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (index out of range), DIM_SIZE_MISMATCH
 * (capacity is less than needed; nothing is written but *needed). */
dim_status dim_model_class_name(const dim_model *model, size_t index, char *out, size_t capacity, size_t *needed);

/* ---- Parameters -------------------------------------------------------------------------------------- */

typedef enum dim_dtype {
    DIM_FLOAT32 = 0,
    DIM_INT64 = 1               /* num_batches_tracked alone */
} dim_dtype;

/* One entry of the state_dict. */
typedef struct dim_parameter_info {
    size_t struct_size;         /* set by the caller to sizeof(dim_parameter_info) */
    const char *name;           /* "encoder.c0.weight"; static storage */
    dim_dtype dtype;
    int ndim;                   /* 0 to 4 */
    size_t shape[4];            /* the first ndim count; the rest are 0 */
    size_t bytes;               /* of the whole array */
    bool trainable;             /* false for running statistics and counters */
} dim_parameter_info;

/* How many state_dict entries the model holds; 0 for a handle that is not live. */
size_t dim_model_parameter_count(const dim_model *model);

/* Describes entry `index`, in state_dict order, network after network in the notebook's order.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (index out of range, out is NULL or its struct_size not known). */
dim_status dim_model_parameter_info(const dim_model *model, size_t index, dim_parameter_info *out);

/* *index: the named entry's index. Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_UNKNOWN_NAME. */
dim_status dim_model_find_parameter(const dim_model *model, const char *name, size_t *index);

/* Copies a parameter out. bytes must be the parameter's size (dim_parameter_info.bytes).
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_UNKNOWN_NAME, DIM_SIZE_MISMATCH. */
dim_status dim_model_get_parameter(const dim_model *model, const char *name, void *out, size_t bytes);

/* Replaces a parameter, at once for all later calls. Values must be finite, running_var and num_batches_tracked not
 * negative. Errors: as dim_model_get_parameter; DIM_INVALID_ARGUMENT for a value that is not allowed. */
dim_status dim_model_set_parameter(dim_model *model, const char *name, const void *data, size_t bytes);

/* Replaces several parameters together, all or none: names, data and bytes are arrays of `count` entries, each as for
 * dim_model_set_parameter. Errors: as dim_model_set_parameter; also a name that is listed twice. The message lists all
 * that is wrong. */
dim_status dim_model_set_parameters(dim_model *model, size_t count, const char *const *names, const void *const *data,
                                    const size_t *bytes);

/* ---- Forward passes ---------------------------------------------------------------------------------- */
/* Errors of all: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (NULL, n = 0), DIM_TOO_LARGE, DIM_MISSING_NETWORK,
 * DIM_OUT_OF_MEMORY. An image with NaN or infinity gives NaN or unspecified values for that image; in training mode,
 * where the batch shares its statistics, it is DIM_NOT_FINITE, and so are values so large that the statistics overflow.
 * Shapes in brackets are the notebook's. */

/* The encoder (notebook, class Encoder; paper, section 2).
 * images (n, image) [n,3,32,32], pixels in [0,1]: the architecture's normalisation is applied here.
 * -> encoded (n, encoded) [n,64], features (n, features) [n,128,26,26]; features may be NULL where only the vectors are
 * wanted. */
dim_status dim_encode(dim_model *model, const float *images, size_t n, float *encoded, float *features);

/* Where dim_encode_outputs writes; NULL for what is not wanted. */
typedef struct dim_outputs {
    size_t struct_size;         /* set by the caller to sizeof(dim_outputs) */
    float *encoded;             /* (n, encoded) */
    float *features;            /* (n, features) */
    float *conv;                /* (n, conv): the last map before it is flattened */
    float *fc;                  /* (n, fc): the last hidden linear layer, after norm and activation */
} dim_outputs;

/* Any of the encoder's outputs in one pass. images: as for dim_encode. Errors: as dim_encode; DIM_INVALID_ARGUMENT also
 * where no output is wanted, where conv or fc is wanted of an architecture that has none, and for a struct_size that is
 * not known. */
dim_status dim_encode_outputs(dim_model *model, const float *images, size_t n, const dim_outputs *outputs);

/* The global discriminator. encoded (n, encoded), and a map (n, global) -> logits (n,1). The map is the features where the
 * architecture's global head reads these, as the notebook's does [n,128,26,26], or conv of dim_encode_outputs. */
dim_status dim_score_global(dim_model *model, const float *encoded, const float *features, size_t n, float *logits);

/* The local discriminator. encoded (n, encoded), features (n, features) -> logits (n, 1, local_height, local_width)
 * [n,1,26,26]: each location of an image against the image's own vector. */
dim_status dim_score_local(dim_model *model, const float *encoded, const float *features, size_t n, float *logits);

/* The local scores of all pairs: encoded (n, encoded), features (n, features) -> logits (n, n, local_height, local_width),
 * [i][j] image i's locations against image j's vector. Errors: as dim_score_local; DIM_TOO_LARGE also where
 * n x n x h x w overflows. */
dim_status dim_score_local_pairs(dim_model *model, const float *encoded, const float *features, size_t n, float *logits);

/* The prior discriminator. encoded (n, encoded) -> probabilities (n,1), after the sigmoid; the scores above are logits. */
dim_status dim_score_prior(dim_model *model, const float *encoded, size_t n, float *probabilities);

/* The classifier. encoded (n, encoded) -> softmax probabilities (n, classes) [n,10].
 * In training mode n = 1 is DIM_INVALID_ARGUMENT: one sample has no batch statistics. */
dim_status dim_classify(dim_model *model, const float *encoded, size_t n, float *probabilities);

/* ---- Training: the Deep InfoMax objective ------------------------------------------------------------ */
/*
 * The notebook's objective, the default of its architecture; dim_trainer_options has the others, docs/training.md their
 * formulas. With M' the features rotated by one image, M'_i = M_((i+1) mod n), T the discriminators' logits, D the prior
 * discriminator's probability and u uniform on [0,1)^encoded, drawn anew each step:
 *
 *   local  = mean softplus(-T_l(y,M)) + mean softplus(T_l(y,M'))      over n x local_height x local_width
 *   global = mean softplus(-T_g(y,M)) + mean softplus(T_g(y,M'))      over n
 *   prior  = -(mean log D(u) + mean log(1 - D(y)))
 *   total  = beta local + alpha global + gamma prior
 *
 * Two Adams, as PyTorch's: one over the encoder, one over the discriminators. Everything is computed from
 * logits and stays finite however far a discriminator saturates. See docs/training.md.
 */

/* A training run on a model. It keeps the model alive; the model's weights move with each step, and the model may
 * be used meanwhile. Calls on one trainer wait for each other. */
typedef struct dim_trainer dim_trainer;

/* What the encoder does about the prior term. */
typedef enum dim_prior {
    DIM_PRIOR_MONOLITHIC = 0,   /* minimises it, as the discriminator does: the linked implementation */
    DIM_PRIOR_ADVERSARIAL = 1,  /* minimises -gamma mean log D(y) instead: the paper, non-saturating */
    DIM_PRIOR_NONE = 2          /* there is no prior term */
} dim_prior;

/* How scores become a loss; docs/training.md has the formulas. */
typedef enum dim_measure {
    DIM_MEASURE_JSD = 0,        /* Jensen-Shannon, the paper's default */
    DIM_MEASURE_GAN = 1,        /* the linked implementation's: jsd + 2 ln 2 */
    DIM_MEASURE_KL = 2,
    DIM_MEASURE_RKL = 3,
    DIM_MEASURE_H2 = 4,
    DIM_MEASURE_DV = 5,         /* Donsker-Varadhan */
    DIM_MEASURE_NCE = 6         /* infoNCE */
} dim_measure;

/* The negatives: the images that each vector is distinguished from. A positive number k: so many other images of the batch,
 * drawn anew each step. */
enum {
    DIM_NEGATIVES_ROTATION = 0, /* the next image of the batch: the linked implementation */
    DIM_NEGATIVES_ALL = -1      /* all other images of the batch */
};

/* Whether a network of the architecture ("coordinates") predicts where in its map a location lies, from the location's
 * features and the image's vector; docs/training.md. */
typedef enum dim_coordinates {
    DIM_COORDINATES_NONE = 0,
    DIM_COORDINATES_ABSOLUTE = 1,   /* its row and column */
    DIM_COORDINATES_RELATIVE = 2    /* how many rows and columns it is from another location, drawn anew each step */
} dim_coordinates;

/* Fill with dim_trainer_options_init, then change what should differ. */
typedef struct dim_trainer_options {
    size_t struct_size;                 /* set by dim_trainer_options_init */
    dim_prior prior;                    /* DIM_PRIOR_MONOLITHIC */
    uint64_t seed;                      /* 0; of the prior noise: torch.manual_seed(seed), one rand_like(y) a step */
    double alpha;                       /* 0.5, the weight of the global term */
    double beta;                        /* 1.0, of the local term */
    double gamma;                       /* 0.1, of the prior term */
    double encoder_learning_rate;       /* 1e-4 */
    double discriminator_learning_rate; /* 1e-4 */
    double adam_beta1;                  /* 0.9, Adam's */
    double adam_beta2;                  /* 0.999 */
    double epsilon;                     /* 1e-8 */
    double weight_decay;                /* 0, added to the gradient as in torch.optim.Adam */
    dim_measure measure;                /* DIM_MEASURE_GAN */
    int32_t negatives;                  /* DIM_NEGATIVES_ROTATION */
    double gradient_penalty;            /* 0; of the prior discriminator, DIM_PRIOR_ADVERSARIAL alone (R1) */
    double gradient_clip;               /* 0; else all gradients of a step are scaled down to this Euclidean norm */
    dim_coordinates coordinates;        /* DIM_COORDINATES_NONE */
    uint32_t locations;                 /* 0: the local term uses all; else so many of each image, drawn anew each step */
    double coordinates_weight;          /* 1, the weight of the coordinates' term */
    int32_t occlusion;                  /* 0; 1: vectors come from images with a box of half their height and width hidden,
                                           features from whole ones */
    size_t micro_batches;               /* 1; parts of a step, 1 to 4096: dim_trainer_accumulate */
} dim_trainer_options;

/* The terms of one batch, without their weights. total = beta local + alpha global + gamma prior, and with coordinates
 * + coordinates_weight coordinates (dim_trainer_report has that term). */
typedef struct dim_losses {
    double total;
    double local;
    double global;
    double prior;
} dim_losses;

/* Sets the defaults named above. struct_size: sizeof(dim_trainer_options) as the caller was compiled with, so that
 * the struct can grow. Errors: DIM_INVALID_ARGUMENT (options is NULL, a struct_size that no version had). */
dim_status dim_trainer_options_init(dim_trainer_options *options, size_t struct_size);

/* Sets the defaults of the model's architecture: those of the preset that it comes from. dim_trainer_options_init sets the
 * notebook's. Errors: as dim_trainer_options_init, and DIM_INVALID_HANDLE. */
dim_status dim_trainer_options_for(const dim_model *model, dim_trainer_options *options, size_t struct_size);

/* Starts a run on the model's encoder and the networks whose terms have a weight. options: NULL for the defaults of the
 * model's architecture (dim_trainer_options_for); copied.
 * *out: a new trainer, to be freed with dim_trainer_free.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (a value that is not finite or out of range), DIM_MISSING_NETWORK,
 * DIM_OUT_OF_MEMORY. */
dim_status dim_trainer_create(dim_model *model, const dim_trainer_options *options, dim_trainer **out);

/* Frees the trainer, not the model. Accepts NULL and ignores a handle that is not live. */
void dim_trainer_free(dim_trainer *trainer);

/* One step: forward in training mode, backward, both Adams. images (n, image), n >= 2 (with one image the rotated
 * negative would be the positive); with micro_batches K, n is a multiple of K and n / K >= 2. *losses: of this batch (the
 * mean over micro-batches), before the update; may be NULL. The model's training
 * mode flag does not matter and does not change.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (NULL, n < 2, an image with NaN or infinity), DIM_TOO_LARGE,
 * DIM_OUT_OF_MEMORY, DIM_NOT_FINITE (a loss or gradient is NaN or infinite, or a weight or moment would be),
 * DIM_CANCELLED; DIM_INVALID_ARGUMENT also where the gradient callback left a negative variance. On an error model,
 * optimisers and random state are as before. */
dim_status dim_trainer_step(dim_trainer *trainer, const float *images, size_t n, dim_losses *losses);

/* Forward and backward only: adds the gradients of this micro-batch to the waiting ones. Each micro-batch has batch
 * statistics, negatives and noise of its own; random numbers come from one stream, micro-batch after micro-batch. Running
 * statistics move by each in turn. With micro_batches 1 a step has any number of them. With K > 1 it has K, and sums of equally
 * many are added first, as a binary counter carries, so that processes can share them: dim_trainer_skip.
 * Errors: as dim_trainer_step; on an error what waits is as before. */
dim_status dim_trainer_accumulate(dim_trainer *trainer, const float *images, size_t n, dim_losses *losses);

/* Another process that trains together with this one computes the next micro-batch, of n images: draws its random numbers.
 * Each process accumulates its own micro-batches and skips the others, in order. micro_batches is a power of two, and so is
 * each process's part, which is one stretch that begins at a multiple of its length. Then dim_trainer_update hands an array to
 * the gradient callback that it is to add, number by number, over all processes, in the order of the micro-batches: neighbours
 * first, then pairs of neighbours, and so on. The result does not depend on the number of processes, in no bit.
 * bindings/c/train_mpi.c does it over MPI; docs/distributed.md has more. The first call computes a micro-batch of noise,
 * where no other has been computed, to see what it draws.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (n < 2, micro_batches 1, no micro-batch is left in the step),
 * DIM_TOO_LARGE, DIM_OUT_OF_MEMORY, DIM_NOT_FINITE. */
dim_status dim_trainer_skip(dim_trainer *trainer, size_t n);

/* Drops the micro-batches that wait: those of all processes, where one of them failed. The random state is as before the first
 * of them. Errors: DIM_INVALID_HANDLE. */
dim_status dim_trainer_drop(dim_trainer *trainer);

/* Ends a step: divides the waiting gradients by the number of micro-batches, hands them to the gradient callback,
 * updates. dim_trainer_step is dim_trainer_accumulate for each micro-batch and one dim_trainer_update.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (nothing waits, or not micro_batches of them, or parts of a step that
 * cannot be shared: what waits is as before; the callback left a negative variance, or not the sum over all processes),
 * DIM_OUT_OF_MEMORY, DIM_NOT_FINITE, DIM_CANCELLED: what waits is dropped, and the random state is as before it. */
dim_status dim_trainer_update(dim_trainer *trainer);

/* The losses of a batch without any change: evaluation mode, in blocks of bounded size, prior noise from a stream of
 * its own that starts anew at each call. Errors: as dim_trainer_step. */
dim_status dim_trainer_evaluate(dim_trainer *trainer, const float *images, size_t n, dim_losses *losses);

/* What the last successful dim_trainer_step, _accumulate, _update or _evaluate computed; see dim_trainer_report. NaN for what
 * it did not compute. */
typedef struct dim_report {
    size_t struct_size;         /* sizeof(dim_report), set by the caller */
    uint64_t step;              /* how many updates the run has made */
    size_t images;              /* that the figures are of; 0 before the first call */
    double total;               /* the losses, as in dim_losses: the mean over the step's micro-batches */
    double local;
    double global;
    double prior;
    double coordinates;
    double gradient_penalty;    /* half of the mean squared gradients, without its weight; no part of total */
    double local_information;   /* the estimate that belongs to the measure, in nats: docs/measures.md */
    double global_information;
    double local_score;         /* the largest |score|; NaN for the notebook's own objective, which holds no scores */
    double global_score;
    double prior_distance;      /* the mean over y's numbers of the Wasserstein distance between their values, after the
                                   prior's squash, and the uniform distribution on [0,1) */
    double gradient_norm;       /* the Euclidean norm of the update's gradients, after the callback, before gradient_clip */
    double encoder_norm;        /* and of each network's */
    double global_d_norm;
    double local_d_norm;
    double prior_d_norm;
    double coordinates_d_norm;
} dim_report;

/* Every figure of the trainer's last call. out->struct_size must be set; the call computes the distance of the vectors,
 * everything else was there. Not part of a checkpoint. Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_OUT_OF_MEMORY. */
dim_status dim_trainer_report(const dim_trainer *trainer, dim_report *out);

/* Copies out the waiting gradient of a trainable parameter (after dim_trainer_accumulate; the sum over
 * micro-batches).
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (nothing waits), DIM_UNKNOWN_NAME (also of parameters that are
 * not trained), DIM_SIZE_MISMATCH. */
dim_status dim_trainer_get_gradient(const dim_trainer *trainer, const char *name, void *out, size_t bytes);

/* Called once a step before the update, in the thread that steps, with all gradients of the step and the running
 * statistics that the step would set, as one array: processes that train together average it over all of them, in
 * place. After dim_trainer_skip it is sums that they add up, not averages. The order is the same in every process of one
 * version. Return 0 to continue, anything else to drop the step
 * (DIM_CANCELLED). The callback must not call functions on the same trainer, and it must return: where longjmp,
 * pthread_exit, pthread_cancel or a C++ exception leaves it instead, the trainer's and the model's locks stay held and
 * their memory is not freed. */
typedef int (*dim_gradient_callback)(float *values, size_t count, void *context);

/* callback: NULL for none. Errors: DIM_INVALID_HANDLE. */
dim_status dim_trainer_set_gradient_callback(dim_trainer *trainer, dim_gradient_callback callback, void *context);

/* From the next step on. Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT unless both are finite and not negative. */
dim_status dim_trainer_set_learning_rates(dim_trainer *trainer, double encoder, double discriminator);

/* *options: as they are now, learning rates included. options->struct_size must be set.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT. */
dim_status dim_trainer_get_options(const dim_trainer *trainer, dim_trainer_options *options);

/* How many updates the run has made; 0 for a handle that is not live. */
uint64_t dim_trainer_step_count(const dim_trainer *trainer);

/* *out: a new handle on the trainer's model, to be freed with dim_model_free.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_OUT_OF_MEMORY. */
dim_status dim_trainer_model(const dim_trainer *trainer, dim_model **out);

/* Writes a checkpoint: an HDF5 weights file of all the model's networks, with the optimisers' moments, step, random
 * state and options in a group of its own. Atomic, as dim_model_save. dim_model_open opens it as weights. Waiting
 * gradients are not part of it: DIM_INVALID_ARGUMENT while there are some.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_IO, DIM_NOT_FINITE (a weight or a running statistic is NaN or
 * infinite), DIM_OUT_OF_MEMORY. */
dim_status dim_trainer_save(const dim_trainer *trainer, const char *path);

/* Continues where a checkpoint of the notebook's architecture stopped, with a model of its own (dim_trainer_model):
 * bit-identical to a run that never
 * stopped. The gradient callback is not part of a checkpoint.
 * Errors: DIM_INVALID_ARGUMENT, DIM_IO, DIM_FILE_FORMAT, DIM_FILE_CONTENT (also: written by a newer version),
 * DIM_OUT_OF_MEMORY. */
dim_status dim_trainer_resume(const char *path, dim_trainer **out);

/* dim_trainer_resume with options, as dim_model_open_with has them; NULL for none. options->networks must be 0.
 * Errors: as dim_trainer_resume and dim_model_open_with. */
dim_status dim_trainer_resume_with(const char *path, const dim_open_options *options, dim_trainer **out);

/* ---- Training: the classifier ------------------------------------------------------------------------ */

/* Trains the model's classifier on labelled images, alone or together with the encoder. */
typedef struct dim_classifier_trainer dim_classifier_trainer;

/* What happens to the encoder. */
typedef enum dim_encoder_use {
    DIM_ENCODER_FROZEN = 0,                 /* as it is, in evaluation mode */
    DIM_ENCODER_FROZEN_BATCH_STATISTICS = 1,/* weights fixed, training mode: what the linked implementation does */
    DIM_ENCODER_TRAINED = 2                 /* end to end, training mode */
} dim_encoder_use;

/* Which cross-entropy. */
typedef enum dim_classifier_loss {
    DIM_LOSS_LOGITS = 0,        /* of the logits (bn3's output) */
    DIM_LOSS_SOFTMAX_TWICE = 1  /* of the softmax output taken as logits: what the linked implementation does */
} dim_classifier_loss;

/* Fill with dim_classifier_options_init, then change what should differ. */
typedef struct dim_classifier_options {
    size_t struct_size;         /* set by dim_classifier_options_init */
    dim_encoder_use encoder;    /* DIM_ENCODER_FROZEN */
    dim_classifier_loss loss;   /* DIM_LOSS_LOGITS */
    double learning_rate;       /* 1e-4 */
    double adam_beta1;          /* 0.9 */
    double adam_beta2;          /* 0.999 */
    double epsilon;             /* 1e-8 */
    double weight_decay;        /* 0 */
} dim_classifier_options;

/* How a classifier did on a batch. */
typedef struct dim_classifier_result {
    double loss;                /* mean over the batch */
    size_t correct;             /* images whose largest probability is their label's */
    size_t count;               /* images in the batch */
} dim_classifier_result;

/* Errors: DIM_INVALID_ARGUMENT. */
dim_status dim_classifier_options_init(dim_classifier_options *options, size_t struct_size);

/* As dim_trainer_create, on the model's encoder and classifier. Free with dim_classifier_trainer_free.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_MISSING_NETWORK, DIM_OUT_OF_MEMORY. */
dim_status dim_classifier_trainer_create(dim_model *model, const dim_classifier_options *options,
                                         dim_classifier_trainer **out);

/* Accepts NULL and ignores a handle that is not live. */
void dim_classifier_trainer_free(dim_classifier_trainer *trainer);

/* One step. images (n, image), labels (n) from 0 to classes - 1, n >= 2. *result: of this batch, before the update;
 * may be NULL.
 * Errors: as dim_trainer_step; DIM_INVALID_ARGUMENT also for a label out of range. */
dim_status dim_classifier_trainer_step(dim_classifier_trainer *trainer, const float *images, const int64_t *labels,
                                       size_t n, dim_classifier_result *result);

/* The same from vectors that dim_encode made: saves encoding again where the encoder is frozen.
 * encoded (n, encoded). Errors: as dim_classifier_trainer_step; DIM_INVALID_ARGUMENT unless the encoder is
 * DIM_ENCODER_FROZEN. */
dim_status dim_classifier_trainer_step_encoded(dim_classifier_trainer *trainer, const float *encoded,
                                               const int64_t *labels, size_t n, dim_classifier_result *result);

/* Evaluation mode, nothing changes. confusion (classes, classes): row = label, column = prediction, added to what is there so
 * that batches add up; may be NULL. The precision of class c is confusion[c][c] over the sum of column c.
 * n >= 1. Errors: as dim_classifier_trainer_step. */
dim_status dim_classifier_trainer_evaluate(dim_classifier_trainer *trainer, const float *images,
                                           const int64_t *labels, size_t n, dim_classifier_result *result,
                                           uint64_t *confusion);

/* As dim_trainer's functions of the same names. */
dim_status dim_classifier_trainer_set_learning_rate(dim_classifier_trainer *trainer, double learning_rate);
dim_status dim_classifier_trainer_get_options(const dim_classifier_trainer *trainer, dim_classifier_options *options);
uint64_t dim_classifier_trainer_step_count(const dim_classifier_trainer *trainer);
dim_status dim_classifier_trainer_model(const dim_classifier_trainer *trainer, dim_model **out);
dim_status dim_classifier_trainer_save(const dim_classifier_trainer *trainer, const char *path);
dim_status dim_classifier_trainer_resume(const char *path, dim_classifier_trainer **out);
dim_status dim_classifier_trainer_resume_with(const char *path, const dim_open_options *options,
                                              dim_classifier_trainer **out);

#ifdef __cplusplus
}
#endif

#endif /* DIM_H */

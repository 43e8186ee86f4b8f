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
 *   was expected and what was found. Nothing aborts, nothing is printed; SECURITY.md has the exceptions. A NULL,
 *   freed or foreign handle is DIM_INVALID_HANDLE: handles are never reused within a process.
 *
 * Threads. Every function may be called from any thread. One model may be used by several threads at once:
 *   calls in evaluation mode run side by side; a call that changes the model (load, set_parameter, a forward
 *   pass in training mode, a trainer's step) waits for other such calls, and each evaluation call that runs
 *   meanwhile sees all of the old weights or all of the new. Inside one call the library uses up to
 *   dim_num_threads() threads. Results do not depend on the number of threads, bit for bit, nor on the calling
 *   thread's floating-point environment (rounding, flushed subnormal numbers, traps), which is as it was when a call
 *   returns, and while it runs a callback. A calling thread needs a stack of DIM_STACK_SIZE bytes; PTHREAD_STACK_MIN is
 *   too small.
 *
 * Forks. The library may be used in a child after fork(), which waits for calls of other threads, less than 0.2 s with
 *   32 of them. If it interrupts such a call, the object in use is invalid in the child: a trainer that was in a step is
 *   DIM_INVALID_HANDLE there. If a file was being read or written, opening and saving return DIM_IO in the child,
 *   except for untrusted files (dim_open_options). A fork while another thread is in a call that is the first of its kind
 *   in the process can leave the child waiting for ever, for locks of Swift's runtime: where other threads call the
 *   library when a process forks, make one call of each kind before.
 *
 * Modes. As in PyTorch, batch norm uses running statistics in evaluation mode and the statistics of the batch
 *   in training mode; a forward pass in training mode moves running_mean, running_var and
 *   num_batches_tracked. A model is created in evaluation mode. The original notebook, which never calls
 *   .eval(), shows training mode.
 *
 * Environment. DIM_NUM_THREADS sets the number of threads, DIM_ISA=avx512|avx2|baseline forces the kernels and
 *   DIM_CONV=direct|winograd the convolution algorithm. They are read once, at first use; case and surrounding blanks
 *   are ignored, and dim_build_info lists values that are not valid. Without DIM_NUM_THREADS, or with 0, there are as
 *   many threads as cores that the process may use: those of its affinity mask, limited by the CPU quota of
 *   its control group. More than 1024 are 1024.
 *
 * "Since" names the first version with a symbol: 0.1 where there is none.
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
    DIM_UNKNOWN_NAME = 13,      /* no parameter or preset of that name */
    DIM_SIZE_MISMATCH = 14,     /* a byte count is not the parameter's, or a capacity is too small */
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

/* One line: version, kernels chosen, convolution algorithm, threads, HDF5 version, "mixed precision" where there is
 * DIM_PRECISION_MIXED, and after "; not understood: " the environment variables whose values are not valid. Valid until
 * this thread's next call of dim_build_info. */
const char *dim_build_info(void);

/* Sets how many threads one call may use; 0 = all cores, see "Environment" above. Applies to the whole process, from
 * the next call on. Errors: DIM_INVALID_ARGUMENT unless 0 <= n <= 1024. */
dim_status dim_set_num_threads(int n);

/* How many threads one call may use. */
int dim_num_threads(void);

/* The largest n of one call; dim_sizes.max_images is the limit of one model. Evaluation mode processes n
 * images in blocks of bounded size; training mode needs memory for the whole batch (about 3 MB an image for
 * the notebook's networks) and returns DIM_OUT_OF_MEMORY if there is not enough. */
size_t dim_max_images(void);

/* ---- Architectures ----------------------------------------------------------------------------------- */
/*
 * The shape of an image, the encoder's layers, the score networks, the prior discriminator and the classifier. An
 * architecture is made from a preset's name or a description in JSON, and never changes. docs/architecture.md has the
 * grammar. Several threads may use one handle at once.
 */
typedef struct dim_architecture dim_architecture;

/* A preset: "notebook", "basic28", "basic32", "basic64", "alex64" or "resnet19_32".
 * *out: to be freed with dim_architecture_free.
 * Errors: DIM_INVALID_ARGUMENT (NULL, ""), DIM_UNKNOWN_NAME. */
dim_status dim_architecture_preset(const char *name, dim_architecture **out);

/* The name of preset `index`, counted from 0; NULL past the last. Static storage. */
const char *dim_architecture_preset_name(size_t index);

/* Reads a description: JSON, UTF-8, `bytes` bytes without a NUL, at most 60,000. A key that is left out has the value
 * of the preset that the description names, else a default. *out: to be freed with dim_architecture_free.
 * Errors: DIM_INVALID_ARGUMENT (NULL; not JSON; a description with faults: dim_last_error() lists all of them, each
 * with its place, "encoder.layers[3].stride: expected 1 to 4, found 0"), DIM_TOO_LARGE. */
dim_status dim_architecture_parse(const char *json, size_t bytes, dim_architecture **out);

/* Writes the canonical description, NUL-terminated: every key with its value, in a fixed order, without spaces. Two
 * architectures are equal if these texts are, apart from "preset"; parsing the text gives the same architecture.
 * capacity: bytes of out. *needed: bytes of the text with its NUL, set also if the capacity is too small; may be
 * NULL. To ask for the size, pass capacity 0; out may then be NULL.
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

/* The same for any architecture: all its networks, with the weights that PyTorch's modules of the same description have
 * after torch.manual_seed(seed), bit for bit. The architecture is copied.
 * Errors: DIM_INVALID_ARGUMENT (NULL), DIM_INVALID_HANDLE, DIM_OUT_OF_MEMORY. */
dim_status dim_model_create_with(const dim_architecture *architecture, uint64_t seed, dim_model **out);

/* *out: the model's architecture, to be freed with dim_architecture_free.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_OUT_OF_MEMORY. */
dim_status dim_model_architecture(const dim_model *model, dim_architecture **out);

/* Sizes of a model's arrays for one image, in floats; 0 for what the architecture does not have. */
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
 * written with h5py; or from a safetensors file. The file may hold any of the networks; dim_model_networks returns
 * which. The file is checked before it is used: docs/hdf5.md and docs/safetensors.md list what is accepted and refused.
 * A file of another architecture is DIM_FILE_CONTENT, so that arrays of the sizes DIM_NOTEBOOK_* are always large
 * enough; dim_model_open_with opens it.
 * path: bytes as the system takes them, in any encoding; here and in all functions. Messages show bytes that are not
 * UTF-8 as \xe9.
 * *out: a new model, to be freed with dim_model_free.
 * Errors: DIM_INVALID_ARGUMENT, DIM_IO, DIM_FILE_FORMAT, DIM_FILE_CONTENT (the message lists all that is wrong),
 * DIM_OUT_OF_MEMORY. */
dim_status dim_model_open(const char *path, dim_model **out);

/* Swaps weights. The file must be of the model's architecture. Every network in the file replaces the model's, and so
 * do class names if the file has any; networks that the model did not hold are added, which changes the indices of
 * parameters; networks that are not in the file stay. All or nothing. Calls that run meanwhile see all old or all new
 * weights; none of them fails or waits for a swap, even under continuous swaps (Tests/c/soak_swap.c).
 * Errors: as dim_model_open, and DIM_INVALID_HANDLE. */
dim_status dim_model_load(dim_model *model, const char *path);

/* How a file is opened. With all members 0 except struct_size: as by the functions without options. */
typedef struct dim_open_options {
    size_t struct_size;         /* set by the caller to sizeof(dim_open_options) */
    bool untrusted;             /* a child process without privileges reads the file: see below */
    bool any_architecture;      /* accept any architecture; false: the notebook's only */
    double timeout;             /* wall-clock seconds to read an untrusted file; 0: 60 s; at most 86400 */
    const dim_architecture *architecture;   /* required of the file, assumed if it names none; NULL: see below */
    uint32_t networks;          /* the networks to read, a mask of DIM_NETWORK_*; others are not checked; 0: all */
} dim_open_options;

/* dim_model_open with options; NULL for none.
 *
 * Architecture. A file written by this library names its architecture, which is used; a name or shape that disagrees is
 * reported. If the file names none, it is read as options->architecture; if that is NULL, as the notebook's if
 * everything fits, else as the one preset that fits.
 *
 * Untrusted files. The same checks, but this process parses nothing of the file. A child process without privileges
 * reads it, with limits on memory, time and system calls; its result is checked again. A crash of libhdf5 in the
 * child is reported as an error. This takes some 20 ms longer, 140 for all networks of the notebook. See
 * docs/isolation.md. The child is the library's own file, started by the dynamic loader with the libraries that this
 * process has loaded. All these files must still exist: a program that links libdim.a, or has called chroot since, gets
 * DIM_IO. The host gets no SIGCHLD, and wait() does not see the child. Signals of the calling thread are blocked
 * meanwhile.
 *
 * Errors: as dim_model_open, and DIM_INVALID_HANDLE (architecture). For untrusted files also DIM_FILE_FORMAT if the
 * child crashed or reached the timeout, and DIM_IO if no child can be started. */
dim_status dim_model_open_with(const char *path, const dim_open_options *options, dim_model **out);

/* dim_model_load with options; NULL for none. Only the networks in `networks` must be of the model's architecture: a
 * mask reads a pretrained encoder into a model with another classifier. any_architecture is ignored;
 * options->architecture must be NULL or the model's. Errors: as dim_model_open_with and dim_model_load. */
dim_status dim_model_load_with(dim_model *model, const char *path, const dim_open_options *options);

/* Writes all networks of the model to an HDF5 file in PyTorch's layout: one dataset per state_dict entry, at the
 * root, named by its dotted key ("encoder.c0.weight"), float32 (num_batches_tracked int64). Atomic: an existing file of
 * that name is replaced by the complete new one or stays. Checksums let a reader detect any flipped bit.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_IO, DIM_NOT_FINITE (a weight is NaN or infinite),
 * DIM_OUT_OF_MEMORY. */
dim_status dim_model_save(const dim_model *model, const char *path);

/* The format to write. Reading recognises the format by the content. */
typedef enum dim_format {
    DIM_FORMAT_HDF5 = 0,
    DIM_FORMAT_SAFETENSORS = 1  /* float32 and int64 tensors by the same names: docs/safetensors.md. No checksums */
} dim_format;

typedef struct dim_save_options {
    size_t struct_size;         /* set by the caller to sizeof(dim_save_options) */
    dim_format format;
} dim_save_options;

/* dim_model_save with options; NULL for HDF5. Atomic as well.
 * Errors: as dim_model_save; DIM_INVALID_ARGUMENT also if struct_size or format is not known;
 * DIM_TOO_LARGE if class names make a safetensors header larger than the 4 MiB that a reader accepts. */
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

/* Sets the class names of the classifier, which a new model does not have. A weights file stores them.
 * count is 0 (none) or the architecture's number of classes; each name is UTF-8 of 1 to 255 bytes without control
 * characters, and no two are the same. Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_SIZE_MISMATCH (count),
 * DIM_MISSING_NETWORK (the model holds no classifier), DIM_TOO_LARGE (names of more than 16 MiB
 * together, as the list in JSON that a file holds). */
dim_status dim_model_set_class_names(dim_model *model, size_t count, const char *const *names);

/* Copies the name of class `index`, with its NUL, into out; "" if the model has no names. *needed (may be NULL): its
 * bytes with the NUL. To ask for the size, pass capacity 0; out may then be NULL. Errors: DIM_INVALID_HANDLE,
 * DIM_INVALID_ARGUMENT (index out of range, out is NULL), DIM_SIZE_MISMATCH (capacity is less than *needed; only *needed
 * is written). */
dim_status dim_model_class_name(const dim_model *model, size_t index, char *out, size_t capacity, size_t *needed);

/* ---- Parameters -------------------------------------------------------------------------------------- */

typedef enum dim_dtype {
    DIM_FLOAT32 = 0,
    DIM_INT64 = 1               /* num_batches_tracked only */
} dim_dtype;

/* One entry of the state_dict. */
typedef struct dim_parameter_info {
    size_t struct_size;         /* set by the caller to sizeof(dim_parameter_info) */
    const char *name;           /* "encoder.c0.weight"; valid as long as the model */
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

/* Replaces a parameter for all later calls. Values must be finite; running_var and num_batches_tracked must not be
 * negative. Errors: as dim_model_get_parameter; DIM_INVALID_ARGUMENT for a value that is not allowed. */
dim_status dim_model_set_parameter(dim_model *model, const char *name, const void *data, size_t bytes);

/* Replaces several parameters together, all or none: names, data and bytes are arrays of `count` entries, each as for
 * dim_model_set_parameter. Errors: as dim_model_set_parameter, also for a name that is listed twice. The message lists
 * all faults. */
dim_status dim_model_set_parameters(dim_model *model, size_t count, const char *const *names, const void *const *data,
                                    const size_t *bytes);

/* ---- Forward passes ---------------------------------------------------------------------------------- */
/* Errors of all: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (NULL, n = 0), DIM_TOO_LARGE, DIM_MISSING_NETWORK,
 * DIM_OUT_OF_MEMORY. In evaluation mode an image with NaN or infinity gives NaN or unspecified values for that image.
 * In training mode, in an encoder or a classifier with batch norm, whose batch shares its statistics, such an image is
 * DIM_NOT_FINITE, and so are values so large that the statistics overflow; n = 1 is DIM_INVALID_ARGUMENT where batch norm
 * would see one value, as behind a linear layer: it has no statistics. Shapes in brackets are the notebook's. */

/* The encoder (notebook, class Encoder; paper, section 2).
 * images (n, image) [n,3,32,32], pixels in [0,1]: the architecture's normalisation is applied here.
 * -> encoded (n, encoded) [n,64], features (n, features) [n,128,26,26]; features may be NULL. */
dim_status dim_encode(dim_model *model, const float *images, size_t n, float *encoded, float *features);

/* Where dim_encode_outputs writes; NULL for an output that is not wanted. */
typedef struct dim_outputs {
    size_t struct_size;         /* set by the caller to sizeof(dim_outputs) */
    float *encoded;             /* (n, encoded) */
    float *features;            /* (n, features) */
    float *conv;                /* (n, conv): the last map before it is flattened */
    float *fc;                  /* (n, fc): the last hidden linear layer, after norm and activation */
} dim_outputs;

/* Any of the encoder's outputs in one pass. images: as for dim_encode. Errors: as dim_encode; DIM_INVALID_ARGUMENT also
 * if all outputs are NULL, if conv or fc is not NULL and the architecture has none, and if struct_size is not known. */
dim_status dim_encode_outputs(dim_model *model, const float *images, size_t n, const dim_outputs *outputs);

/* The global discriminator. encoded (n, encoded), and a map (n, global) -> logits (n,1). The map is the one that the
 * architecture's global head reads: features, as in the notebook [n,128,26,26], or conv of dim_encode_outputs. */
dim_status dim_score_global(dim_model *model, const float *encoded, const float *features, size_t n, float *logits);

/* The local discriminator. encoded (n, encoded), features (n, features) -> logits (n, 1, local_height, local_width)
 * [n,1,26,26]: scores each location of an image against the image's own vector. */
dim_status dim_score_local(dim_model *model, const float *encoded, const float *features, size_t n, float *logits);

/* The local scores of all pairs: encoded (n, encoded), features (n, features) -> logits (n, n, local_height, local_width),
 * [i][j] image i's locations against image j's vector. Errors: as dim_score_local; DIM_TOO_LARGE also where
 * n x n x h x w overflows. */
dim_status dim_score_local_pairs(dim_model *model, const float *encoded, const float *features, size_t n, float *logits);

/* The prior discriminator. encoded (n, encoded) -> probabilities (n,1), after the sigmoid; those above return logits. */
dim_status dim_score_prior(dim_model *model, const float *encoded, size_t n, float *probabilities);

/* The classifier. encoded (n, encoded) -> softmax probabilities (n, classes) [n,10]. */
dim_status dim_classify(dim_model *model, const float *encoded, size_t n, float *probabilities);

/* ---- Training: the Deep InfoMax objective ------------------------------------------------------------ */
/*
 * The formulas below are the notebook's objective, the default of its architecture. dim_trainer_options selects others;
 * docs/training.md has their formulas. With M' the features rotated by one image, M'_i = M_((i+1) mod n), T the
 * discriminators' logits, D the prior discriminator's probability and u uniform on [0,1)^encoded, drawn anew each step:
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

/* How the prior term trains the encoder. "The linked implementation" is the code that the notebook links to
 * (docs/original.md). */
typedef enum dim_prior {
    DIM_PRIOR_MONOLITHIC = 0,   /* encoder and discriminator both minimise it: the linked implementation */
    DIM_PRIOR_ADVERSARIAL = 1,  /* the encoder minimises -gamma mean log D(y) instead: the paper, non-saturating */
    DIM_PRIOR_NONE = 2          /* there is no prior term */
} dim_prior;

/* How scores become a loss; docs/measures.md has the formulas. */
typedef enum dim_measure {
    DIM_MEASURE_JSD = 0,        /* Jensen-Shannon, the paper's default */
    DIM_MEASURE_GAN = 1,        /* the linked implementation's: jsd + 2 ln 2 */
    DIM_MEASURE_KL = 2,
    DIM_MEASURE_RKL = 3,
    DIM_MEASURE_H2 = 4,
    DIM_MEASURE_DV = 5,         /* Donsker-Varadhan */
    DIM_MEASURE_NCE = 6         /* infoNCE */
} dim_measure;

/* The negatives: the images that each vector is distinguished from. A positive number k means k other images of the
 * batch, drawn anew each step. */
enum {
    DIM_NEGATIVES_ROTATION = 0, /* the next image of the batch: the linked implementation */
    DIM_NEGATIVES_ALL = -1      /* all other images of the batch */
};

/* Whether a network of the architecture ("coordinates") predicts a location's place in its map, from the location's
 * features and the image's vector; docs/training.md. */
typedef enum dim_coordinates {
    DIM_COORDINATES_NONE = 0,
    DIM_COORDINATES_ABSOLUTE = 1,   /* its row and column */
    DIM_COORDINATES_RELATIVE = 2    /* how many rows and columns it is from another location, drawn anew each step */
} dim_coordinates;

/* The precision of a step's products in the score networks (local, global, coordinates), whose layers of 1x1 are most of a
 * step. DIM_PRECISION_MIXED rounds the terms of products to bfloat16, forward and backward, and adds them up in float32, as
 * PyTorch's autocast does; weights, gradients, the encoder and evaluation stay float32. It expects a processor with AVX-512
 * BF16 (dim_build_info says whether). docs/training.md has the layers, the errors and when it is faster. */
typedef enum dim_precision {
    DIM_PRECISION_FLOAT32 = 0,
    DIM_PRECISION_MIXED = 1
} dim_precision;

/* Fill with dim_trainer_options_init, then change what should differ. */
typedef struct dim_trainer_options {
    size_t struct_size;                 /* set by dim_trainer_options_init */
    dim_prior prior;                    /* DIM_PRIOR_MONOLITHIC */
    uint64_t seed;                      /* 0; prior noise is that of torch.manual_seed(seed), one rand_like(y) a step */
    double alpha;                       /* 0.5, the weight of the global term */
    double beta;                        /* 1.0, of the local term */
    double gamma;                       /* 0.1, of the prior term; dim_trainer_options_for: of the model's preset, 0 but for
                                           the notebook's, and then a prior changes nothing until gamma is set */
    double encoder_learning_rate;       /* 1e-4 */
    double discriminator_learning_rate; /* 1e-4 */
    double adam_beta1;                  /* 0.9 */
    double adam_beta2;                  /* 0.999 */
    double epsilon;                     /* 1e-8 */
    double weight_decay;                /* 0, added to the gradient as in torch.optim.Adam */
    dim_measure measure;                /* DIM_MEASURE_GAN */
    int32_t negatives;                  /* DIM_NEGATIVES_ROTATION */
    double gradient_penalty;            /* 0; weight of the prior discriminator's R1, for DIM_PRIOR_ADVERSARIAL only */
    double gradient_clip;               /* 0: none; else the largest Euclidean norm of a step's gradients */
    dim_coordinates coordinates;        /* DIM_COORDINATES_NONE */
    uint32_t locations;                 /* 0: the local term uses all; k: k of each image, drawn anew each step */
    double coordinates_weight;          /* 1, the weight of the coordinates term */
    int32_t occlusion;                  /* 0; 1: vectors are of images with a box of half their height and width hidden,
                                           features of whole images */
    dim_precision precision;            /* DIM_PRECISION_FLOAT32 */
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

/* Sets the defaults named above. struct_size: the caller's sizeof(dim_trainer_options), so that
 * the struct can grow. Errors: DIM_INVALID_ARGUMENT (options is NULL, a struct_size that no version had). */
dim_status dim_trainer_options_init(dim_trainer_options *options, size_t struct_size);

/* Sets the defaults of the preset that the model's architecture comes from. dim_trainer_options_init sets the
 * notebook's. Errors: as dim_trainer_options_init, and DIM_INVALID_HANDLE. */
dim_status dim_trainer_options_for(const dim_model *model, dim_trainer_options *options, size_t struct_size);

/* Starts a run on the model's encoder and the networks of all terms whose weight is not 0. options: copied; NULL for
 * the defaults of the model's architecture (dim_trainer_options_for).
 * *out: a new trainer, to be freed with dim_trainer_free.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (a value that is not finite or out of range, a term whose network the
 * architecture has not, DIM_PRECISION_MIXED on a processor without it), DIM_MISSING_NETWORK (the model does not hold a
 * network), DIM_OUT_OF_MEMORY. */
dim_status dim_trainer_create(dim_model *model, const dim_trainer_options *options, dim_trainer **out);

/* Frees the trainer, not the model. Accepts NULL and ignores a handle that is not live. */
void dim_trainer_free(dim_trainer *trainer);

/* One step: forward in training mode, backward, both Adams. images (n, image), n >= 2 (one image has no
 * negatives); with micro_batches K, n is a multiple of K and n / K >= 2. *losses: of this batch (the mean over
 * micro-batches), before the update; may be NULL. The model's mode does not matter and does not change.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (NULL, n < 2, fewer others than the negatives that were asked for, an
 * image with NaN or infinity, accumulated gradients that wait for dim_trainer_update), DIM_TOO_LARGE, DIM_OUT_OF_MEMORY,
 * DIM_NOT_FINITE (a loss or gradient is NaN or infinite, or a weight or moment would be), DIM_CANCELLED;
 * DIM_INVALID_ARGUMENT also if the gradient callback left a negative variance. On an error the model, the optimisers and
 * the random state are as before. */
dim_status dim_trainer_step(dim_trainer *trainer, const float *images, size_t n, dim_losses *losses);

/* Forward and backward only: adds the gradients of this micro-batch to the accumulated ones. Each micro-batch has batch
 * statistics, negatives and noise of its own; all draw from one random stream, in order, and each moves the running
 * statistics in turn. With micro_batches 1 a step has any number of micro-batches. With K > 1 it has K, and gradients
 * are summed in pairs, then pairs of pairs, so that processes can share the work: dim_trainer_skip.
 * Errors: as dim_trainer_step, of which waiting gradients are none here; DIM_INVALID_ARGUMENT also if the step has its
 * micro-batches, this process's are not consecutive, or, with K > 1, n is not that of the step's others. On an error the
 * accumulated gradients are as before. */
dim_status dim_trainer_accumulate(dim_trainer *trainer, const float *images, size_t n, dim_losses *losses);

/* Skips the next micro-batch, of n images, which another process of the same run computes: draws its random numbers
 * only. Each process accumulates its own micro-batches and skips the others, in order. micro_batches is a power of two,
 * and so is each process's share, which is consecutive and begins at a multiple of its length. dim_trainer_update then
 * gives the gradient callback an array that the callback replaces with its sum over all processes, added element by
 * element in the order of the micro-batches: neighbours first, then pairs of neighbours, and so on. The result does not
 * depend on the number of processes, bit for bit. bindings/c/train_mpi.c does this over MPI; see docs/distributed.md.
 * If no micro-batch has been computed before, the first call computes one of noise, to learn how many numbers it draws.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (n < 2, or not that of the step's other micro-batches; micro_batches
 * 1; no micro-batch is left in the step), DIM_TOO_LARGE, DIM_OUT_OF_MEMORY, DIM_NOT_FINITE. */
dim_status dim_trainer_skip(dim_trainer *trainer, size_t n);

/* Drops the accumulated gradients; every process calls it if one of them failed. The random state is as before the
 * step's first micro-batch. Errors: DIM_INVALID_HANDLE. */
dim_status dim_trainer_drop(dim_trainer *trainer);

/* Ends a step: divides the accumulated gradients by the number of micro-batches, passes them to the gradient callback,
 * updates. dim_trainer_step is dim_trainer_accumulate for each micro-batch and one dim_trainer_update.
 * Errors after which the accumulated gradients are as before: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (no micro-batch,
 * or not micro_batches of them, or a share that dim_trainer_skip does not allow). Errors after which they are dropped
 * and the random state is as before the step: DIM_INVALID_ARGUMENT (the callback left a negative variance, or not the
 * sum over all processes; micro-batches were skipped, and there is no callback), DIM_OUT_OF_MEMORY,
 * DIM_NOT_FINITE, DIM_CANCELLED. */
dim_status dim_trainer_update(dim_trainer *trainer);

/* The losses of a batch; changes nothing. Evaluation mode, in blocks of bounded size, prior noise from a stream of
 * its own that starts anew at each call. Errors: as dim_trainer_step. */
dim_status dim_trainer_evaluate(dim_trainer *trainer, const float *images, size_t n, dim_losses *losses);

/* What the last successful dim_trainer_step, _accumulate, _update or _evaluate computed; see dim_trainer_report. NaN for what
 * it did not compute. */
typedef struct dim_report {
    size_t struct_size;         /* sizeof(dim_report), set by the caller */
    uint64_t step;              /* how many updates the run has made */
    size_t images;              /* that the figures are of: of a step all its micro-batches so far; 0 before the first call */
    double total;               /* the losses, as in dim_losses: the mean over the step's micro-batches */
    double local;
    double global;
    double prior;
    double coordinates;
    double gradient_penalty;    /* half of the mean squared gradient, without its weight; not part of total */
    double local_information;   /* the estimate that belongs to the measure, in nats: docs/measures.md */
    double global_information;
    double local_score;         /* the largest |score|; NaN for the notebook's own objective, which stores no scores */
    double global_score;
    double prior_distance;      /* Wasserstein distance of the batch's values of a component of y, after the prior's
                                   squash, from the uniform distribution on [0,1): the mean over components */
    double gradient_norm;       /* the Euclidean norm of the update's gradients, after the callback, before gradient_clip */
    double encoder_norm;        /* the same for each network */
    double global_d_norm;
    double local_d_norm;
    double prior_d_norm;
    double coordinates_d_norm;
} dim_report;

/* Every figure of the trainer's last call. out->struct_size must be set. Only prior_distance is computed by this call.
 * Not part of a checkpoint. Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_OUT_OF_MEMORY. */
dim_status dim_trainer_report(const dim_trainer *trainer, dim_report *out);

/* Copies out the accumulated gradient of a trainable parameter (after dim_trainer_accumulate; the sum over
 * micro-batches).
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT (none is accumulated), DIM_UNKNOWN_NAME (also of parameters that are
 * not trained), DIM_SIZE_MISMATCH. */
dim_status dim_trainer_get_gradient(const dim_trainer *trainer, const char *name, void *out, size_t bytes);

/* Called once a step before the update, in the thread that steps, with one array of all gradients of the step and the
 * running statistics that the step would set. Processes that train together replace it in place with its average over
 * all of them, or, after dim_trainer_skip, with its sum. The array's order is the same in every process of one library
 * version. Return 0 to continue, anything else to drop the step (DIM_CANCELLED). The callback must not call functions
 * on the same trainer. It must return: if longjmp, pthread_exit, pthread_cancel or a C++ exception leaves it instead,
 * the locks of the trainer and the model stay held and their memory is not freed. */
typedef int (*dim_gradient_callback)(float *values, size_t count, void *context);

/* callback: NULL for none. Errors: DIM_INVALID_HANDLE. */
dim_status dim_trainer_set_gradient_callback(dim_trainer *trainer, dim_gradient_callback callback, void *context);

/* Applies from the next step on. Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT unless both are finite and >= 0. */
dim_status dim_trainer_set_learning_rates(dim_trainer *trainer, double encoder, double discriminator);

/* *options: the current options, learning rates included. options->struct_size must be set.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT. */
dim_status dim_trainer_get_options(const dim_trainer *trainer, dim_trainer_options *options);

/* How many updates the run has made, 2^63-1 at most; 0 for a handle that is not live. */
uint64_t dim_trainer_step_count(const dim_trainer *trainer);

/* *out: a new handle on the trainer's model, to be freed with dim_model_free.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_OUT_OF_MEMORY. */
dim_status dim_trainer_model(const dim_trainer *trainer, dim_model **out);

/* Writes a checkpoint: an HDF5 weights file of all the model's networks, with the optimisers' moments, step, random
 * state and options in a group of its own. Atomic, as dim_model_save. dim_model_open opens it as weights. Accumulated
 * gradients are not part of it: DIM_INVALID_ARGUMENT if there are any.
 * Errors: DIM_INVALID_HANDLE, DIM_INVALID_ARGUMENT, DIM_IO, DIM_NOT_FINITE (a weight or a running statistic is NaN or
 * infinite), DIM_OUT_OF_MEMORY. */
dim_status dim_trainer_save(const dim_trainer *trainer, const char *path);

/* Continues the run of a checkpoint, of the notebook's architecture, with a model of its own (dim_trainer_model). The
 * run is bit-identical to one that never stopped. The gradient callback is not part of a checkpoint.
 * Errors: DIM_INVALID_ARGUMENT, DIM_IO, DIM_FILE_FORMAT, DIM_FILE_CONTENT (also: written by a newer version),
 * DIM_OUT_OF_MEMORY. */
dim_status dim_trainer_resume(const char *path, dim_trainer **out);

/* dim_trainer_resume with options, as dim_model_open_with has them; NULL for none. options->networks must be 0.
 * Errors: as dim_trainer_resume and dim_model_open_with. */
dim_status dim_trainer_resume_with(const char *path, const dim_open_options *options, dim_trainer **out);

/* ---- Training: the classifier ------------------------------------------------------------------------ */

/* Trains the model's classifier on labelled images, alone or together with the encoder. */
typedef struct dim_classifier_trainer dim_classifier_trainer;

/* How the encoder takes part. */
typedef enum dim_encoder_use {
    DIM_ENCODER_FROZEN = 0,                 /* weights fixed, evaluation mode */
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

/* The same from vectors of dim_encode, to encode images once if the encoder is frozen.
 * encoded (n, encoded). Errors: as dim_classifier_trainer_step; DIM_INVALID_ARGUMENT unless the encoder is
 * DIM_ENCODER_FROZEN. */
dim_status dim_classifier_trainer_step_encoded(dim_classifier_trainer *trainer, const float *encoded,
                                               const int64_t *labels, size_t n, dim_classifier_result *result);

/* Loss and accuracy in evaluation mode; changes nothing. confusion (classes, classes), row = label, column =
 * prediction: counts are added to its values, so that batches add up; may be NULL. The precision of class c is
 * confusion[c][c] over the sum of column c.
 * n >= 1. Errors: as dim_classifier_trainer_step. */
dim_status dim_classifier_trainer_evaluate(dim_classifier_trainer *trainer, const float *images,
                                           const int64_t *labels, size_t n, dim_classifier_result *result,
                                           uint64_t *confusion);

/* As the functions of dim_trainer of the same names. */
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

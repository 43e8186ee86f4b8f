/*
 * calls.h - one random call of one function of dim.h, and what every such call is held to:
 * - the status is one that dim.h names for the function;
 * - a handle that is NULL, freed, foreign or of another kind is DIM_INVALID_HANDLE, a wrong argument is never DIM_OK,
 *   and a call without a fault that cannot be refused is DIM_OK;
 * - outputs are untouched on failure, and a failure leaves a message; a success leaves the last message alone.
 */
#ifndef CALLS_H
#define CALLS_H

#include <dim.h>
#include <pthread.h>

#include "random.h"

/* ---- What calls act on */

typedef enum kind { NO_KIND, MODEL, TRAINER, CLASSIFIER_TRAINER, ARCHITECTURE } kind;

/* A handle that this program was given. */
typedef struct slot {
    void *handle;
    kind kind;
    bool live;          /* not freed by us */
    bool kept;          /* outlives the sequence: not to be freed */
    bool large;         /* holds, or trains, all networks: computing with it takes its time */
} slot;

/* What the calls of one sequence share, in one thread or several. */
enum { SLOTS = 12 };
typedef struct world {
    pthread_mutex_t lock;
    slot slots[SLOTS];
    bool alone;         /* one thread: a live handle stays live while a call runs */
} world;

/* Kept from sequence to sequence, made anew from time to time. */
typedef struct foundation {
    dim_model *full, *small;                /* all networks; the classifier alone */
    dim_trainer *trainer;
    dim_classifier_trainer *classifier_trainer;
    dim_architecture *architecture;         /* small, and a model of it */
    dim_model *tiny;
    void *freed[3];                         /* handles that were freed: a model's and the two trainers' */
} foundation;

/* Everything is read from and written to here: large enough for the largest n of a call that computes. */
enum { MOST_IMAGES = 4, LARGE_PARAMETER = 1 << 16 };
typedef struct arrays {
    float images[MOST_IMAGES * DIM_NOTEBOOK_IMAGE_SIZE], strange_images[MOST_IMAGES * DIM_NOTEBOOK_IMAGE_SIZE];
    float encoded[MOST_IMAGES * DIM_NOTEBOOK_ENCODED_SIZE], features[MOST_IMAGES * DIM_NOTEBOOK_FEATURES_SIZE];
    int64_t labels[MOST_IMAGES], wrong_labels[MOST_IMAGES];
    float out[MOST_IMAGES * DIM_NOTEBOOK_FEATURES_SIZE], more_out[MOST_IMAGES * DIM_NOTEBOOK_FEATURES_SIZE];
} arrays;

/* One thread of one sequence. */
typedef struct context {
    generator random;
    world *world;
    const foundation *base;
    arrays *arrays;
    const char *function;       /* that is being called */
    bool wrong_handle, wrong, must_work;
    bool trace;
    char error[256];            /* dim_last_error before the call */
    uint64_t sequence, seed;
    int thread, step;
} context;

typedef struct call {
    const char *name;
    void (*run)(context *);
    unsigned weight;            /* how often, among all */
} call;

void make_tiny(dim_architecture **architecture, dim_model **model);
extern const call model_calls[], training_calls[], architecture_calls[];
extern const size_t model_call_count, training_call_count, architecture_call_count;

/* Shared with the parent: what came of the calls. */
enum { MOST_CALLS = 96, STATUS_KINDS = 16 };
typedef struct tally {
    uint64_t outcomes[MOST_CALLS][STATUS_KINDS];
    double seconds[MOST_CALLS];
    uint64_t sequences, calls, violations;
    uint64_t current;           /* the sequence that runs */
    uint64_t resident[64], allocated[64];
    size_t samples;
} tally;
extern tally *counts;
/* Which function the calls of this thread count for. */
extern __thread int current_call;

/* ---- Arguments: each says in the context whether it makes the call wrong */

void make_arguments(const char *corpus);
arrays *new_arrays(void);

/* The call is allowed to take long: once in so many times. */
bool dear(context *c, size_t times);
/* A handle of this kind as a rule; NULL, freed, foreign or of another kind now and then. */
slot handle_of(context *c, kind wanted);
/* A sound one, as long as no other thread frees it. */
slot live_handle(context *c, kind wanted, bool large);
void keep_handle(context *c, void *handle, kind kind, bool large);
/* Takes one for freeing. */
slot handle_to_free(context *c, kind wanted);

/* 0, too large, or below `least`: no count for any call. */
size_t wrong_count(context *c, size_t least);
/* Anything but NULL as a rule; NULL is wrong. */
void *or_null(context *c, void *pointer);
size_t struct_size(context *c, size_t right);
double odd_double(context *c, bool *is_negative_or_odd);
/* A parameter's name, or something like it; its bytes, SIZE_MAX where there is no such parameter. */
const char *parameter_name(context *c, size_t *bytes, bool small);
size_t parameter_total(void);
/* To read: small files, damaged ones, folders, nothing. `large` files take long. */
const char *path_to_read(context *c, bool *sound);
const char *large_file(int index);
const char *path_to_write(context *c);
/* In *given, or NULL, or wrong ones. */
dim_open_options *open_options(context *c, dim_open_options *given, bool untrusted);

/* ---- Outcomes */

/* A set of statuses. */
#define S(name) (1u << status_index(DIM_##name))
int status_index(dim_status status);
dim_status status_at(int index);

/* Looks at a call's result. True for DIM_OK. */
bool finish(context *c, dim_status status, unsigned documented);
/* For functions that cannot fail. */
void finish_plain(context *c, bool holds, const char *what);
void violation(context *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Begins a call: prints it where calls are traced. */
void begin(context *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

void paint(void *block, size_t bytes);
/* On failure the block must still be painted. */
void check_untouched(context *c, const void *block, size_t bytes);

#endif

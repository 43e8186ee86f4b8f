/*
 * train - trains Deep InfoMax on unlabelled images and writes checkpoints.
 *
 * Shows: a trainer of any architecture from a seed, from weights or from a checkpoint; a step at a time; stopping and going
 * on so that the run gives the same bytes as one that never stopped.
 */
#define _XOPEN_SOURCE 700       /* program.h */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dim.h>

#include "images.h"
#include "program.h"

static const char usage[] =
    "usage: train [options] CHECKPOINT IMAGES...\n"
    "\n"
    "Trains on images and writes CHECKPOINT, an HDF5 file that also opens as weights. If CHECKPOINT\n"
    "exists, the run continues from it. Ctrl-C ends the run after the step that is under way and saves.\n"
    "\n"
    "  IMAGES       files as encode reads them; all images are held in memory, as float32\n"
    "  -n N         steps to make in this run (default 100)\n"
    "  -b N         images in a step, at least 2 (default 64)\n"
    "  -e N         save every N steps as well as at the end (default 100)\n"
    "  -f FORMAT    auto, f32, ppm or cifar10 (see encode --help)\n"
    "  -t N         threads (default: all cores)\n"
    "For a new run; refused if CHECKPOINT exists:\n"
    "  -a NAME      architecture: notebook (default), basic28, basic32, ..., or a file with a description in JSON\n"
    "  -w WEIGHTS   start from a weights file instead of fresh weights\n"
    "  -s SEED      of the weights, the order of the images and the prior's noise (default 0)\n"
    "  -l RATE      learning rate\n"
    "  -p PRIOR     monolithic (the original implementation), adversarial (the paper) or none\n"
    "               Where they are not given, those of the architecture.\n"
    "  -h, --help   this text\n"
    "\n"
    "Exit status: 0 all is well, 1 something failed (it says what), 2 wrong usage.\n";

typedef struct settings {
    const char *checkpoint, *weights, *architecture;
    images_format format;
    long steps, batch, every;
    uint64_t seed;
    double rate;                /* negative: the architecture's */
    int prior;                  /* a dim_prior; negative: the architecture's */
    char of_new_run[32];        /* those of its options that were given, as text */
} settings;

typedef struct image_set {
    float *images;
    size_t size, count;         /* floats of an image; images */
} image_set;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = 1;
}

static int fail(const char *what, const char *why) {
    fprintf(stderr, "train: %s%s%s\n", what, why[0] ? ": " : "", why);
    return 1;
}

static int wrong_usage(const char *what, const char *which) {
    fprintf(stderr, "train: %s: %s\n\n%s", what, which, usage);
    return 2;
}

/* Fills the settings; returns 0, or the exit status. *first_file: index of the first of IMAGES. */
static int parse_arguments(int argc, char **argv, settings *s, int *first_file) {
    int next = 1, only_names = 0;
    long number;
    char *end;
    for (; next < argc && argv[next][0] == '-' && argv[next][1] != '\0'; next++) {
        const char *option = argv[next];
        if (strcmp(option, "--") == 0) {
            only_names = 1;
            next++;
            break;
        }
        if (option[2] != '\0' || strchr("nbeftawslp", option[1]) == NULL)
            return wrong_usage("unknown option", option);
        if (++next == argc)
            return wrong_usage("this option needs a value", option);
        const char *value = argv[next];
        if (strchr("awslp", option[1]) != NULL && strstr(s->of_new_run, option) == NULL)
            strcat(strcat(s->of_new_run, " "), option);
        switch (option[1]) {
        case 'n':
            if (parse_number(value, 1, 1000000000, &s->steps) != 0)
                return wrong_usage("-n takes a number of steps", value);
            break;
        case 'b':
            if (parse_number(value, 2, 4096, &s->batch) != 0)
                return wrong_usage("-b takes a number from 2 to 4096", value);
            break;
        case 'e':
            if (parse_number(value, 1, 1000000000, &s->every) != 0)
                return wrong_usage("-e takes a number of steps", value);
            break;
        case 'f':
            if (images_parse_format(value, &s->format) != 0)
                return wrong_usage("unknown format", value);
            break;
        case 't':
            if (parse_number(value, 1, 1024, &number) != 0 || dim_set_num_threads((int)number) != DIM_OK)
                return wrong_usage("-t takes a number from 1 to 1024", value);
            break;
        case 'a':
            s->architecture = value;
            break;
        case 'w':
            s->weights = value;
            break;
        case 's':
            if (parse_number(value, 0, 0x7fffffff, &number) != 0)
                return wrong_usage("-s takes a number from 0 to 2147483647", value);
            s->seed = (uint64_t)number;
            break;
        case 'l':
            s->rate = strtod(value, &end);
            if (end == value || *end != '\0' || !(s->rate >= 0))
                return wrong_usage("-l takes a learning rate", value);
            break;
        default:
            if (strcmp(value, "monolithic") == 0)
                s->prior = DIM_PRIOR_MONOLITHIC;
            else if (strcmp(value, "adversarial") == 0)
                s->prior = DIM_PRIOR_ADVERSARIAL;
            else if (strcmp(value, "none") == 0)
                s->prior = DIM_PRIOR_NONE;
            else
                return wrong_usage("-p takes monolithic, adversarial or none", value);
        }
    }
    const char *late = only_names ? NULL : late_option(argc, argv, next);
    if (late != NULL)
        return wrong_usage("options come before CHECKPOINT, and -- before files whose names begin with -", late);
    if (argc - next < 2)
        return wrong_usage("missing", argc == next ? "CHECKPOINT and IMAGES" : "IMAGES");
    s->checkpoint = argv[next];
    *first_file = next + 1;
    for (int i = next + 1; i < argc; i++)
        if (same_file(s->checkpoint, argv[i]))
            return wrong_usage("CHECKPOINT names a file of IMAGES", argv[i]);
    return 0;
}

/* Adds all images of a file to the set. */
static int read_all(image_set *set, const char *name, images_format format, const dim_sizes *sizes) {
    images_reader reader;
    if (images_open(&reader, name, format, sizes) != 0)
        return fail(reader.error, "");
    int status = 0;
    size_t block = 256, n;
    do {
        float *larger = realloc(set->images, sizeof(float) * set->size * (set->count + block));
        if (larger == NULL) {
            status = fail(name, "out of memory");
            break;
        }
        set->images = larger;
        n = images_read(&reader, set->images + set->count * set->size, NULL, block);
        set->count += n;
        block += set->count / 2;
    } while (n > 0 && reader.error[0] == '\0');
    if (status == 0 && reader.error[0] != '\0')
        status = fail(reader.error, "");
    images_close(&reader);
    return status;
}

/* splitmix64 (Steele, Lea and Flood 2014). */
static uint64_t next_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The order of the images in one epoch depends on the seed and the epoch alone, so a resumed run meets the same batches. */
static void shuffle(size_t *order, size_t count, uint64_t seed, uint64_t epoch) {
    uint64_t state = seed ^ (epoch * 0xd1342543de82ef95u);
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = (size_t)(next_random(&state) % (i + 1));
        size_t held = order[i];
        order[i] = order[j];
        order[j] = held;
    }
}

/* A preset, or what a file describes. Returns 0, or 1 after a message. */
static int read_architecture(const char *name, dim_architecture **out) {
    static char text[60001];    /* one byte more than the library takes, which says so */
    dim_status status;
    FILE *file = fopen(name, "rb");
    if (file == NULL && errno != ENOENT)
        return fail(name, strerror(errno));
    if (file == NULL) {
        status = dim_architecture_preset(name, out);
    } else {
        size_t bytes = fread(text, 1, sizeof text, file);
        int why = ferror(file) ? errno : 0;
        fclose(file);
        if (why != 0)
            return fail(name, strerror(why));
        status = dim_architecture_parse(text, bytes, out);
    }
    return status == DIM_OK ? 0 : fail(name, dim_last_error());
}

/* A new model: from weights of any architecture, or from a seed. With an architecture (or NULL) the weights must be of it. */
static dim_status make_model(const settings *s, const dim_architecture *architecture, dim_model **model) {
    const dim_open_options options = {.struct_size = sizeof options, .any_architecture = true, .architecture = architecture};
    dim_status status;
    if (s->weights != NULL)
        status = dim_model_open_with(s->weights, &options, model);
    else if (architecture != NULL)
        status = dim_model_create_with(architecture, s->seed, model);
    else
        status = dim_model_create(s->seed, model);
    return status;
}

/* A trainer from the checkpoint if that exists, else of a new model. Returns 0, or the exit status after a message. */
static int start(const settings *s, dim_trainer **trainer) {
    if (may_exist(s->checkpoint)) {
        const dim_open_options options = {.struct_size = sizeof options, .any_architecture = true};
        if (dim_trainer_resume_with(s->checkpoint, &options, trainer) != DIM_OK)
            return fail(dim_last_error(), "");     /* it names the file */
        if (s->of_new_run[0] != '\0') {
            fprintf(stderr, "train: %s: the run in it continues as it began; expected no options of a new run, found%s: "
                            "leave them out, or name a new CHECKPOINT\n", s->checkpoint, s->of_new_run);
            return 2;
        }
        printf("going on from %s, step %llu\n", s->checkpoint, (unsigned long long)dim_trainer_step_count(*trainer));
        return 0;
    }
    dim_architecture *architecture = NULL;
    if (s->architecture != NULL && read_architecture(s->architecture, &architecture) != 0)
        return 1;
    dim_model *model = NULL;
    dim_trainer_options options;
    dim_status status = make_model(s, architecture, &model);
    dim_architecture_free(architecture);        /* accepts NULL; the model has its own */
    if (status == DIM_OK)
        status = dim_trainer_options_for(model, &options, sizeof options);
    if (status == DIM_OK) {
        options.seed = s->seed;
        if (s->rate >= 0)
            options.encoder_learning_rate = options.discriminator_learning_rate = s->rate;
        if (s->prior >= 0)
            options.prior = (dim_prior)s->prior;
        status = dim_trainer_create(model, &options, trainer);
    }
    dim_model_free(model);      /* the trainer keeps it alive */
    return status == DIM_OK ? 0 : fail("cannot start", dim_last_error());
}

/* The sizes of the trainer's model. */
static dim_status sizes_of(const dim_trainer *trainer, dim_sizes *sizes) {
    dim_model *model = NULL;
    dim_status status = dim_trainer_model(trainer, &model);
    if (status == DIM_OK)
        status = dim_model_sizes(model, sizes);
    dim_model_free(model);
    return status;
}

static int run(const settings *s, const image_set *set, dim_trainer *trainer, float *batch, size_t *order) {
    dim_trainer_options options = {.struct_size = sizeof options};
    if (dim_trainer_get_options(trainer, &options) != DIM_OK)
        return fail("options", dim_last_error());
    uint64_t batches = set->count / (uint64_t)s->batch, shuffled = UINT64_MAX;
    int saved = 0;
    for (long i = 1; i <= s->steps && !interrupted; i++) {
        uint64_t step = dim_trainer_step_count(trainer), epoch = step / batches;
        if (epoch != shuffled)
            shuffle(order, set->count, options.seed, shuffled = epoch);
        const size_t *chosen = order + step % batches * (uint64_t)s->batch;
        for (long k = 0; k < s->batch; k++)
            memcpy(batch + (size_t)k * set->size, set->images + chosen[k] * set->size, sizeof(float) * set->size);
        dim_losses losses;
        if (dim_trainer_step(trainer, batch, (size_t)s->batch, &losses) != DIM_OK)
            return fail("step", dim_last_error());
        printf("step %llu  total %.6f  local %.6f  global %.6f  prior %.6f\n", (unsigned long long)(step + 1), losses.total,
               losses.local, losses.global, losses.prior);
        fflush(stdout);
        saved = i % s->every == 0;
        if (saved && dim_trainer_save(trainer, s->checkpoint) != DIM_OK)
            return fail(dim_last_error(), "");     /* it names the file */
    }
    if (!saved && dim_trainer_save(trainer, s->checkpoint) != DIM_OK)
        return fail(dim_last_error(), "");     /* it names the file */
    return ferror(stdout) ? fail("cannot write the losses", strerror(errno)) : 0;
}

int main(int argc, char **argv) {
    settings s = {.format = IMAGES_AUTO, .steps = 100, .batch = 64, .every = 100, .rate = -1, .prior = -1};
    int first_file = 0;
    if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))
        return fputs(usage, stdout) < 0;
    int status = parse_arguments(argc, argv, &s, &first_file);
    if (status != 0)
        return status;

    image_set set = {NULL, 0, 0};
    dim_trainer *trainer = NULL;
    dim_sizes sizes = {.struct_size = sizeof sizes};
    float *batch = NULL;
    size_t *order = NULL;
    status = start(&s, &trainer);
    const char *why = why_not_saved(s.checkpoint);      /* now, not when all the work is done */
    if (status == 0 && why != NULL)
        status = fail(s.checkpoint, why);
    if (status == 0 && sizes_of(trainer, &sizes) != DIM_OK)
        status = fail("sizes", dim_last_error());
    set.size = sizes.image_channels * sizes.image_height * sizes.image_width;
    for (int i = first_file; status == 0 && i < argc; i++)
        status = read_all(&set, argv[i], s.format, &sizes);
    if (status == 0 && set.count < (size_t)s.batch)
        status = fail("the files hold fewer images than one batch takes", "");
    if (status == 0 && ((batch = malloc(sizeof(float) * set.size * (size_t)s.batch)) == NULL ||
                        (order = malloc(sizeof *order * set.count)) == NULL))
        status = fail("out of memory", "");
    if (status == 0) {
        signal(SIGINT, on_interrupt);
        status = run(&s, &set, trainer, batch, order);
    }
    dim_trainer_free(trainer);
    free(order);
    free(batch);
    free(set.images);
    return status;
}

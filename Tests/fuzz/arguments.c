/* Arguments for calls: sound, odd and wrong ones. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "calls.h"
#include "support.h"

/* ---- Made once */

enum { MOST_PARAMETERS = 128, MOST_FILES = 64 };
static struct {
    const char *name;
    size_t bytes;
} parameters[MOST_PARAMETERS];
static size_t parameter_count;
static char *sound_files[MOST_FILES], *unsound_files[MOST_FILES], *large_files[2];
static size_t sound_count, unsound_count;
static char long_text[70000];

static void learn_parameters(void) {
    dim_model *model = NULL;
    if (dim_model_create(1, &model) != DIM_OK)
        give_up("dim_model_create: %s", dim_last_error());
    for (size_t i = 0; i < dim_model_parameter_count(model) && i < MOST_PARAMETERS; i++) {
        dim_parameter_info info = {.struct_size = sizeof info};
        if (dim_model_parameter_info(model, i, &info) != DIM_OK)
            give_up("dim_model_parameter_info: %s", dim_last_error());
        parameters[i].name = strdup(info.name);     /* the model frees its own */
        parameters[i].bytes = info.bytes;
        parameter_count++;
    }
    dim_model_free(model);
}

static void unsound(const char *path) { unsound_files[unsound_count++] = strdup(path); }

static void collect_files(const char *corpus) {
    static file_list list;      /* static: what lives as long as the program is no leak */
    list = list_files(corpus, ".h5");
    for (size_t i = 0; i < list.count && i < MOST_FILES / 4; i++) {
        size_t size = 0;
        char name[64];
        unsigned char *bytes = read_file(list.paths[i], &size);
        if (bytes == NULL)
            give_up("cannot read %s", list.paths[i]);
        snprintf(name, sizeof name, "w%zu.h5", i);
        write_file(scratch_path(name), bytes, size);
        if (strstr(list.paths[i], "checkpoint-objective") != NULL) {
            large_files[0] = strdup(scratch_path(name));
        } else if (strstr(list.paths[i], "checkpoint-classifier") != NULL) {
            large_files[1] = strdup(scratch_path(name));
        } else {
            sound_files[sound_count++] = strdup(scratch_path(name));
            snprintf(name, sizeof name, "cut%zu.h5", i);
            write_file(scratch_path(name), bytes, size * 2 / 3);
            unsound(scratch_path(name));
        }
        free(bytes);
    }
    if (sound_count == 0 || large_files[0] == NULL || large_files[1] == NULL)
        give_up("%s: expected the files that make_corpus.py writes", corpus);
    write_file(scratch_path("empty.h5"), "", 0);
    write_file(scratch_path("text.h5"), "no HDF5 file\n", 13);
    mkdir(scratch_path("folder.h5"), 0700);
    mkfifo(scratch_path("fifo.h5"), 0600);
    unsound(scratch_path("empty.h5"));
    unsound(scratch_path("text.h5"));
    unsound(scratch_path("folder.h5"));
    unsound(scratch_path("fifo.h5"));
    unsound(scratch_path("missing.h5"));
    unsound(scratch_path("text.h5/below"));
    unsound("/dev/null");
    unsound("/dev/zero");
    unsound("\xFF\xFE\x01 no UTF-8");
    unsound(long_text);
}

void make_arguments(const char *corpus) {
    memset(long_text, 'x', sizeof long_text - 1);
    collect_files(corpus);
    learn_parameters();
}

arrays *new_arrays(void) {
    arrays *a = calloc(1, sizeof *a);
    generator g = stream(1, 1);
    if (a == NULL)
        give_up("out of memory");
    for (size_t i = 0; i < sizeof a->images / sizeof(float); i++)
        a->strange_images[i] = a->images[i] = (float)below(&g, 1001) / 1000;
    a->strange_images[77] = (float)1e38 * 100;       /* infinity, in the first image */
    a->strange_images[DIM_NOTEBOOK_IMAGE_SIZE + 5] = a->strange_images[77] - a->strange_images[77];
    for (size_t i = 0; i < sizeof a->encoded / sizeof(float); i++)
        a->encoded[i] = (float)below(&g, 2001) / 1000 - 1;
    for (size_t i = 0; i < sizeof a->features / sizeof(float); i++)
        a->features[i] = (float)below(&g, 1001) / 1000;
    for (int i = 0; i < MOST_IMAGES; i++)
        a->wrong_labels[i] = a->labels[i] = (int64_t)below(&g, DIM_NOTEBOOK_CLASSES);
    a->wrong_labels[1] = DIM_NOTEBOOK_CLASSES;
    paint(a->out, sizeof a->out);
    paint(a->more_out, sizeof a->more_out);
    return a;
}

/* ---- Handles */

static unsigned char foreign_block[256];

static void *foreign(context *c) {
    void *const pointers[] = {(void *)1, (void *)8, (void *)4096, (void *)UINTPTR_MAX, (void *)(UINTPTR_MAX / 2 + 1),
                              foreign_block + 64, foreign_block, c};
    return ONE_OF(&c->random, pointers);
}

/* A random slot that fits, by a copy: another thread may change it meanwhile. */
static slot any_slot(context *c, kind wanted, bool only_live, bool only_large) {
    slot found = {NULL, NO_KIND, false, false, false};
    pthread_mutex_lock(&c->world->lock);
    size_t start = below(&c->random, SLOTS);
    for (size_t i = 0; i < SLOTS && found.handle == NULL; i++) {
        slot *s = &c->world->slots[(start + i) % SLOTS];
        if (s->handle != NULL && (wanted == NO_KIND || s->kind == wanted) && (!only_live || s->live) &&
            (!only_large || s->large))
            found = *s;
    }
    pthread_mutex_unlock(&c->world->lock);
    return found;
}

slot live_handle(context *c, kind wanted, bool large) {
    slot s = any_slot(c, wanted, true, large);
    if (s.handle == NULL) {     /* the foundation's cannot be freed by the sequence */
        s = (slot){NULL, wanted, true, true, true};
        s.handle = wanted == MODEL ? (void *)c->base->full
                   : wanted == TRAINER ? (void *)c->base->trainer
                   : wanted == ARCHITECTURE ? (void *)c->base->architecture : (void *)c->base->classifier_trainer;
    }
    return s;
}

slot handle_of(context *c, kind wanted) {
    slot s = {NULL, NO_KIND, false, false, false};
    switch (below(&c->random, 16)) {
    case 0:                     /* NULL */
        break;
    case 1:
        s.handle = foreign(c);
        break;
    case 2:
        s.handle = c->base->freed[below(&c->random, 3)];
        break;
    case 3:                     /* any, of any kind, freed or not */
        s = any_slot(c, NO_KIND, false, false);
        break;
    default:
        s = live_handle(c, wanted, false);
    }
    if (!s.live || s.kind != wanted)
        c->wrong_handle = true;
    return s;
}

void keep_handle(context *c, void *handle, kind kind, bool large) {
    slot old = {NULL, NO_KIND, false, false, false};
    pthread_mutex_lock(&c->world->lock);
    size_t at = below(&c->random, SLOTS);
    while (c->world->slots[at].kept)
        at = (at + 1) % SLOTS;
    old = c->world->slots[at];
    c->world->slots[at] = (slot){handle, kind, true, false, large};
    pthread_mutex_unlock(&c->world->lock);
    if (!old.live)
        return;
    if (old.kind == MODEL)
        dim_model_free(old.handle);
    else if (old.kind == TRAINER)
        dim_trainer_free(old.handle);
    else if (old.kind == ARCHITECTURE)
        dim_architecture_free(old.handle);
    else
        dim_classifier_trainer_free(old.handle);
}

slot handle_to_free(context *c, kind wanted) {
    slot s = {NULL, NO_KIND, false, false, false};
    pthread_mutex_lock(&c->world->lock);
    for (int tries = 0; tries < 4; tries++) {
        slot *candidate = &c->world->slots[below(&c->random, SLOTS)];
        if (candidate->handle == NULL || candidate->kept)
            continue;
        s = *candidate;         /* also of another kind, and freed before: ignored by the library */
        if (s.kind == wanted)
            candidate->live = false;
        break;
    }
    pthread_mutex_unlock(&c->world->lock);
    if (s.handle == NULL && once_in(&c->random, 2))
        s.handle = foreign(c);
    return s;
}

bool dear(context *c, size_t times) { return once_in(&c->random, times); }

/* ---- Numbers and pointers */

size_t wrong_count(context *c, size_t least) {
    const size_t counts_that_fail[] = {0, SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 2, dim_max_images() + 1,
                                       SIZE_MAX / (DIM_NOTEBOOK_IMAGE_SIZE * sizeof(float)) + 1, least - 1};
    c->wrong = true;
    return ONE_OF(&c->random, counts_that_fail);
}

void *or_null(context *c, void *pointer) {
    if (!once_in(&c->random, 8))
        return pointer;
    c->wrong = true;
    return NULL;
}

size_t struct_size(context *c, size_t right) {
    if (!once_in(&c->random, 3))
        return right;
    const size_t wrong[] = {0, 1, right - 1, right + 1, right - 8, right + 8, SIZE_MAX, SIZE_MAX / 2 + 1};
    c->wrong = true;
    return ONE_OF(&c->random, wrong);
}

double odd_double(context *c, bool *refused) {
    static const double good[] = {0, 1e-4, 0.5, 0.999, 1e-300, 1e-8};
    static const double bad[] = {-1, -1e-300, 1e308 * 10, -1e308 * 10};
    *refused = once_in(&c->random, 4);
    if (!*refused)
        return ONE_OF(&c->random, good);
    return once_in(&c->random, 3) ? bad[2] - bad[2] : ONE_OF(&c->random, bad);      /* NaN, or one of those */
}

size_t parameter_total(void) { return parameter_count; }

const char *parameter_name(context *c, size_t *bytes, bool small) {
    static const char *const none[] = {"", "encoder", "encoder.", ".", "encoder.c0", "encoder.c9.weight", "c0.weight",
                                       "encoder.c0.weight ", "Encoder.c0.weight", "encoder/c0/weight", "\xFF\xFE",
                                       "\xED\xA0\x80.weight", "%s%n", "encoder.c0.weight\nencoder.c0.bias"};
    *bytes = SIZE_MAX;
    switch (below(&c->random, 8)) {
    case 0:
        c->wrong = true;
        return ONE_OF(&c->random, none);
    case 1:
        c->wrong = true;
        return once_in(&c->random, 2) ? NULL : long_text;
    default: {
        size_t i;
        do
            i = below(&c->random, parameter_count);
        while (small && parameters[i].bytes > LARGE_PARAMETER);
        *bytes = parameters[i].bytes;
        return parameters[i].name;
    }
    }
}

/* ---- Files */

const char *path_to_read(context *c, bool *sound) {
    *sound = once_in(&c->random, 3);
    if (*sound)
        return sound_files[below(&c->random, sound_count)];
    c->wrong = true;
    if (once_in(&c->random, 8))
        return once_in(&c->random, 2) ? NULL : "";
    return unsound_files[below(&c->random, unsound_count)];
}

const char *large_file(int index) { return large_files[index]; }

/* No device among them: a save replaces the file. */
const char *path_to_write(context *c) {
    switch (below(&c->random, 8)) {
    case 0: c->wrong = true; return NULL;
    case 1: c->wrong = true; return "";
    case 2: c->wrong = true; return long_text;
    case 3: c->wrong = true; return scratch_path("no-such-folder/w.h5");
    case 4: c->wrong = true; return scratch_path("text.h5/w.h5");
    case 5: c->wrong = true; return scratch_path("folder.h5");
    case 6: return scratch_path("saved \xC3\xA9.h5");
    default: return scratch_path("saved.h5");
    }
}

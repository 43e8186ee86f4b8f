/* Paths are bytes: names that are not UTF-8, that are equal as text and not as bytes, and links to such names, in every
 * function that takes a path. */
#include "harness.h"
#include "untrusted.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

/* Latin 1: as text with replacement characters, both would be the same. */
#define ACUTE "caf\xe9.h5"
#define GRAVE "caf\xe8.h5"

static void fresh(const char *const *names, int count) {
    for (int i = 0; i < count; i++)
        unlink(scratch_path(names[i]));
}

static bool exists(const char *name) {
    struct stat status;
    return lstat(scratch_path(name), &status) == 0;
}

/* How many files there are whose name begins so. */
static int files_like(const char *start) {
    char folder[512];
    int count = 0;
    snprintf(folder, sizeof folder, "%s", scratch_path(""));
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;)
        count += strncmp(entry->d_name, start, strlen(start)) == 0;
    if (entries != NULL)
        closedir(entries);
    return count;
}

static dim_model *opened(dim_status (*open)(const char *, dim_model **), const char *name) {
    dim_model *model = NULL;
    CHECK_STATUS(DIM_OK, open(scratch_path(name), &model));
    return model;
}

static void models(void) {
    static const char *const names[] = {ACUTE, GRAVE};
    dim_model *saved[2] = {NULL, NULL}, *found;
    fresh(names, 2);
    for (int i = 0; i < 2; i++) {
        MUST(dim_model_create((uint64_t)i + 1, &saved[i]));
        CHECK_STATUS(DIM_OK, dim_model_save(saved[i], scratch_path(names[i])));
    }
    CHECK(exists(ACUTE) && exists(GRAVE) && files_like("caf") == 2);
    for (int i = 0; i < 2; i++) {
        CHECK(same_parameters(found = opened(dim_model_open, names[i]), saved[i]));
        CHECK_STATUS(DIM_OK, dim_model_load(found, scratch_path(names[!i])));
        CHECK(same_parameters(found, saved[!i]));
        CHECK_STATUS(DIM_OK, load_untrusted(found, scratch_path(names[i])));
        CHECK(same_parameters(found, saved[i]));
        dim_model_free(found);
        CHECK(same_parameters(found = opened(open_untrusted, names[i]), saved[i]));
        dim_model_free(found);
    }
    const dim_save_options options = {.struct_size = sizeof options, .format = DIM_FORMAT_SAFETENSORS};
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(DIM_OK, dim_model_save_with(saved[i], scratch_path(names[i]), &options));
    CHECK(exists(ACUTE) && exists(GRAVE) && files_like("caf") == 2);
    for (int i = 0; i < 2; i++) {
        CHECK(same_parameters(found = opened(dim_model_open, names[i]), saved[i]));
        dim_model_free(found);
        dim_model_free(saved[i]);
    }
    fresh(names, 2);
}

static void checkpoints(void) {
    static const char *const names[] = {ACUTE, GRAVE};
    dim_trainer *trainer = NULL, *resumed = NULL;
    dim_classifier_trainer *classifier = NULL, *c_resumed = NULL;
    fresh(names, 2);
    MUST(dim_trainer_create(shared_model(), NULL, &trainer));
    MUST(dim_classifier_trainer_create(shared_model(), NULL, &classifier));
    CHECK_STATUS(DIM_OK, dim_trainer_save(trainer, scratch_path(ACUTE)));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_save(classifier, scratch_path(GRAVE)));
    CHECK(exists(ACUTE) && exists(GRAVE) && files_like("caf") == 2);
    CHECK_STATUS(DIM_OK, dim_trainer_resume(scratch_path(ACUTE), &resumed));
    dim_trainer_free(resumed);
    CHECK_STATUS(DIM_OK, resume_untrusted(scratch_path(ACUTE), &resumed));
    dim_trainer_free(resumed);
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_resume(scratch_path(GRAVE), &c_resumed));
    dim_classifier_trainer_free(c_resumed);
    CHECK_STATUS(DIM_OK, resume_classifier_untrusted(scratch_path(GRAVE), &c_resumed));
    dim_classifier_trainer_free(c_resumed);
    dim_trainer_free(trainer);
    dim_classifier_trainer_free(classifier);
    fresh(names, 2);
}

/* A link's target is bytes, too; and one that begins with a slash is absolute, whatever follows the slash: with a
 * combining accent, slash and accent are one character. */
static void links(void) {
    static const char *const names[] = {ACUTE, GRAVE, "link", "absolute", "folder\xe9/w.h5"};
    char target[600];
    fresh(names, 5);
    mkdir(scratch_path("folder\xe9"), 0700);
    CHECK(symlink("folder\xe9/w.h5", scratch_path("link")) == 0);
    CHECK_STATUS(DIM_OK, dim_model_save(shared_model(), scratch_path("link")));
    CHECK(exists("folder\xe9/w.h5") && files_like("folder") == 1);

    snprintf(target, sizeof target, "%s", scratch_path(ACUTE));
    CHECK(symlink(target, scratch_path("absolute")) == 0);
    CHECK_STATUS(DIM_OK, dim_model_save(shared_model(), scratch_path("absolute")));
    CHECK(exists(ACUTE) && files_like("caf") == 1);

    /* Nobody has such a folder at the root: what matters is that the message tells of it, and of no folder beside the link. */
    unlink(scratch_path("absolute"));
    CHECK(symlink("/\xcc\x81libdim-none/w.h5", scratch_path("absolute")) == 0);
    CHECK_STATUS(DIM_IO, dim_model_save(shared_model(), scratch_path("absolute")));
    CHECK_MESSAGE("folder /\xcc\x81libdim-none:");
    fresh(names, 5);
    rmdir(scratch_path("folder\xe9"));
}

/* What is not text is shown escaped; so is what moves a terminal's cursor or turns the direction of writing. */
static void messages(void) {
    dim_model *out = NULL;
    CHECK_STATUS(DIM_IO, dim_model_open(scratch_path(ACUTE), &out));
    CHECK_MESSAGE("caf\\xe9.h5: No such file");
    CHECK_STATUS(DIM_IO, dim_model_open(scratch_path("caf\xc3\xa9.h5"), &out));
    CHECK_MESSAGE("caf\xc3\xa9.h5: No such file");
    CHECK_STATUS(DIM_IO, dim_model_open(scratch_path("a\x1b[2Jb\nc"), &out));
    CHECK_MESSAGE("a\\x1b[2Jb\\x0ac: No such file");
    CHECK_STATUS(DIM_IO, open_untrusted(scratch_path("5h.\xe2\x80\xae" "exe"), &out));
    CHECK_MESSAGE("5h.\\u202eexe: No such file");
    CHECK(out == NULL);
}

static void lengths(void) {
    char *name = take(1 << 20);
    dim_model *out = NULL;
    memset(name, 'a', (1 << 20) - 1);
    name[(1 << 20) - 1] = '\0';
    CHECK_STATUS(DIM_IO, dim_model_open(name, &out));
    CHECK_STATUS(DIM_IO, open_untrusted(name, &out));
    CHECK_STATUS(DIM_IO, dim_model_save(shared_model(), name));
    CHECK_MESSAGE("File name too long");
    name[4096] = '\0';
    CHECK_STATUS(DIM_IO, dim_model_save(shared_model(), name));
    CHECK_MESSAGE("File name too long");
    /* The longest that the system takes: "././././w.h5". */
    snprintf(name, 512, "%s", scratch_path(""));
    size_t length = strlen(name);
    while (length + 7 < 4096) {
        memcpy(name + length, "./", 2);
        length += 2;
    }
    strcpy(name + length, "w.h5");
    CHECK_STATUS(DIM_OK, dim_model_save(shared_model(), name));
    CHECK(exists("w.h5"));
    free(name);
}

int main(void) {
    RUN(models);
    RUN(checkpoints);
    RUN(links);
    RUN(messages);
    RUN(lengths);
    return harness_finish();
}

/* fork(): a child of a process that has used the library uses it too, and so does the parent afterwards. */
#include "harness.h"

#include <sys/wait.h>
#include <unistd.h>

enum { N = 3, SIZE = DIM_ENCODED_SIZE * N };

static float images[DIM_IMAGE_SIZE * N], expected[SIZE];

static bool encodes_the_same(dim_model *model) {
    float y[SIZE];
    return dim_encode(model, images, N, y, NULL) == DIM_OK && memcmp(y, expected, sizeof y) == 0;
}

/* Runs the function in a child; true if it said true within a minute. */
static bool in_child(bool (*function)(dim_model *)) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _exit(function(shared_model()) ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool grandchild(dim_model *model) { return encodes_the_same(model) && in_child(encodes_the_same); }

static bool with_threads(dim_model *model) {
    return dim_num_threads() == 2 && dim_set_num_threads(4) == DIM_OK && encodes_the_same(model) && dim_num_threads() == 4;
}

static bool own_model(dim_model *model) {
    dim_model *mine = NULL, *back = NULL;
    bool right = dim_model_create(7, &mine) == DIM_OK && mine != model && encodes_the_same(mine) &&
                 dim_model_save(mine, scratch_path("child.h5")) == DIM_OK &&
                 dim_model_open(scratch_path("child.h5"), &back) == DIM_OK && encodes_the_same(back);
    dim_model_free(mine);
    dim_model_free(back);
    return right && encodes_the_same(model);
}

static void before_any_use(void) {
    /* Nothing but a handle exists yet: the child is the first to compute. */
    CHECK(in_child(own_model) || !"a child computes first");
}

static void after_use(void) {
    MUST(dim_set_num_threads(2));
    CHECK(encodes_the_same(shared_model()));
    CHECK(in_child(encodes_the_same));
    CHECK(encodes_the_same(shared_model()));
    CHECK(in_child(grandchild));
    CHECK(in_child(with_threads));
    CHECK(dim_num_threads() == 2);      /* the child's number is the child's */
    CHECK(in_child(own_model));
    CHECK(encodes_the_same(shared_model()));
}

static void several_children_at_once(void) {
    pid_t children[4];
    fflush(NULL);
    for (int i = 0; i < 4; i++) {
        if ((children[i] = fork()) == 0) {
            alarm(60);
            _exit(encodes_the_same(shared_model()) ? 0 : 1);
        }
    }
    CHECK(encodes_the_same(shared_model()));
    for (int i = 0; i < 4; i++) {
        int status = -1;
        waitpid(children[i], &status, 0);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

int main(void) {
    fill(images, DIM_IMAGE_SIZE * N, 1);
    scratch_path("made before the first fork");
    /* What is expected comes from a child, so that before_any_use forks a process that never computed. */
    int channel[2];
    if (pipe(channel) != 0)
        return 1;
    shared_model();
    pid_t child = fork();
    if (child == 0) {
        MUST(dim_encode(shared_model(), images, N, expected, NULL));
        _exit(write(channel[1], expected, sizeof expected) == (ssize_t)sizeof expected ? 0 : 1);
    }
    close(channel[1]);
    for (size_t got = 0; got < sizeof expected;) {
        ssize_t more = read(channel[0], (char *)expected + got, sizeof expected - got);
        if (more <= 0)
            return 1;
        got += (size_t)more;
    }
    waitpid(child, NULL, 0);
    RUN(before_any_use);
    RUN(after_use);
    RUN(several_children_at_once);
    return harness_finish();
}

/* Untrusted files: the isolated reader gives what the reader in this process gives, ends where it should, and leaves
 * no trace in its host. What malformed files do to it is in Tests/python/test_weights_untrusted.py. */
#include "harness.h"
#include "untrusted.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void pause_ms(long ms) { nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL); }

/* A weights file of the shared model. */
static const char *weights(void) {
    static char path[512];
    if (path[0] == '\0') {
        snprintf(path, sizeof path, "%s", scratch_path("weights.h5"));
        MUST(dim_model_save(shared_model(), path));
    }
    return path;
}

/* ---- The same results -------------------------------------------------------------------------------- */

static void weights_are_the_same(void) {
    dim_model *opened = NULL, *other = NULL;
    CHECK_STATUS(DIM_OK, open_untrusted(weights(), &opened));
    CHECK(dim_model_networks(opened) == DIM_NETWORK_ALL);
    CHECK(same_parameters(shared_model(), opened));
    MUST(dim_model_create(8, &other));
    CHECK(!same_parameters(shared_model(), other));
    CHECK_STATUS(DIM_OK, load_untrusted(other, weights()));
    CHECK(same_parameters(shared_model(), other));
    dim_model_free(opened);
    dim_model_free(other);
}

static void checkpoints_are_the_same(void) {
    enum { N = 2 };
    float *images = new_images(N, 3);
    int64_t labels[N] = {1, 2};
    dim_model *model = NULL, *a = NULL, *b = NULL;
    dim_trainer *trainer = NULL, *here = NULL, *isolated = NULL;
    dim_classifier_trainer *classifier = NULL, *c_here = NULL, *c_isolated = NULL;
    MUST(dim_model_create(3, &model));
    MUST(dim_trainer_create(model, NULL, &trainer));
    MUST(dim_trainer_step(trainer, images, N, NULL));
    MUST(dim_trainer_save(trainer, scratch_path("run.h5")));
    MUST(dim_trainer_resume(scratch_path("run.h5"), &here));
    CHECK_STATUS(DIM_OK, resume_untrusted(scratch_path("run.h5"), &isolated));
    MUST(dim_trainer_step(here, images, N, NULL));
    CHECK_STATUS(DIM_OK, dim_trainer_step(isolated, images, N, NULL));
    MUST(dim_trainer_model(here, &a));
    MUST(dim_trainer_model(isolated, &b));
    CHECK(same_parameters(a, b));       /* weights, moments and the noise's state */
    dim_model_free(a);
    dim_model_free(b);
    dim_trainer_free(trainer);
    dim_trainer_free(here);
    dim_trainer_free(isolated);

    MUST(dim_classifier_trainer_create(model, NULL, &classifier));
    MUST(dim_classifier_trainer_step(classifier, images, labels, N, NULL));
    MUST(dim_classifier_trainer_save(classifier, scratch_path("classifier.h5")));
    MUST(dim_classifier_trainer_resume(scratch_path("classifier.h5"), &c_here));
    CHECK_STATUS(DIM_OK, resume_classifier_untrusted(scratch_path("classifier.h5"), &c_isolated));
    MUST(dim_classifier_trainer_step(c_here, images, labels, N, NULL));
    CHECK_STATUS(DIM_OK, dim_classifier_trainer_step(c_isolated, images, labels, N, NULL));
    MUST(dim_classifier_trainer_model(c_here, &a));
    MUST(dim_classifier_trainer_model(c_isolated, &b));
    CHECK(same_parameters(a, b));
    dim_model_free(a);
    dim_model_free(b);
    dim_classifier_trainer_free(classifier);
    dim_classifier_trainer_free(c_here);
    dim_classifier_trainer_free(c_isolated);
    dim_model_free(model);
    free(images);
}

/* The isolated reader and the one here must say the same, word for word. */
static void fails_alike(dim_status expected, const char *path) {
    dim_model *out;
    dim_trainer *trainer;
    char said[4096];
    paint(&out, sizeof out);
    paint(&trainer, sizeof trainer);
    CHECK_STATUS(expected, dim_model_open(path, &out));
    snprintf(said, sizeof said, "%s", dim_last_error());
    CHECK_STATUS(expected, open_untrusted(path, &out));
    CHECK_MESSAGE(said);
    CHECK_STATUS(expected, load_untrusted(shared_model(), path));
    CHECK(painted(&out, sizeof out));
    dim_status status = dim_trainer_resume(path, &trainer);
    snprintf(said, sizeof said, "%s", dim_last_error());
    CHECK(status != DIM_OK);
    CHECK_STATUS(status, resume_untrusted(path, &trainer));
    CHECK_MESSAGE(said);
    CHECK(painted(&trainer, sizeof trainer));
}

static void errors_are_the_same(void) {
    dim_model *model = NULL;
    dim_trainer *trainer = NULL;
    fails_alike(DIM_INVALID_ARGUMENT, NULL);
    fails_alike(DIM_INVALID_ARGUMENT, "");
    fails_alike(DIM_IO, scratch_path("missing.h5"));
    fails_alike(DIM_IO, "/dev/zero");
    fails_alike(DIM_IO, "/");
    mkfifo(scratch_path("fifo"), 0600);
    fails_alike(DIM_IO, scratch_path("fifo"));
    FILE *text = fopen(scratch_path("text.h5"), "w");
    fputs("no weights, but more than a few bytes of it\n", text);
    fclose(text);
    fails_alike(DIM_FILE_FORMAT, scratch_path("text.h5"));
    CHECK(truncate(scratch_path("text.h5"), 0) == 0);
    fails_alike(DIM_FILE_FORMAT, scratch_path("text.h5"));
    MUST(dim_model_save(shared_model(), scratch_path("short.h5")));
    CHECK(truncate(scratch_path("short.h5"), 50000000) == 0);
    fails_alike(DIM_FILE_FORMAT, scratch_path("short.h5"));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, open_untrusted(weights(), NULL));
    CHECK_STATUS(DIM_INVALID_ARGUMENT, resume_untrusted(weights(), NULL));
    CHECK_STATUS(DIM_FILE_CONTENT, resume_untrusted(weights(), &trainer));
    CHECK_MESSAGE("no checkpoint");
    for (int i = 0; i < FOREIGN_HANDLES; i++)
        CHECK_STATUS(DIM_INVALID_HANDLE, load_untrusted(foreign_handle(i), weights()));
    MUST(dim_model_create(7, &model));
    CHECK(same_parameters(model, shared_model()));      /* as it was */
    dim_model_free(model);
}

/* ---- Limits ------------------------------------------------------------------------------------------ */

static void time_limit(void) {
    dim_model *out = NULL;
    const double wrong[] = {-1, 86401, 0.0 / 0.0};
    for (int i = 0; i < 3; i++) {
        const dim_open_options options = untrusted_within(wrong[i]);
        CHECK_STATUS(DIM_INVALID_ARGUMENT, dim_model_open_with(weights(), &options, &out));
        CHECK_MESSAGE("options->timeout");
    }
    const dim_open_options hurried = untrusted_within(0.001);
    double start = now();
    CHECK_STATUS(DIM_FILE_FORMAT, dim_model_open_with(weights(), &hurried, &out));
    CHECK_MESSAGE("not read within 0.001 s");
    CHECK(now() - start < 5);
    CHECK(out == NULL);
    CHECK_STATUS(DIM_OK, open_untrusted(weights(), &out));
    dim_model_free(out);
}

typedef struct reading {
    pthread_t thread;
    double seconds;             /* it may take */
    dim_status status;
    char message[1000];
} reading;

static void *read_weights(void *raw) {
    reading *r = raw;
    dim_model *model = NULL;
    const dim_open_options options = untrusted_within(r->seconds);
    r->status = dim_model_open_with(weights(), &options, &model);
    snprintf(r->message, sizeof r->message, "%s", dim_last_error());
    dim_model_free(model);
    return NULL;
}

static bool has_line(pid_t process, const char *file, const char *text) {
    char path[64], line[256];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/%s", process, file);
    FILE *lines = fopen(path, "r");
    while (lines != NULL && fgets(line, sizeof line, lines) != NULL)
        found = found || strstr(line, text) != NULL;
    if (lines != NULL)
        fclose(lines);
    return found;
}

static int count_descriptors(pid_t process, int *highest) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", process);
    DIR *entries = opendir(path);
    int count = 0;
    *highest = -1;
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        if (atoi(entry->d_name) > *highest)
            *highest = atoi(entry->d_name);
    }
    if (entries != NULL)
        closedir(entries);
    return count;
}

static pid_t reader_of(pid_t host) {
    const pid_t supervisor = child_of(host);
    return supervisor ? child_of(supervisor) : 0;
}

/* Waits for the reader of a host that is reading, once it is confined, and stops it. 0 where it was missed: it may be through
 * between any two looks at it. */
static pid_t stop_reader(pid_t host) {
    for (double start = now(); now() - start < 5;) {
        const pid_t reader = reader_of(host);
        if (reader == 0 || !has_line(reader, "status", "Seccomp:\t2") || kill(reader, SIGSTOP) != 0)
            continue;
        while (reader_of(host) == reader)       /* it is none's child any more when it has ended */
            if (has_line(reader, "status", "State:\tT"))
                return reader;
        return 0;
    }
    return 0;
}

/* Begins to read on a thread, and stops the reader; a new attempt where it was missed. 0 after too many, and no thread. */
static pid_t read_and_stop(reading *r) {
    for (int i = 0; i < 20; i++) {
        pthread_create(&r->thread, NULL, read_weights, r);
        const pid_t reader = stop_reader(getpid());
        if (reader != 0)
            return reader;
        pthread_join(r->thread, NULL);
    }
    return 0;
}

static void what_a_reader_has_left(void) {
    reading r = {.seconds = 3};
    int highest, other = open("/dev/null", O_RDONLY);    /* without O_CLOEXEC: it must not be inherited */
    pid_t reader = read_and_stop(&r);
    CHECK(reader != 0);
    if (reader != 0) {
        CHECK(count_descriptors(reader, &highest) == 4 && highest == 3);
        CHECK(has_line(reader, "status", "NoNewPrivs:\t1"));
        CHECK(has_line(reader, "limits", "Max open files            0                    0"));
        CHECK(has_line(reader, "limits", "Max file size             0                    0"));
        CHECK(has_line(reader, "limits", "Max core file size        0                    0"));
        CHECK(has_line(reader, "limits", "Max cpu time              3                    3"));
        CHECK(!has_line(reader, "limits", "Max address space         unlimited"));
        pthread_join(r.thread, NULL);       /* stopped, it is killed when its time is up */
        CHECK(r.status == DIM_FILE_FORMAT && strstr(r.message, "not read within 3.0 s") != NULL);
    }
    close(other);
}

static void killed_from_outside(void) {
    reading r = {.seconds = 60};
    pid_t reader = read_and_stop(&r);
    CHECK(reader != 0);
    if (reader == 0)
        return;
    CHECK(kill(reader, SIGKILL) == 0);
    pthread_join(r.thread, NULL);
    CHECK(r.status == DIM_OUT_OF_MEMORY && strstr(r.message, "signal 9") != NULL);
}

/* Whether one was found and ended. */
static bool end_a_reader(reading *r, int signal) {
    pid_t reader = read_and_stop(r);
    CHECK(reader != 0);
    if (reader == 0)
        return false;
    CHECK(kill(reader, signal) == 0 && kill(reader, SIGCONT) == 0);
    pthread_join(r->thread, NULL);
    return true;
}

static void crash_of_the_reader(void) {
    static const int signals[] = {SIGSEGV, SIGFPE, SIGBUS, SIGABRT};
    for (int i = 0; i < 4; i++) {
        reading r = {.seconds = 60};
        char text[64];
        if (!end_a_reader(&r, signals[i]))
            return;
        /* It was stopped before it could say that it is confined: no file was read by then. */
        for (int again = 0; again < 20 && strstr(r.message, "does not start libdim.so there") != NULL; again++)
            if (!end_a_reader(&r, signals[i]))
                return;
        snprintf(text, sizeof text, "ended the isolated reader by signal %d", signals[i]);
        CHECK(r.status == DIM_FILE_FORMAT && strstr(r.message, text) != NULL);
    }
}

static void reader_dies_with_its_host(void) {
    weights();
    fflush(NULL);
    pid_t reader = 0;
    for (int i = 0; i < 20 && reader == 0; i++) {
        pid_t host = fork();
        if (host == 0) {
            dim_model *model = NULL;
            open_untrusted(weights(), &model);
            _exit(0);
        }
        reader = stop_reader(host);
        kill(host, SIGKILL);
        waitpid(host, NULL, 0);
    }
    CHECK(reader != 0);
    if (reader == 0)
        return;
    bool is_gone = false;
    for (int i = 0; i < 200 && !is_gone; i++) {
        is_gone = kill(reader, 0) != 0 || has_line(reader, "stat", ") Z ");
        pause_ms(10);
    }
    CHECK(is_gone);
}

/* ---- No traces --------------------------------------------------------------------------------------- */

static volatile sig_atomic_t children_ended;
static void child_ended(int number) {
    (void)number;
    children_ended++;
}

static void no_signal_and_no_child(void) {
    static const bool ignored[] = {false, true};
    for (int i = 0; i < 2; i++) {
        dim_model *model = NULL;
        struct sigaction action = {.sa_handler = ignored[i] ? SIG_IGN : child_ended}, before;
        sigaction(SIGCHLD, &action, &before);
        CHECK_STATUS(DIM_OK, open_untrusted(weights(), &model));
        CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
        CHECK(waitpid(-1, NULL, WNOHANG | __WALL) == -1 && errno == ECHILD);
        sigaction(SIGCHLD, &before, NULL);
        dim_model_free(model);
    }
    CHECK(children_ended == 0);
}

static void host_waits_for_any_child(void) {
    /* A thread that reaps whatever ends, as some hosts have, takes nothing of ours. */
    reading r = {.seconds = 60};
    pthread_create(&r.thread, NULL, read_weights, &r);
    for (int i = 0; i < 1000; i++) {
        CHECK(waitpid(-1, NULL, WNOHANG) == -1);
        pause_ms(1);
    }
    pthread_join(r.thread, NULL);
    CHECK(r.status == DIM_OK);
}

static void nothing_leaks(void) {
    dim_model *model = NULL;
    int highest, before = count_descriptors(getpid(), &highest);
    for (int i = 0; i < 20; i++) {
        CHECK_STATUS(DIM_IO, open_untrusted(scratch_path("missing.h5"), &model));
        CHECK_STATUS(DIM_FILE_FORMAT, open_untrusted(scratch_path("text.h5"), &model));
    }
    CHECK_STATUS(DIM_OK, open_untrusted(weights(), &model));
    dim_model_free(model);
    CHECK(count_descriptors(getpid(), &highest) == before);
}

static void signals_are_as_they_were(void) {
    sigset_t some, before, after;
    dim_model *model = NULL;
    sigemptyset(&some);
    sigaddset(&some, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &some, &before);
    MUST(open_untrusted(weights(), &model));
    dim_model_free(model);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    CHECK(sigismember(&after, SIGUSR2) == 1 && sigismember(&after, SIGUSR1) == 0 && sigismember(&after, SIGINT) == 0);
}

/* ---- Hosts of all kinds ------------------------------------------------------------------------------ */

static bool in_child(bool (*function)(void)) {
    fflush(NULL);
    weights();
    pid_t child = fork();
    if (child == 0) {
        alarm(300);
        _exit(function() ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool opens(void) {
    dim_model *model = NULL;
    bool is_right = open_untrusted(weights(), &model) == DIM_OK && dim_model_networks(model) == DIM_NETWORK_ALL;
    dim_model_free(model);
    return is_right;
}

static bool without_standard_files(void) {
    close(0);
    close(1);
    close(2);
    return opens();
}

static bool in_another_folder(void) { return chdir("/") == 0 && opens(); }

static bool with_all_signals_blocked(void) {
    sigset_t all;
    sigfillset(&all);
    return sigprocmask(SIG_SETMASK, &all, NULL) == 0 && opens();
}

static bool limited(int resource, rlim_t value) {
    struct rlimit limit = {value, value};
    return setrlimit((__rlimit_resource_t)resource, &limit) == 0;
}

/* Where no child can be had, an error that says so. */
static bool fails_to_start(dim_status expected) {
    dim_model *model = NULL;
    dim_status status = open_untrusted(weights(), &model);
    return status == expected && model == NULL && strstr(dim_last_error(), "in a separate process") != NULL;
}

static bool without_files_of_size(void) {
    return limited(RLIMIT_FSIZE, 1000) && fails_to_start(DIM_IO) && strstr(dim_last_error(), "ulimit -f, is too small: File too large");
}

static bool without_descriptors(void) {
    dim_model *model = NULL;
    return limited(RLIMIT_NOFILE, 3) && open_untrusted(weights(), &model) == DIM_IO && model == NULL;
}

static bool with_few_descriptors(void) {
    return limited(RLIMIT_NOFILE, 16) && fails_to_start(DIM_IO) && strstr(dim_last_error(), strerror(EMFILE));
}

static bool without_processes(void) {
    /* The limit does not bind root. */
    return setgid(65534) == 0 && setuid(65534) == 0 && limited(RLIMIT_NPROC, 0) &&
           fails_to_start(DIM_IO);
}

static void hosts(void) {
    CHECK(in_child(opens));
    CHECK(in_child(without_standard_files));
    CHECK(in_child(in_another_folder));
    CHECK(in_child(with_all_signals_blocked));
    CHECK(in_child(without_files_of_size));
    CHECK(in_child(without_descriptors));
    CHECK(in_child(with_few_descriptors));
    if (getuid() == 0) {
        char folder[512];
        snprintf(folder, sizeof folder, "%s", weights());
        *strrchr(folder, '/') = '\0';
        chmod(folder, 0755);
        CHECK(in_child(without_processes));
    }
}

typedef struct worker {
    pthread_t thread;
    bool is_right;
} worker;

static void *open_several(void *raw) {
    worker *w = raw;
    w->is_right = true;
    for (int i = 0; i < 3; i++)
        w->is_right = opens() && w->is_right;
    return NULL;
}

static void *compute(void *raw) {
    worker *w = raw;
    float y[DIM_NOTEBOOK_ENCODED_SIZE], first[DIM_NOTEBOOK_ENCODED_SIZE], *images = new_images(1, 1);
    w->is_right = dim_encode(shared_model(), images, 1, first, NULL) == DIM_OK;
    while (!stopped()) {
        w->is_right = w->is_right && dim_encode(shared_model(), images, 1, y, NULL) == DIM_OK;
        w->is_right = w->is_right && memcmp(y, first, sizeof y) == 0;
        void *blocks[50];
        for (int i = 0; i < 50; i++)
            blocks[i] = malloc(1000u * (unsigned)(i + 1));      /* malloc's locks are busy, too */
        for (int i = 0; i < 50; i++)
            free(blocks[i]);
    }
    free(images);
    return NULL;
}

static void many_at_once_in_a_busy_host(void) {
    worker readers[8], computing[2];
    weights();
    tell_to_stop(false);
    for (int i = 0; i < 2; i++)
        pthread_create(&computing[i].thread, NULL, compute, &computing[i]);
    for (int i = 0; i < 8; i++)
        pthread_create(&readers[i].thread, NULL, open_several, &readers[i]);
    for (int i = 0; i < 8; i++) {
        pthread_join(readers[i].thread, NULL);
        CHECK(readers[i].is_right);
    }
    tell_to_stop(true);
    for (int i = 0; i < 2; i++) {
        pthread_join(computing[i].thread, NULL);
        CHECK(computing[i].is_right);
    }
}

int main(void) {
    RUN(weights_are_the_same);
    RUN(checkpoints_are_the_same);
    RUN(errors_are_the_same);
    RUN(time_limit);
    RUN(what_a_reader_has_left);
    RUN(killed_from_outside);
    RUN(crash_of_the_reader);
    RUN(reader_dies_with_its_host);
    RUN(no_signal_and_no_child);
    RUN(host_waits_for_any_child);
    RUN(nothing_leaks);
    RUN(signals_are_as_they_were);
    RUN(hosts);
    RUN(many_at_once_in_a_busy_host);
    return harness_finish();
}

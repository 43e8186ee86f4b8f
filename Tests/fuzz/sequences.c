/*
 * sequences.c - random sequences of calls of every function of dim.h, sound and unsound, in one thread and in several.
 * What is required of each call is in calls.h. Besides: nothing crashes, nothing is printed, and memory in use is as flat
 * at the end as it was after the first pieces.
 *
 *     sequences --count 10000 --seed 1        10,000 of them in as many processes as there are --jobs (2)
 *     sequences --first 4711 --count 1 --seed 1 --trace      one again, each call printed
 *
 * Sequence i depends on the seed, on i, and on the models that it finds; those are made anew at each multiple of PIECE.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "support.h"

#ifndef CORPUS
#define CORPUS "Tests/fuzz/corpus"
#endif

enum { PIECE = 5000, SHORTEST = 5, LONGEST = 25, MOST_THREADS = 3, MOST_JOBS = 16, SEQUENCE_SECONDS = 300 };

static call all_calls[MOST_CALLS];
static size_t call_count, total_weight;
static uint64_t seed;
static bool trace;

static void gather_calls(void) {
    for (size_t i = 0; i < model_call_count; i++)
        all_calls[call_count++] = model_calls[i];
    for (size_t i = 0; i < training_call_count; i++)
        all_calls[call_count++] = training_calls[i];
    for (size_t i = 0; i < architecture_call_count; i++)
        all_calls[call_count++] = architecture_calls[i];
    for (size_t i = 0; i < call_count; i++)
        total_weight += all_calls[i].weight;
}

/* ---- What is there before a sequence */

static void must(dim_status status, const char *what) {
    if (status != DIM_OK)
        give_up("%s: %s", what, dim_last_error());
}

static foundation lay(void) {
    foundation f;
    dim_model *model = NULL;
    dim_trainer *trainer = NULL;
    dim_classifier_trainer *classifier_trainer = NULL;
    must(dim_model_create(7, &f.full), "dim_model_create");
    must(dim_model_open(CORPUS "/classifier-libdim.h5", &f.small), "dim_model_open");
    must(dim_trainer_create(f.full, NULL, &f.trainer), "dim_trainer_create");
    must(dim_classifier_trainer_create(f.full, NULL, &f.classifier_trainer), "dim_classifier_trainer_create");
    make_tiny(&f.architecture, &f.tiny);
    must(dim_trainer_model(f.trainer, &model), "dim_trainer_model");
    must(dim_classifier_trainer_create(model, NULL, &classifier_trainer), "dim_classifier_trainer_create");
    dim_model_free(model);
    dim_classifier_trainer_free(classifier_trainer);
    must(dim_trainer_create(f.full, NULL, &trainer), "dim_trainer_create");
    dim_trainer_free(trainer);
    f.freed[0] = model;
    f.freed[1] = classifier_trainer;
    f.freed[2] = trainer;
    return f;
}

static void clear(foundation *f) {
    dim_model_free(f->full);
    dim_model_free(f->small);
    dim_trainer_free(f->trainer);
    dim_classifier_trainer_free(f->classifier_trainer);
    dim_architecture_free(f->architecture);
    dim_model_free(f->tiny);
}

/* ---- One sequence */

static void *run_calls(void *raw) {
    context *c = raw;
    size_t length = SHORTEST + below(&c->random, LONGEST - SHORTEST + 1);
    for (c->step = 0; (size_t)c->step < length; c->step++) {
        size_t at = below(&c->random, total_weight), i = 0;
        while (at >= all_calls[i].weight)
            at -= all_calls[i++].weight;
        c->function = all_calls[i].name;
        c->wrong = c->wrong_handle = c->must_work = false;
        current_call = (int)i;
        double start = seconds_now();
        all_calls[i].run(c);
        if (c->thread == 0)
            counts->seconds[i] += seconds_now() - start;
        __atomic_add_fetch(&counts->calls, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void run_sequence(uint64_t number, const foundation *base, arrays *const *memory) {
    static world w = {.lock = PTHREAD_MUTEX_INITIALIZER};
    generator g = stream(seed, number);
    /* One sequence of 16 in threads. */
    int threads = once_in(&g, 16) ? 2 + (int)below(&g, MOST_THREADS - 1) : 1;
    context contexts[MOST_THREADS];
    pthread_t ids[MOST_THREADS];
    memset(w.slots, 0, sizeof w.slots);
    w.alone = threads == 1;
    w.slots[0] = (slot){base->full, MODEL, true, true, true};
    w.slots[1] = (slot){base->trainer, TRAINER, true, true, true};
    w.slots[2] = (slot){base->classifier_trainer, CLASSIFIER_TRAINER, true, true, true};
    w.slots[3] = (slot){base->architecture, ARCHITECTURE, true, true, false};
    for (int t = 0; t < threads; t++) {
        memset(&contexts[t], 0, sizeof contexts[t]);
        contexts[t].random = stream(next_word(&g), (uint64_t)t);
        contexts[t].world = &w;
        contexts[t].base = base;
        contexts[t].arrays = memory[t];
        contexts[t].trace = trace;
        contexts[t].sequence = number;
        contexts[t].seed = seed;
        contexts[t].thread = t;
    }
    for (int t = 1; t < threads; t++)
        if (pthread_create(&ids[t], NULL, run_calls, &contexts[t]) != 0)
            give_up("pthread_create: %s", strerror(errno));
    run_calls(&contexts[0]);
    for (int t = 1; t < threads; t++)
        pthread_join(ids[t], NULL);
    for (int i = 4; i < SLOTS; i++) {
        slot *s = &w.slots[i];
        if (s->live && s->kind == MODEL)
            dim_model_free(s->handle);
        else if (s->live && s->kind == TRAINER)
            dim_trainer_free(s->handle);
        else if (s->live && s->kind == ARCHITECTURE)
            dim_architecture_free(s->handle);
        else if (s->live)
            dim_classifier_trainer_free(s->handle);
    }
}

/* ---- One process's part: every sequence of the range whose piece is this job's */

static void sample_memory(void) {
    if (counts->samples == 64) {        /* every second one is enough from now on */
        for (size_t i = 0; i < 32; i++) {
            counts->resident[i] = counts->resident[2 * i + 1];
            counts->allocated[i] = counts->allocated[2 * i + 1];
        }
        counts->samples = 32;
    }
    counts->resident[counts->samples] = resident_bytes();
    counts->allocated[counts->samples++] = allocated_bytes();
}

static bool printed_something(void) {
    if (printed()[0] == '\0')
        return false;
    say("printed: %s", printed());
    return true;
}

static int run_job(uint64_t first, uint64_t count, int job, int jobs) {
    arrays *memory[MOST_THREADS];
    for (int t = 0; t < MOST_THREADS; t++)
        memory[t] = new_arrays();
    for (uint64_t piece = first / PIECE; piece * PIECE < first + count; piece++) {
        if ((int)(piece % (uint64_t)jobs) != job)
            continue;
        must(dim_set_num_threads(2), "dim_set_num_threads");
        foundation base = lay();
        for (uint64_t i = piece * PIECE; i < (piece + 1) * PIECE && i < first + count; i++) {
            if (i < first)
                continue;
            counts->current = i;
            alarm(SEQUENCE_SECONDS);
            run_sequence(i, &base, memory);
            counts->sequences++;
        }
        alarm(0);
        clear(&base);
        sample_memory();
    }
    for (int t = 0; t < MOST_THREADS; t++)
        free(memory[t]);
    return printed_something() || counts->violations > 0 ? 3 : 0;
}

/* ---- The parent */

static void add(tally *sum, const tally *part) {
    sum->sequences += part->sequences;
    sum->calls += part->calls;
    sum->violations += part->violations;
    for (size_t i = 0; i < MOST_CALLS; i++) {
        sum->seconds[i] += part->seconds[i];
        for (int k = 0; k < STATUS_KINDS; k++)
            sum->outcomes[i][k] += part->outcomes[i][k];
    }
}

/* Flat: the least of the last quarter is no more than the most of the second; within 512 kB of what malloc has given out,
 * some bytes a sequence (the library's and the C library's threads are made as calls ask for them, up to a number); and
 * within 64 MB of resident memory, which swings that much: large buffers live in huge pages, with holes. */
static bool report_memory(const tally *t, int job) {
    char line[1024] = "";
    size_t length = 0, step = t->samples > 12 ? t->samples / 12 : 1;
    for (size_t i = 0; i < t->samples; i += step)
        length += (size_t)snprintf(line + length, sizeof line - length, " %.1f/%.0f", (double)t->allocated[i] / 1e6,
                                   (double)t->resident[i] / 1e6);
    say("job %d: memory after its pieces, MB allocated/resident:%s", job, line);
    if (SANITIZED || t->samples < 8)
        return true;
    uint64_t early[2] = {0, 0}, late[2] = {UINT64_MAX, UINT64_MAX};
    for (size_t i = t->samples / 4; i < t->samples / 2; i++) {
        early[0] = t->allocated[i] > early[0] ? t->allocated[i] : early[0];
        early[1] = t->resident[i] > early[1] ? t->resident[i] : early[1];
    }
    for (size_t i = t->samples * 3 / 4; i < t->samples; i++) {
        late[0] = t->allocated[i] < late[0] ? t->allocated[i] : late[0];
        late[1] = t->resident[i] < late[1] ? t->resident[i] : late[1];
    }
    if (late[0] <= early[0] + 512000 && late[1] <= early[1] + 64000000)
        return true;
    say("job %d: memory grows", job);
    return false;
}

static void report_outcomes(const tally *t, bool verbose) {
    for (size_t i = 0; i < call_count && verbose; i++) {
        char line[512] = "";
        size_t length = 0;
        for (int k = 0; k < STATUS_KINDS; k++)
            if (t->outcomes[i][k] > 0)
                length += (size_t)snprintf(line + length, sizeof line - length, " %s %llu",
                                           dim_status_name(status_at(k)), (unsigned long long)t->outcomes[i][k]);
        say("%-42s%7.2f s %s", all_calls[i].name, t->seconds[i], line);
    }
}

int main(int argc, char **argv) {
    static const char *const names[] = {"count=", "first=", "seed=", "jobs=", "trace", "verbose", "list", NULL};
    check_options(argc, argv, names,
                  "sequences [--count N] [--first I] [--seed S] [--jobs J] [--trace] [--verbose] [--list]");
    gather_calls();
    if (flag(argc, argv, "list")) {
        for (size_t i = 0; i < call_count; i++)
            say("%s", all_calls[i].name);
        return 0;
    }
    uint64_t count = number_option(argc, argv, "count", 10000), first = number_option(argc, argv, "first", 0);
    seed = number_option(argc, argv, "seed", 1);
    trace = flag(argc, argv, "trace");
    int jobs = (int)number_option(argc, argv, "jobs", 2);
    uint64_t pieces = (first + count + PIECE - 1) / PIECE - first / PIECE;
    if (jobs < 1 || jobs > MOST_JOBS)
        give_up("--jobs: expected 1 to %d", MOST_JOBS);
    jobs = pieces < (uint64_t)jobs ? (int)pieces : jobs;
    make_arguments(CORPUS);
    watch_output();
    double start = seconds_now();

    tally *parts = shared_memory(sizeof(tally) * (size_t)(jobs + 1)), *sum = &parts[jobs];
    pid_t children[MOST_JOBS];
    bool failed = false;
    if (THREAD_SANITIZED) {             /* without a child: see support.h */
        counts = &parts[0];
        failed = run_job(first, count, 0, 1) != 0;
        add(sum, counts);
        jobs = 0;
    }
    for (int job = 0; job < jobs; job++) {
        if ((children[job] = fork()) == 0) {
            counts = &parts[job];
            if (!SANITIZED)
                blame_crashes();
            /* Ends as a program does, so that a leak detector looks at it. */
            exit(run_job(first, count, job, jobs));
        }
        if (children[job] < 0)
            give_up("fork: %s", strerror(errno));
    }
    for (int job = 0; job < jobs; job++) {
        int status = 0;
        waitpid(children[job], &status, 0);
        add(sum, &parts[job]);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            failed = !report_memory(&parts[job], job) || failed;
            continue;
        }
        failed = true;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
            continue;
        unsigned long long at = parts[job].current;
        say("job %d: %s (status %#x) in sequence %llu; again: sequences --seed %llu --first %llu --count 1 --trace, or"
            " with what came before it: --first %llu --count %llu",
            job, WIFEXITED(status) ? blamed(WEXITSTATUS(status)) : "ended by a signal", status, at,
            (unsigned long long)seed, at, at / PIECE * PIECE, at % PIECE + 1);
        if (printed()[0] != '\0')
            say("%s", printed());
    }
    report_outcomes(sum, flag(argc, argv, "verbose"));
    double seconds = seconds_now() - start;
    say("%llu sequences, %llu calls of %zu functions, seed %llu: %s, %.0f s",
        (unsigned long long)sum->sequences, (unsigned long long)sum->calls, call_count, (unsigned long long)seed,
        failed ? "FAILED" : "no crash, no leak, nothing undocumented", seconds);
    remove_scratch();
    return failed;
}

/* A process of its own for reading a file that may attack the reader: how it is started, watched and confined.
 *
 *     host thread   dim_isolation_run: suspended until the supervisor ends
 *       supervisor  shares the host's memory, runs nothing but system calls; waits for the reader, kills it when time is up
 *         reader    execs the dynamic loader on libdim.so itself, whose entry point is in start.c; a fresh address space
 *
 * docs/isolation.md has the reasons. */
#ifndef DIM_CISOLATION_H
#define DIM_CISOLATION_H

#include <stddef.h>
#include <stdint.h>

/* ---- In the host ------------------------------------------------------------------------------------- */

/* How a reader ended. */
typedef struct dim_isolation_end {
    int error;          /* errno where it could not be started; 0 */
    int timed_out;      /* it was killed because its time was up */
    int signal;         /* that ended it; 0 for none */
    int exit_status;    /* where no signal did */
} dim_isolation_end;

/* Descriptors in the reader. It has no others; 1 and 2 are copies of the first. */
enum { DIM_ISOLATION_INPUT = 0, DIM_ISOLATION_SHARED = 3 };

/* Why no reader can be started. */
typedef enum dim_isolation_obstacle {
    DIM_ISOLATION_NONE = 0,
    DIM_ISOLATION_NO_MEMORY,
    DIM_ISOLATION_LINKED,       /* this is no libdim.so, but linked into a program */
    DIM_ISOLATION_NO_LOADER,    /* the program runs without a dynamic loader */
    DIM_ISOLATION_OTHER_ROOT,   /* the process has changed its root folder since libdim was loaded */
    DIM_ISOLATION_NO_FILE,      /* culprit: of which no file is known, or which cannot be read any more */
    DIM_ISOLATION_UNFIT_NAME    /* culprit: a library's path that the loader's list cannot hold */
} dim_isolation_obstacle;

/* What is executed: files of which this process is made, by absolute paths. All NULL where there is an obstacle. */
typedef struct dim_isolation_program {
    dim_isolation_obstacle obstacle;
    char *loader;       /* the dynamic loader of this process */
    char *library;      /* libdim.so as it was loaded */
    char *preload;      /* "LD_PRELOAD=" and all libraries that it uses, so that the reader's loader searches for none */
    char *culprit;
} dim_isolation_program;
dim_isolation_program dim_isolation_find_program(void);
void dim_isolation_free_program(dim_isolation_program *program);

/* An anonymous file of `size` bytes, all zero, whose size nobody can change any more. -1 and errno on failure. */
int dim_isolation_make_shared(size_t size);

/* Runs `program arguments...` over the two descriptors and returns when it has ended, after `seconds` at most.
 * No SIGCHLD and no child of the host comes of it; the host's signal handlers do not run in the new processes. */
dim_isolation_end dim_isolation_run(const dim_isolation_program *program, const char *const *arguments, size_t count,
                                    int input, int shared, double seconds);

/* ---- In the reader ----------------------------------------------------------------------------------- */

/* Gives up whatever reading a file does not need. `memory` bounds the address space, `seconds` the processor's time.
 * Returns 0, or the errno of a limit that could not be set. A kernel without seccomp is no failure. */
int dim_isolation_confine(size_t memory, unsigned seconds);

#endif

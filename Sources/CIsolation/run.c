/* The host's side: starting a reader and waiting for it. See isolation.h. */
#define _GNU_SOURCE
#include "isolation.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int dim_isolation_make_shared(size_t size) {
    int file = memfd_create("libdim", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0)
        return -1;
    /* Otherwise the reader could truncate it, and reading a missing page raises SIGBUS. */
    if (ftruncate(file, (off_t)size) != 0 || fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int failure = errno;
        close(file);
        errno = failure;
        return -1;
    }
    return file;
}

/* ---- Starting ---------------------------------------------------------------------------------------- */

enum { STACK = 64 * 1024, MOST_ARGUMENTS = 16 };

/* Shared by host, supervisor and, until it execs, reader: they share the host's memory, and each waits for the next. */
typedef struct order {
    char *const *arguments;
    char *const *environment;
    int input, shared;
    double seconds;
    pid_t host, supervisor;
    char *reader_stack;
    dim_isolation_end end;
} order;

/* Ends with its parent. The parent may have ended before this was said. */
static int end_with(pid_t parent) {
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent ? 0 : -1;
}

static void close_from(unsigned first) {
#ifdef SYS_close_range
    if (syscall(SYS_close_range, first, ~0u, 0) == 0)
        return;
#endif
    struct rlimit limit;
    unsigned last = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 65536 ? (unsigned)limit.rlim_cur : 65536;
    for (unsigned file = first; file < last; file++)
        close((int)file);
}

/* Above those that the reader gets, so that none is overwritten before it is moved. */
static int above(int file) {
    int found = fcntl(file, F_DUPFD, 16);
    if (found < 0 && errno == EINVAL)   /* of a limit of 16 descriptors or fewer */
        errno = EMFILE;
    return found;
}

/* The reader until it execs: nothing but system calls, since other threads of the host may hold any lock. */
static int become_reader(void *raw) {
    order *o = raw;
    if (end_with(o->supervisor) != 0)
        _exit(1);
    setsid();   /* the terminal's Ctrl-C is for the host */
    struct sigaction normal;
    memset(&normal, 0, sizeof normal);
    normal.sa_handler = SIG_DFL;
    for (int number = 1; number < 65; number++)
        sigaction(number, &normal, NULL);   /* what is ignored would stay so */
    int input = above(o->input), shared = above(o->shared);
    if (input >= 0 && shared >= 0 && dup2(input, 0) == 0 && dup2(input, 1) == 1 && dup2(input, 2) == 2 &&
        dup2(shared, DIM_ISOLATION_SHARED) == DIM_ISOLATION_SHARED) {
        const struct rlimit none = {0, 0};
        close_from(DIM_ISOLATION_SHARED + 1);
        setrlimit(RLIMIT_CORE, &none);
        const uint64_t no_signals = 0;
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, NULL, sizeof no_signals);
        execve(o->arguments[0], o->arguments, o->environment);
    }
    o->end.error = errno;
    _exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void wait_for(pid_t reader, double deadline, dim_isolation_end *end) {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);      /* blocked, so that it stays until it is waited for */
    int status = 0, is_killed = 0;
    for (;;) {
        pid_t found = waitpid(reader, &status, (is_killed ? 0 : WNOHANG) | __WALL);
        if (found == reader)
            break;
        if (found < 0 && errno != EINTR) {
            end->error = errno;
            return;
        }
        double left = deadline - now();
        if (left > 0) {
            if (left > 3600)
                left = 3600;
            struct timespec time = {(time_t)left, (long)((left - (double)(time_t)left) * 1e9)};
            sigtimedwait(&children, NULL, &time);
        } else if (!is_killed) {
            kill(reader, SIGKILL);
            is_killed = 1;
        }
    }
    end->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    end->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    end->timed_out = is_killed && end->signal == SIGKILL;
}

/* The reader's parent. It is needed because exec makes SIGCHLD the signal of a child's end, whatever clone was given.
 * */
static int supervise(void *raw) {
    order *o = raw;
    double deadline = now() + o->seconds;
    if (end_with(o->host) != 0)
        _exit(1);
    /* Where the host ignores SIGCHLD its children leave no status. Signal actions are not shared. */
    struct sigaction normal;
    memset(&normal, 0, sizeof normal);
    normal.sa_handler = SIG_DFL;
    sigaction(SIGCHLD, &normal, NULL);
    o->supervisor = getpid();
    pid_t reader = clone(become_reader, o->reader_stack + STACK, CLONE_VM | CLONE_VFORK | SIGCHLD, o);
    if (reader < 0) {
        o->end.error = errno;
        _exit(1);
    }
    wait_for(reader, deadline, &o->end);
    if (o->end.error == 0)
        _exit(0);
    _exit(1);
}

dim_isolation_end dim_isolation_run(const dim_isolation_program *program, const char *const *arguments, size_t count,
                                    int input, int shared, double seconds) {
    /* Nothing of the host's environment is a reader's business. */
    char *environment[2] = {program->preload, NULL}, *all[MOST_ARGUMENTS + 3] = {program->loader, program->library};
    order o = {.arguments = all, .environment = environment, .input = input, .shared = shared, .seconds = seconds,
               .host = getpid()};
    for (size_t i = 0; i < count && i < MOST_ARGUMENTS; i++)
        all[2 + i] = (char *)arguments[i];
    char *stacks = mmap(NULL, 2 * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stacks == MAP_FAILED) {
        o.end.error = errno;
        return o.end;
    }
    o.reader_stack = stacks + STACK;

    /* All of them, the C library's own too: a handler that ran in the supervisor would run on the host's memory. */
    const uint64_t all_signals = ~(uint64_t)0;
    uint64_t before = 0;
    int state = 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all_signals, &before, sizeof before);
    /* CLONE_FILES: a descriptor that the host closes meanwhile is closed. No signal at its end: no SIGCHLD. */
    pid_t supervisor = clone(supervise, stacks + STACK, CLONE_VM | CLONE_VFORK | CLONE_FILES, &o);
    if (supervisor < 0) {
        o.end.error = errno;
    } else {
        int status = 0;
        while (waitpid(supervisor, &status, __WCLONE) < 0 && errno == EINTR)
            ;
        if (o.end.error == 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
            o.end.error = ECHILD;   /* the supervisor itself was killed */
    }
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    pthread_setcancelstate(state, &state);
    munmap(stacks, 2 * STACK);
    return o.end;
}

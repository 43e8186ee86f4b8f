/* The reader's side: what it gives up before it looks at the file. See isolation.h. */
#define _GNU_SOURCE
#include "isolation.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

/* Soft and hard: what is given up cannot be had back. */
static int limit(int resource, rlim_t value) {
    const struct rlimit both = {value, value};
    struct rlimit before;
    if (getrlimit(resource, &before) == 0 && before.rlim_max != RLIM_INFINITY && before.rlim_max < value)
        return 0;
    return setrlimit((__rlimit_resource_t)resource, &both) == 0 ? 0 : errno;
}

/* ---- The filter: an allowance; the rest fails with EPERM, which ends no reader of a sound file ------- */

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define ALLOW_CALL(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), ALLOW
/* Memory, but no code: the third argument must not have PROT_EXEC. */
#define ALLOW_DATA(name) \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 4), LOAD(args[2]), \
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1), REFUSE, ALLOW

static const struct sock_filter instructions[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL),    /* calls of a 32-bit process have other numbers */
    LOAD(nr),
    ALLOW_CALL(pread64), ALLOW_CALL(read), ALLOW_CALL(lseek), ALLOW_CALL(fstat), ALLOW_CALL(close),
    ALLOW_DATA(mmap), ALLOW_DATA(mprotect),
    ALLOW_CALL(munmap), ALLOW_CALL(mremap), ALLOW_CALL(madvise), ALLOW_CALL(brk),
    ALLOW_CALL(futex), ALLOW_CALL(sched_yield), ALLOW_CALL(rt_sigprocmask), ALLOW_CALL(rt_sigreturn),
    ALLOW_CALL(clock_gettime), ALLOW_CALL(gettimeofday), ALLOW_CALL(nanosleep), ALLOW_CALL(clock_nanosleep),
    ALLOW_CALL(getrandom), ALLOW_CALL(getpid), ALLOW_CALL(gettid), ALLOW_CALL(exit), ALLOW_CALL(exit_group),
    REFUSE,
};

static void filter(void) {
    const struct sock_fprog program = {sizeof instructions / sizeof instructions[0], (struct sock_filter *)instructions};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int dim_isolation_confine(size_t memory, unsigned seconds) {
    prctl(PR_SET_DUMPABLE, 0);  /* no core file, and nobody of the same user attaches */
    int failure = limit(RLIMIT_AS, memory);
    if (failure == 0) failure = limit(RLIMIT_CPU, seconds);
    if (failure == 0) failure = limit(RLIMIT_CORE, 0);
    if (failure == 0) failure = limit(RLIMIT_FSIZE, 0);
    if (failure == 0) failure = limit(RLIMIT_NOFILE, 0);
    if (failure == 0) failure = limit(RLIMIT_NPROC, 0);
    if (failure == 0) filter();
    return failure;
}

/* The few things of the C library that Swift's Glibc module does not show. */
#ifndef DIM_CSYSTEM_SHIM_H
#define DIM_CSYSTEM_SHIM_H

#include <fenv.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

/* Whether a block of so many bytes can be had. Volatile: a compiler may leave out a block that nobody uses, and take it for had. */
static inline int dim_system_has_memory(size_t bytes) {
    void *volatile block = malloc(bytes);
    const int found = block != NULL;
    free(block);
    return found;
}

/* Cores that the calling thread may run on; 0 where the kernel does not say. */
static inline int dim_system_allowed_cores(void) {
    unsigned long mask[128] = {0};
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int count = 0;
    for (long i = 0; bytes > 0 && i < bytes / (long)sizeof mask[0]; i++)
        count += __builtin_popcountl(mask[i]);
    return count;
}

/* Whether small blocks share pages. glibc gives each a page of its own to a thread for which it finds no room to put them. */
static inline int dim_system_packs_small_blocks(void) {
    void *volatile block = malloc(64);
    const int found = block != NULL && malloc_usable_size(block) < 1024;
    free(block);
    return found;
}

/* Whether a folder is one of the kernel's, whose links may name what has no other name. */
static inline int dim_system_is_on_proc(const char *folder) {
    struct statfs system;
    return statfs(folder, &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

/* Tells the core that this thread is in a spin loop. */
static inline void dim_system_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* How a thread computes with floating-point numbers: rounding, subnormal numbers, exceptions that trap and that have been. */
typedef struct dim_system_floating_point {
#if defined(__x86_64__)
    unsigned mxcsr;
    unsigned short x87;
#else
    fenv_t environment;
#endif
} dim_system_floating_point;

static inline dim_system_floating_point dim_system_floating_point_now(void) {
    dim_system_floating_point now;
#if defined(__x86_64__)
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(now.mxcsr), "=m"(now.x87)::"memory");
#else
    fegetenv(&now.environment);
#endif
    return now;
}

static inline void dim_system_set_floating_point(dim_system_floating_point wanted) {
#if defined(__x86_64__)
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" ::"m"(wanted.mxcsr), "m"(wanted.x87) : "memory");
#else
    fesetenv(&wanted.environment);
#endif
}

/* To nearest, subnormal numbers kept, nothing traps: as a process starts. */
static inline void dim_system_set_default_floating_point(void) {
#if defined(__x86_64__)
    dim_system_set_floating_point((dim_system_floating_point){0x1f80, 0x037f});
#else
    fesetenv(FE_DFL_ENV);
#endif
}

/* What the thread's call of the library found when it began: a callback of the caller's gets it back. */
static inline dim_system_floating_point *dim_system_callers_floating_point(void) {
    static __thread dim_system_floating_point found;
    return &found;
}

/* The x86-64 micro-architecture level that both CPU and operating system support: 1 (any), 3 (AVX2, FMA) or 4 (AVX-512 F,
   BW, CD, DQ, VL); 0 on other architectures. The system must save the wide registers: XGETBV says so. */
#if defined(__x86_64__)
static inline void dim_system_cpuid(unsigned leaf, unsigned subleaf, unsigned out[4]) {
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

static inline int dim_system_x86_level(void) {
    unsigned r[4], low, high;
    dim_system_cpuid(0, 0, r);
    if (r[0] < 7) return 1;
    dim_system_cpuid(1, 0, r);
    /* FMA, MOVBE, OSXSAVE, AVX, F16C */
    const unsigned leaf1 = 1u << 12 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29;
    if ((r[2] & leaf1) != leaf1) return 1;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 0x6) != 0x6) return 1;
    dim_system_cpuid(0x80000001u, 0, r);
    if (!(r[2] & 1u << 5)) return 1; /* LZCNT */
    dim_system_cpuid(7, 0, r);
    const unsigned leaf7 = 1u << 3 | 1u << 5 | 1u << 8; /* BMI1, AVX2, BMI2 */
    if ((r[1] & leaf7) != leaf7) return 1;
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31; /* F, DQ, CD, BW, VL */
    return (r[1] & avx512) == avx512 && (low & 0xe6) == 0xe6 ? 4 : 3;
}

/* Whether products of bfloat16 are an instruction: AVX512_BF16, for processors of level 4. */
static inline int dim_system_multiplies_bfloat16(void) {
    unsigned r[4];
    if (dim_system_x86_level() < 4) return 0;
    dim_system_cpuid(7, 0, r);
    if (r[0] < 1) return 0;
    dim_system_cpuid(7, 1, r);
    return (r[0] & 1u << 5) != 0;
}
#else
static inline int dim_system_x86_level(void) { return 0; }
static inline int dim_system_multiplies_bfloat16(void) { return 0; }
#endif

#endif

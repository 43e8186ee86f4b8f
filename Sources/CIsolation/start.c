/* The reader's entry point. libdim.so is a program, too: the dynamic loader, asked to run it, starts here (the link names
 * dim_isolation_start by -e). So the reader is the very library that the host uses, wherever that is, and nothing
 * else has to be installed and found. */
#include "isolation.h"

#include <unistd.h>

/* In Swift. Missing where these sources are linked without it: in the tests of single modules. */
extern int libdim_isolated_main(int argc, char **argv) __attribute__((weak));

static int start(int argc, char **argv, char **environment) {
    (void)environment;
    _exit(libdim_isolated_main ? libdim_isolated_main(argc, argv) : 1);
}

extern int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                             void (*fini)(void), void (*loader_fini)(void), void *stack_end);

/* stack: argc, argv..., NULL, environment... as the kernel leaves them. */
__attribute__((used, noreturn, visibility("hidden"))) void dim_isolation_begin(long *stack, void (*loader_fini)(void)) {
    __libc_start_main(start, (int)stack[0], (char **)(stack + 1), NULL, NULL, loader_fini, stack);
    __builtin_trap();
}

__asm__(".text\n"
        ".globl dim_isolation_start\n"
        ".hidden dim_isolation_start\n"
        ".type dim_isolation_start, @function\n"
        "dim_isolation_start:\n"
#if defined(__x86_64__)
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    mov %rdx, %rsi\n"
        "    and $-16, %rsp\n"
        "    call dim_isolation_begin\n"
        "    hlt\n"
#elif defined(__aarch64__)
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x1, x0\n"
        "    mov x0, sp\n"
        "    bl dim_isolation_begin\n"
        "    brk #0\n"
#else
#error "an entry point for this processor is missing"
#endif
        ".size dim_isolation_start, . - dim_isolation_start\n");

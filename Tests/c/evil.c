/* A library of somebody else's, under the name of libdim, or of libsz, which libhdf5 uses: it says that it ran. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static const char here;

__attribute__((constructor)) static void run(void) {
    Dl_info info;
    char path[4096];
    if (dladdr(&here, &info) == 0)
        return;
    snprintf(path, sizeof path, "%s.ran", info.dli_fname);
    close(open(path, O_WRONLY | O_CREAT, 0600));
}

/* Where it is run as a program, as libdim.so is. */
#if defined(__x86_64__)
__attribute__((force_align_arg_pointer))
#endif
void evil_start(void);
void evil_start(void) {
    run();
    _exit(0);
}

/* What libhdf5 needs of libsz: it would work for plain files. */
int SZ_encoder_enabled(void);
int SZ_BufftoBuffCompress(void);
int SZ_BufftoBuffDecompress(void);
int SZ_encoder_enabled(void) { return 0; }
int SZ_BufftoBuffCompress(void) { return 1; }
int SZ_BufftoBuffDecompress(void) { return 1; }

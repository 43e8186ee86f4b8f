/* The isolated reader uses the same library files as its host, whatever files are in the current folder by now. Each
 * test is a host of its own, this program started again; it is not linked with libdim.
 * usage: isolation build/libdim.so evil.so */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dim.h>

#include "untrusted.h"

static char folder[64], self[PATH_MAX], library[PATH_MAX], evil[PATH_MAX];
static int failures;

static void check(bool holds, const char *format, ...) {
    va_list arguments;
    if (holds)
        return;
    failures++;
    fputs("isolation: not so: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static int run(const char *format, ...) {
    char command[3 * PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    return system(command);
}

/* ---- In a host --------------------------------------------------------------------------------------- */

typedef struct functions {
    dim_status (*create)(uint64_t, dim_model **);
    dim_status (*save)(const dim_model *, const char *);
    dim_status (*open)(const char *, const dim_open_options *, dim_model **);
    const char *(*error)(void);
} functions;

static functions functions_of(void *handle) {
    functions f;
    if (handle == NULL) {
        fprintf(stderr, "isolation: %s\n", dlerror());
        exit(2);
    }
    *(void **)&f.create = dlsym(handle, "dim_model_create");
    *(void **)&f.save = dlsym(handle, "dim_model_save");
    *(void **)&f.open = dlsym(handle, "dim_model_open_with");
    *(void **)&f.error = dlsym(handle, "dim_last_error");
    return f;
}

/* Opens weights of its own as untrusted, or fails with DIM_IO and a message; the exit status of a host. */
static int opens_saying(functions f, const char *message) {
    char path[PATH_MAX];
    dim_model *model = NULL;
    snprintf(path, sizeof path, "%s/weights.h5", folder);
    if (access(path, F_OK) != 0 && (f.create(1, &model) != DIM_OK || f.save(model, path) != DIM_OK)) {
        fprintf(stderr, "isolation: %s\n", f.error());
        return 2;
    }
    const dim_open_options options = untrusted_within(0);
    dim_status status = f.open(path, &options, &model);
    if (message != NULL)
        return status != DIM_IO || strstr(f.error(), message) == NULL;
    if (status != DIM_OK)
        fprintf(stderr, "%s\n", f.error());
    return status != DIM_OK;
}

static int opens(functions f) { return opens_saying(f, NULL); }

static int enter(const char *name) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (chdir(path) == 0)
        return 0;
    perror(path);
    exit(2);
}

/* What is mapped into a reader that has loaded its libraries; "" of any other process. Before its exec a reader has the maps
 * of its host, which is this program. */
static const char *maps_of_reader(pid_t host) {
    static char text[1 << 18];
    pid_t supervisor = child_of(host), reader = supervisor ? child_of(supervisor) : 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/maps", reader);
    FILE *file = reader != 0 ? fopen(path, "r") : NULL;
    text[file != NULL ? fread(text, 1, sizeof text - 1, file) : 0] = '\0';
    if (file != NULL)
        fclose(file);
    return strstr(text, self) == NULL && strstr(text, "/libz.so") != NULL && strstr(text, "/libhdf5") != NULL ? text : "";
}

static int host(const char *kind) {
    char path[PATH_MAX];
    if (strcmp(kind, "relative") == 0) {    /* dlopen of a relative name, then another folder */
        enter("ours");
        functions f = functions_of(dlopen("lib/libdim.so.0", RTLD_NOW));
        enter("theirs");
        return opens(f);
    }
    if (strcmp(kind, "searched") == 0) {    /* found by LD_LIBRARY_PATH, then another folder */
        functions f = functions_of(dlopen("libdim.so.0", RTLD_NOW));
        enter("theirs");
        return opens(f);
    }
    if (strcmp(kind, "absolute") == 0) {
        functions f = functions_of(dlopen(library, RTLD_NOW));
        enter("theirs");
        return opens(f);
    }
    if (strcmp(kind, "own-zlib") == 0) {    /* the host's zlib is no system's: the reader has the same, not another */
        snprintf(path, sizeof path, "%s/own/libz.so.1", folder);
        if (dlopen(path, RTLD_NOW) == NULL)
            return 2;
        functions f = functions_of(dlopen(library, RTLD_NOW));
        fflush(NULL);
        pid_t reading = fork();
        if (reading == 0) {
            alarm(300);
            while (opens(f) == 0)
                ;
            _exit(1);
        }
        const char *maps = "";
        while (maps[0] == '\0' && waitpid(reading, NULL, WNOHANG) == 0)
            maps = maps_of_reader(reading);
        kill(reading, SIGKILL);
        return strstr(maps, path) == NULL;
    }
    if (strcmp(kind, "blank") == 0) {       /* what the loader's list cannot hold is said, not left to a search */
        snprintf(path, sizeof path, "%s/own folder/libz.so.1", folder);
        if (dlopen(path, RTLD_NOW) == NULL)
            return 2;
        return opens_saying(functions_of(dlopen(library, RTLD_NOW)), "own folder/libz.so.1");
    }
    if (strcmp(kind, "namespace") == 0)     /* a second copy, in a namespace of its own */
        return opens(functions_of(dlopen(library, RTLD_NOW))) || opens(functions_of(dlmopen(LM_ID_NEWLM, library, RTLD_NOW)));
    if (strcmp(kind, "chroot") == 0) {
        functions f = functions_of(dlopen(library, RTLD_NOW));
        int status = opens(f);
        strcpy(path, folder);
        strcpy(folder, "/");
        return status || chroot(path) != 0 || chdir("/") != 0 || opens_saying(f, "another root folder");
    }
    return 2;
}

/* ---- The tests --------------------------------------------------------------------------------------- */

/* Starts a host in a folder; the library path is set if it is not NULL. Its exit status. */
static int start(const char *kind, const char *from, const char *library_path) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        char *arguments[] = {self, library, evil, folder, (char *)kind, NULL};
        alarm(300);
        if (library_path != NULL)
            setenv("LD_LIBRARY_PATH", library_path, 1);
        else
            unsetenv("LD_LIBRARY_PATH");
        enter(from);
        execv(self, arguments);
        _exit(3);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Whether a library of theirs ran since this was asked last. */
static bool theirs_ran(void) {
    bool ran = run("test -n \"$(find %s -name '*.ran')\"", folder) == 0;
    run("find %s -name '*.ran' -delete", folder);
    return ran;
}

static void a_host(const char *what, const char *kind, const char *from, const char *library_path) {
    int status = start(kind, from, library_path);
    check(status == 0, "%s: the file is opened (status %d)", what, status);
    check(!theirs_ran(), "%s: no library runs that the host did not load", what);
}

static int last, passed, failed;
static void done(void) {
    failures == last ? passed++ : failed++;
    last = failures;
}

int main(int argc, char **argv) {
    if (argc < 3 || readlink("/proc/self/exe", self, sizeof self - 1) < 0 || realpath(argv[1], library) == NULL ||
        realpath(argv[2], evil) == NULL)
        return 2;
    if (argc == 5) {
        snprintf(folder, sizeof folder, "%s", argv[3]);
        return host(argv[4]);
    }
    strcpy(folder, "/tmp/libdim-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 2;
    chmod(folder, 0755);
    /* Ours, and a folder such as somebody sends it: weights, and beside them what the loader might look for. */
    if (run("cd %s && mkdir -p ours/lib own 'own folder' theirs/lib && cp %s ours/lib/libdim.so.0 && cp %s theirs/lib/libdim.so.0 && "
            "cp %s theirs/libsz.so.2 && cp %s theirs/lib/libsz.so.2 && "
            "cp $(ldd %s | awk '/libz.so.1 =>/ { print $3 }') own/libz.so.1 && cp own/* 'own folder'",
            folder, library, evil, evil, evil, library) != 0)
        return 2;

    a_host("an absolute path", "absolute", "ours", NULL);
    done();
    a_host("a relative path", "relative", "ours", NULL);
    done();
    a_host("a relative library path", "searched", "ours", "lib");
    done();
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/ours/lib:", folder);
    a_host("a library path with a trailing colon", "searched", "ours", path);
    done();
    a_host("a library path of nothing but a colon", "absolute", "ours", ":");
    done();
    a_host("a library path with a dot in it", "absolute", "ours", "/nonexistent:.");
    done();
    check(start("own-zlib", "ours", NULL) == 0, "the reader uses the zlib that the host uses");
    done();
    check(start("blank", "ours", NULL) == 0, "a library whose path has a blank is named");
    done();
    check(start("namespace", "ours", NULL) == 0, "a second copy of the library reads as the first does");
    done();
    if (getuid() == 0) {
        check(start("chroot", "ours", NULL) == 0, "after chroot no reader is started");
        done();
    }
    run("rm -rf %s", folder);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

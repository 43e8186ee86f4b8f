#include "support.h"

#include <dim.h>
#include <dirent.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Reports */

static int terminal = 1, watched = -1;
static char scratch[64];

static void print_line(const char *format, va_list arguments) {
    char line[8192];
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    size_t size = length < 0 ? 0 : (size_t)length < sizeof line - 1 ? (size_t)length : sizeof line - 2;
    line[size++] = '\n';
    if (write(terminal, line, size) < 0)
        _exit(1);
}

void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_line(format, arguments);
    va_end(arguments);
}

void give_up(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print_line(format, arguments);
    va_end(arguments);
    remove_scratch();
    _exit(2);
}

void watch_output(void) {
    terminal = dup(1);
    watched = open(scratch_path("printed"), O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);
    if (terminal < 0 || watched < 0 || dup2(watched, 1) < 0 || dup2(watched, 2) < 0)
        give_up("cannot watch the output: %s", strerror(errno));
}

const char *printed(void) {
    static char text[65536];
    fflush(NULL);
    ssize_t size = watched < 0 ? 0 : pread(watched, text, sizeof text - 1, 0);
    text[size > 0 ? size : 0] = '\0';
    return text;
}

/* ---- Files */

const char *scratch_folder(void) {
    if (scratch[0] == '\0') {
        struct stat shm;
        strcpy(scratch, stat("/dev/shm", &shm) == 0 && access("/dev/shm", W_OK) == 0 ? "/dev/shm/libdim-fuzz-XXXXXX"
                                                                                     : "/tmp/libdim-fuzz-XXXXXX");
        if (mkdtemp(scratch) == NULL) {
            perror("mkdtemp");
            exit(2);
        }
    }
    return scratch;
}

const char *scratch_path(const char *name) {
    static __thread char paths[8][512];
    static __thread int next;
    next = (next + 1) % 8;
    snprintf(paths[next], sizeof paths[next], "%s/%s", scratch_folder(), name);
    return paths[next];
}

void remove_scratch(void) {
    DIR *entries = scratch[0] ? opendir(scratch) : NULL;
    if (entries == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            remove(scratch_path(entry->d_name));
    closedir(entries);
    rmdir(scratch);
    scratch[0] = '\0';
}

unsigned char *read_file(const char *path, size_t *size) {
    struct stat status;
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return NULL;
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
        close(descriptor);
        errno = EINVAL;
        return NULL;
    }
    unsigned char *bytes = malloc((size_t)status.st_size + 1);
    *size = 0;
    for (ssize_t got; bytes != NULL && *size < (size_t)status.st_size; *size += (size_t)got)
        if ((got = read(descriptor, bytes + *size, (size_t)status.st_size - *size)) <= 0)
            break;
    close(descriptor);
    return bytes;
}

void write_file(const char *path, const void *bytes, size_t size) {
    int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    size_t done = 0;
    for (ssize_t put; descriptor >= 0 && done < size; done += (size_t)put)
        if ((put = write(descriptor, (const char *)bytes + done, size - done)) <= 0)
            break;
    if (descriptor < 0 || done < size)
        give_up("cannot write %s: %s", path, strerror(errno));
    close(descriptor);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

file_list list_files(const char *folder, const char *ending) {
    file_list list = {0, NULL};
    DIR *entries = opendir(folder);
    if (entries == NULL)
        give_up("cannot list %s: %s", folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;) {
        size_t length = strlen(entry->d_name), tail = strlen(ending);
        if (length < tail || strcmp(entry->d_name + length - tail, ending) != 0 || entry->d_name[0] == '.')
            continue;
        list.paths = realloc(list.paths, sizeof(char *) * (list.count + 1));
        list.paths[list.count] = malloc(strlen(folder) + length + 2);
        sprintf(list.paths[list.count++], "%s/%s", folder, entry->d_name);
    }
    closedir(entries);
    if (list.count)
        qsort(list.paths, list.count, sizeof(char *), by_name);
    return list;
}

/* ---- Memory and time */

void *shared_memory(size_t bytes) {
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        give_up("mmap: %s", strerror(errno));
    return block;
}

double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

size_t resident_bytes(void) {
    malloc_trim(0);
    unsigned long pages = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%lu %lu", &pages, &resident) != 2)
            resident = 0;
        fclose(file);
    }
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

size_t allocated_bytes(void) {
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* ---- Crashes */

static int module_of(struct dl_phdr_info *info, size_t size, void *raw) {
    uintptr_t address = *(uintptr_t *)raw;
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_LOAD && address >= info->dlpi_addr + header->p_vaddr &&
            address < info->dlpi_addr + header->p_vaddr + header->p_memsz) {
            if (strstr(info->dlpi_name, "libhdf5") != NULL)
                return BLAME_HDF5;
            if (strstr(info->dlpi_name, "libdim") != NULL)
                return BLAME_LIBRARY;
        }
    }
    return 0;
}

/* The innermost frame of libhdf5 or libdim: an abort or a memcpy of the C library belongs to its caller. */
static void end_with_blame(int signal) {
    void *frames[64];
    int status = signal == SIGALRM ? BLAME_TIME : BLAME_OTHER;
    int count = backtrace(frames, 64);
    for (int i = 0; i < count && status == BLAME_OTHER; i++) {
        int found = dl_iterate_phdr(module_of, &frames[i]);
        if (found != 0)
            status = found;
    }
    _exit(status);
}

void blame_crashes(void) {
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGALRM};
    static char stack[1 << 16];
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    void *frame[1];
    backtrace(frame, 1);        /* loads what it needs now, not in a handler */
    sigaltstack(&other, NULL);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction action = {.sa_handler = end_with_blame, .sa_flags = SA_ONSTACK | SA_RESETHAND};
        sigaction(signals[i], &action, NULL);
    }
}

const char *blamed(int status) {
    switch (status) {
    case BLAME_HDF5: return "crash in libhdf5";
    case BLAME_LIBRARY: return "crash in libdim";
    case BLAME_TIME: return "took too long";
    default: return "crash";
    }
}

/* ---- The library */

size_t preset_count(void) {
    size_t count = 0;
    while (dim_architecture_preset_name(count) != NULL)
        count++;
    return count;
}

/* ---- Arguments */

const char *option(int argc, char **argv, const char *name, const char *otherwise) {
    for (int i = 1; i + 1 < argc; i++)
        if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0)
            return argv[i + 1];
    return otherwise;
}

uint64_t number_option(int argc, char **argv, const char *name, uint64_t otherwise) {
    const char *text = option(argc, argv, name, NULL);
    char *end = NULL;
    uint64_t number = text == NULL ? otherwise : strtoull(text, &end, 10);
    if (text != NULL && (*text == '\0' || *end != '\0'))
        give_up("--%s: expected a number, found \"%s\"", name, text);
    return number;
}

bool flag(int argc, char **argv, const char *name) {
    for (int i = 1; i < argc; i++)
        if (strncmp(argv[i], "--", 2) == 0 && strcmp(argv[i] + 2, name) == 0)
            return true;
    return false;
}

void check_options(int argc, char **argv, const char *const *names, const char *usage) {
    for (int i = 1; i < argc; i++) {
        const char *const *name = names;
        size_t length = 0;
        while (*name != NULL) {
            length = strcspn(*name, "=");
            if (strncmp(argv[i], "--", 2) == 0 && strlen(argv[i] + 2) == length &&
                strncmp(argv[i] + 2, *name, length) == 0)
                break;
            name++;
        }
        if (*name == NULL || ((*name)[length] == '=' && i + 1 >= argc))
            give_up("usage: %s", usage);
        i += (*name)[length] == '=';
    }
}

/* What a reader executes: the very files of which this process is made. Their names are the kernel's, absolute, and not those
 * under which they were asked for once: of a relative name, or of a library path with an empty entry, another folder would
 * make another file. See isolation.h. */
#define _GNU_SOURCE
#include "isolation.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

extern char dim_isolation_start[];
/* The dynamic loader's own, in every namespace; dladdr of it finds the loader, however that was started. Weak: a program
 * without a loader may not have it. */
extern void *__tls_get_addr(void *) __attribute__((weak));

/* ---- The folder at the root -------------------------------------------------------------------------- */

/* After chroot, the kernel's names lead elsewhere. */
static struct stat root_when_loaded;
__attribute__((constructor)) static void note_root(void) {
    if (stat("/", &root_when_loaded) != 0)
        memset(&root_when_loaded, 0, sizeof root_when_loaded);
}

static int is_root_the_same(void) {
    struct stat now;
    return stat("/", &now) == 0 && now.st_dev == root_when_loaded.st_dev && now.st_ino == root_when_loaded.st_ino;
}

/* ---- The objects that the loader has loaded ---------------------------------------------------------- */

typedef struct object {
    uintptr_t bias, start;          /* what is added to its addresses; where its first segment is */
    const char *name, *soname;
    const ElfW(Dyn) *dynamic;
    const char *strings;
} object;

typedef struct objects {
    uintptr_t libdim;               /* where it starts */
    size_t count, capacity;
    object *all;
    size_t chosen_count;
    size_t *chosen;                 /* indices: libdim, then what it needs, each once, in the loader's order */
} objects;

static int count_object(struct dl_phdr_info *info, size_t size, void *out) {
    (void)info, (void)size;
    ++*(size_t *)out;
    return 0;
}

static int add_object(struct dl_phdr_info *info, size_t size, void *out) {
    objects *found = out;
    (void)size;
    if (found->count++ >= found->capacity)
        return 0;
    object *o = &found->all[found->count - 1];
    memset(o, 0, sizeof *o);
    o->bias = info->dlpi_addr;
    o->name = info->dlpi_name != NULL ? info->dlpi_name : "";
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && o->start == 0)
            o->start = o->bias + part->p_vaddr;
        if (part->p_type == PT_DYNAMIC)
            o->dynamic = (const ElfW(Dyn) *)(o->bias + part->p_vaddr);
    }
    /* The loader has turned this into an address, but for objects that it cannot write to. */
    for (const ElfW(Dyn) *d = o->dynamic; d != NULL && d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_STRTAB)
            o->strings = (const char *)(d->d_un.d_ptr < o->bias ? o->bias + d->d_un.d_ptr : d->d_un.d_ptr);
    for (const ElfW(Dyn) *d = o->dynamic; o->strings != NULL && d->d_tag != DT_NULL; d++)
        if (d->d_tag == DT_SONAME)
            o->soname = o->strings + d->d_un.d_val;
    return 0;
}

static void choose(objects *found, size_t index) {
    for (size_t i = 0; i < found->chosen_count; i++)
        if (found->chosen[i] == index)
            return;
    found->chosen[found->chosen_count++] = index;
}

/* As the loader looks for what is loaded already: the first object of that name. */
static void choose_needed(objects *found, const char *name) {
    for (size_t i = 0; i < found->count; i++) {
        const object *o = &found->all[i];
        const char *slash = strrchr(o->name, '/');
        if ((o->soname != NULL && strcmp(o->soname, name) == 0) || strcmp(slash != NULL ? slash + 1 : o->name, name) == 0) {
            choose(found, i);
            return;
        }
    }
}

/* Runs under the loader's lock, which the iteration that calls it holds: nothing is unloaded meanwhile. It allocates nothing:
 * whoever holds an allocator's lock may wait for this one. */
static int choose_all(struct dl_phdr_info *info, size_t size, void *out) {
    objects *found = out;
    (void)info, (void)size;
    found->count = found->chosen_count = 0;
    dl_iterate_phdr(add_object, found);
    if (found->count > found->capacity)
        return 1;
    for (size_t i = 0; i < found->count; i++)
        if (found->all[i].start == found->libdim)
            choose(found, i);
    for (size_t next = 0; next < found->chosen_count; next++) {
        const object *o = &found->all[found->chosen[next]];
        for (const ElfW(Dyn) *d = o->dynamic; o->strings != NULL && d->d_tag != DT_NULL; d++)
            if (d->d_tag == DT_NEEDED)
                choose_needed(found, o->strings + d->d_un.d_val);
    }
    return 1;
}

/* What is chosen stays loaded as long as libdim is, and with it the names. False where there is no memory. */
static bool find_objects(objects *found) {
    for (;;) {
        found->count = 0;
        dl_iterate_phdr(count_object, &found->count);
        found->capacity = found->count + 16;
        found->all = malloc(found->capacity * sizeof *found->all);
        found->chosen = malloc(found->capacity * sizeof *found->chosen);
        if (found->all == NULL || found->chosen == NULL)
            return false;
        dl_iterate_phdr(choose_all, found);
        if (found->count <= found->capacity)
            return true;
        free(found->all);
        free(found->chosen);
    }
}

/* ---- The files that they were mapped from ------------------------------------------------------------ */

typedef struct file {
    uintptr_t address;
    const char *name;   /* the loader's, for messages and where the kernel does not say */
    char *path;         /* absolute; NULL where it is not known */
} file;

/* A line of /proc/self/maps: "start-end rights offset device inode   path". */
static bool take_line(const char *line, file *files, size_t count) {
    uintptr_t start = 0, end = 0;
    int path = 0;
    if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %*s %*s %*s %*s %n", &start, &end, &path) < 2 || path == 0 || line[path] != '/')
        return true;
    for (size_t i = 0; i < count; i++)
        if (files[i].address >= start && files[i].address < end && files[i].path == NULL) {
            files[i].path = strdup(line + path);
            if (files[i].path == NULL)
                return false;
        }
    return true;
}

/* Of a file that was replaced, the kernel names the place, and says so. */
static void settle(file *f) {
    static const char mark[] = " (deleted)";
    size_t length = f->path != NULL ? strlen(f->path) : 0;
    if (length > sizeof mark && strcmp(f->path + length - (sizeof mark - 1), mark) == 0 && access(f->path, F_OK) != 0)
        f->path[length - (sizeof mark - 1)] = '\0';
}

/* False where there is no memory. */
static bool find_files(file *files, size_t count) {
    enum { ROOM = 16 * 1024 };      /* of a line: a path, and each of its line feeds is four characters there */
    char *text = malloc(ROOM);
    size_t used = 0;
    bool is_right = text != NULL;
    int maps = open("/proc/thread-self/maps", O_RDONLY | O_CLOEXEC);    /* self: nothing where the main thread has ended */
    while (is_right && maps >= 0) {
        ssize_t got = read(maps, text + used, ROOM - 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
        text[used] = '\0';
        char *line = text;
        for (char *end; is_right && (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            is_right = take_line(line, files, count);
        }
        used -= (size_t)(line - text);
        memmove(text, line, used);
    }
    if (maps >= 0)
        close(maps);
    free(text);
    for (size_t i = 0; is_right && i < count; i++) {
        settle(&files[i]);
        if (files[i].path == NULL && files[i].name[0] == '/')
            is_right = (files[i].path = strdup(files[i].name)) != NULL;
    }
    return is_right;
}

/* ---- Together ---------------------------------------------------------------------------------------- */

static dim_isolation_program failed(dim_isolation_obstacle obstacle, const char *name) {
    dim_isolation_program program = {.obstacle = obstacle, .culprit = name != NULL ? strdup(name) : NULL};
    if (name != NULL && program.culprit == NULL)
        program.obstacle = DIM_ISOLATION_NO_MEMORY;
    return program;
}

/* files: the loader, libdim, libdim's libraries. */
static dim_isolation_program assemble(file *files, size_t count) {
    static const char variable[] = "LD_PRELOAD=";
    size_t length = sizeof variable;
    for (size_t i = 0; i < count; i++) {
        if (files[i].path == NULL || access(files[i].path, R_OK) != 0)
            return failed(DIM_ISOLATION_NO_FILE, files[i].path != NULL ? files[i].path : files[i].name);
        if (i >= 2 && strpbrk(files[i].path, " :$") != NULL)
            return failed(DIM_ISOLATION_UNFIT_NAME, files[i].path);     /* the loader's list has no way to quote them */
        length += strlen(files[i].path) + 1;
    }
    dim_isolation_program program = {.obstacle = DIM_ISOLATION_NONE, .preload = malloc(length)};
    if (program.preload == NULL)
        return failed(DIM_ISOLATION_NO_MEMORY, NULL);
    char *end = stpcpy(program.preload, variable);
    for (size_t i = 2; i < count; i++)
        end = stpcpy(stpcpy(end, i > 2 ? ":" : ""), files[i].path);
    program.loader = files[0].path, files[0].path = NULL;
    program.library = files[1].path, files[1].path = NULL;
    return program;
}

dim_isolation_program dim_isolation_find_program(void) {
    Dl_info here, loader;
    /* Linked into a program, or without the flag that names the entry point, it would be something else that starts. */
    if (dladdr((void *)dim_isolation_start, &here) == 0 ||
        (char *)here.dli_fbase + ((const ElfW(Ehdr) *)here.dli_fbase)->e_entry != dim_isolation_start)
        return failed(DIM_ISOLATION_LINKED, NULL);
    if (__tls_get_addr == NULL || dladdr((void *)__tls_get_addr, &loader) == 0)
        return failed(DIM_ISOLATION_NO_LOADER, NULL);
    if (!is_root_the_same())
        return failed(DIM_ISOLATION_OTHER_ROOT, NULL);

    objects found = {.libdim = (uintptr_t)here.dli_fbase};
    file *files = NULL;
    size_t count = 1;
    dim_isolation_program program = {.obstacle = DIM_ISOLATION_NO_MEMORY};
    if (find_objects(&found) && (files = calloc(found.chosen_count + 1, sizeof *files)) != NULL) {
        files[0] = (file){(uintptr_t)loader.dli_fbase, loader.dli_fname, NULL};
        for (size_t i = 0; i < found.chosen_count; i++) {
            const object *o = &found.all[found.chosen[i]];
            if (o->start != files[0].address)
                files[count++] = (file){o->start, o->name, NULL};
        }
        if (find_files(files, count))
            program = count > 1 ? assemble(files, count) : failed(DIM_ISOLATION_NO_FILE, here.dli_fname);
        for (size_t i = 0; i < count; i++)
            free(files[i].path);
    }
    free(files);
    free(found.all);
    free(found.chosen);
    return program;
}

void dim_isolation_free_program(dim_isolation_program *program) {
    free(program->loader);
    free(program->library);
    free(program->preload);
    free(program->culprit);
}

/* support.h - what the drivers share: reports, a scratch folder, children that may crash, memory in use. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Built with a sanitizer: memory is not comparable, and the library prints what the sanitizer prints. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Swift's runtime keeps the number of each thread, and in a child of fork() the old one, with which two threads wait for ever
 * at the lock of a lazily initialized value: with the thread sanitizer each use takes that lock. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZED 1
#endif
#endif
#ifndef THREAD_SANITIZED
#define THREAD_SANITIZED 0
#endif

/* Prints to the terminal, even where the standard output is watched. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void give_up(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* From here on what anybody else prints goes to a file; `printed` gives it back, "" for nothing. */
void watch_output(void);
const char *printed(void);

/* A folder of this process's own, in memory where the system has such; removed by remove_scratch. */
const char *scratch_folder(void);
/* In that folder. Valid until eight more calls of this thread. */
const char *scratch_path(const char *name);
void remove_scratch(void);

/* A file's bytes, malloc'ed. NULL and errno where that fails. */
unsigned char *read_file(const char *path, size_t *size);
void write_file(const char *path, const void *bytes, size_t size);

/* The files of a folder whose names end so, in order. */
typedef struct file_list {
    size_t count;
    char **paths;
} file_list;
file_list list_files(const char *folder, const char *ending);

/* Memory that parent and children share. */
void *shared_memory(size_t bytes);

double seconds_now(void);
/* Resident memory of this process, without what malloc keeps for later; and what malloc has given out. In bytes. */
size_t resident_bytes(void);
size_t allocated_bytes(void);

/* In a child: where a signal ends it, its exit status is BLAME + 0 to 2: whose code it was that ran, innermost first. */
enum { BLAME = 100, BLAME_OTHER = BLAME, BLAME_LIBRARY = BLAME + 1, BLAME_HDF5 = BLAME + 2, BLAME_TIME = BLAME + 3 };
void blame_crashes(void);
const char *blamed(int status);

/* How many presets the library names. */
size_t preset_count(void);

/* "--name VALUE" among the arguments; the default where it is not there. */
const char *option(int argc, char **argv, const char *name, const char *otherwise);
uint64_t number_option(int argc, char **argv, const char *name, uint64_t otherwise);
bool flag(int argc, char **argv, const char *name);
/* Ends the program where an argument is none of the names, each "name=" (takes a value) or "name". */
void check_options(int argc, char **argv, const char *const *names, const char *usage);

#endif

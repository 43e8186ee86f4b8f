/*
 * program.h - what the programs of this folder share: numbers and names of files on a command line. Header only, and of POSIX:
 * define _XOPEN_SOURCE as 700 before the first include.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A whole number from `least` to `most`. Returns 0, or -1 for any other text. */
static inline int parse_number(const char *text, long least, long most, long *value) {
    char *end;
    errno = 0;
    *value = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value >= least && *value <= most ? 0 : -1;
}

/* The first argument from `first` on that looks like an option; NULL if none does. Options come first: it would be taken for a
 * file, after others were worked on. */
static inline const char *late_option(int argc, char **argv, int first) {
    for (int i = first; i < argc; i++)
        if (argv[i][0] == '-' && argv[i][1] != '\0')
            return argv[i];
    return NULL;
}

/* Whether an output is the regular file that an input names, "-" for standard input: writing would destroy it. */
static inline int same_file(const char *output, const char *input) {
    struct stat out, in;
    return stat(output, &out) == 0 && S_ISREG(out.st_mode) && (strcmp(input, "-") == 0 ? fstat(0, &in) : stat(input, &in)) == 0
        && out.st_dev == in.st_dev && out.st_ino == in.st_ino;
}

/* Whether something has this name, or may have: what cannot be looked at is not taken for a new file. */
static inline int may_exist(const char *name) {
    struct stat status;
    return stat(name, &status) == 0 || errno != ENOENT;
}

/* What stands against saving a file of this name, behind symbolic links, by way of a new one in its folder: to be said before long
 * work. NULL: nothing that can be known before. */
static inline const char *why_not_saved(const char *name) {
    static char why[PATH_MAX + 200];
    char path[PATH_MAX], link[PATH_MAX];
    size_t length = strlen(name);
    if (length >= sizeof path)
        return strerror(ENAMETOOLONG);
    strcpy(path, name);
    for (int links = 0; links < 40; links++) {
        ssize_t bytes = readlink(path, link, sizeof link - 1);
        if (bytes < 0)
            break;
        link[bytes] = '\0';
        const char *slash = strrchr(path, '/');
        length = link[0] == '/' || slash == NULL ? 0 : (size_t)(slash - path) + 1;
        if (length + (size_t)bytes >= sizeof path)
            return strerror(ENAMETOOLONG);
        strcpy(path + length, link);
    }
    char *slash = strrchr(path, '/');
    if (slash == NULL ? path[0] == '\0' : slash[1] == '\0')
        return "expected the name of a file to save, found that of a folder, or none";
    if (access(path, F_OK) == 0 && access(path, W_OK) != 0) {
        snprintf(why, sizeof why, "it cannot be written: %s", strerror(errno));
        return why;
    }
    if (slash == NULL)
        strcpy(path, ".");
    else
        slash[slash == path] = '\0';
    if (access(path, W_OK | X_OK) == 0)
        return NULL;
    snprintf(why, sizeof why, "cannot save in folder %s: %s", path, strerror(errno));
    return why;
}

#endif

/*
 * program.h - what the programs of this folder share: numbers and names of files on a command line. Header only.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A whole number from `least` to `most`. Returns 0, or -1 for any other text. */
static inline int parse_number(const char *text, long least, long most, long *value) {
    char *end;
    errno = 0;
    *value = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *value >= least && *value <= most ? 0 : -1;
}

/* Whether an output is the regular file that an input names, "-" for standard input: writing would destroy it. */
static inline int same_file(const char *output, const char *input) {
    struct stat out, in;
    return stat(output, &out) == 0 && S_ISREG(out.st_mode) && (strcmp(input, "-") == 0 ? fstat(0, &in) : stat(input, &in)) == 0
        && out.st_dev == in.st_dev && out.st_ino == in.st_ino;
}

#endif

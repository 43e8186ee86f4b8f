/*
 * output.h - a file that is written under another name in the same folder and takes its own when all is there, as the library's
 * files do: an older one stays until then, and whenever something fails, and the new one has its metadata (docs/hdf5.md). Header
 * only, and of Linux: define _XOPEN_SOURCE as 700 before the first include.
 */
#ifndef OUTPUT_H
#define OUTPUT_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

typedef struct output {
    FILE *file;
    char path[PATH_MAX];        /* where it will be: behind symbolic links */
} output;

/* The file's name until then, "" if there is none; a signal that ends the program removes it. */
static char output_temporary[PATH_MAX];

static void output_on_signal(int number) {
    unlink(output_temporary);
    signal(number, SIG_DFL);
    raise(number);
}

/* Copies the extended attributes of the file that is replaced, its access control list among them; what the system does not take
 * is left. Returns whether the new file's list is the old one's: the same, or none. */
static int output_keep_attributes(int descriptor, const char *path, int with_list) {
    static const char *const of_content[] = {"security.capability", "security.evm", "security.ima"};
    static const char list[] = "system.posix_acl_access";
    static char names[1 << 16], value[1 << 16];         /* Linux has no longer ones */
    int has_list = 1;
    fremovexattr(descriptor, list);     /* one that the folder gave */
    const ssize_t length = listxattr(path, names, sizeof names);
    if (length < 0)
        return errno == ENOTSUP;
    for (const char *name = names; name < names + length; name += strlen(name) + 1) {
        const int is_list = strcmp(name, list) == 0;
        int copied = !is_list || with_list;
        for (size_t i = 0; i < sizeof of_content / sizeof of_content[0]; i++)
            copied &= strcmp(name, of_content[i]) != 0;
        if (copied) {
            const ssize_t bytes = getxattr(path, name, value, sizeof value);
            copied = bytes >= 0 && fsetxattr(descriptor, name, value, (size_t)bytes, 0) == 0;
        }
        if (is_list)
            has_list = copied;
    }
    return has_list;
}

/* Owner, group, attributes and permissions of the file that is replaced, as far as the system allows. Nobody gains rights: the
 * list may have denied somebody what others may, another group was others, and who was in the old group is one of them now. */
static int output_keep_metadata(int descriptor, const char *path, const struct stat *old) {
    mode_t mode = old->st_mode & 0777;
    const int has_group = fchown(descriptor, old->st_uid, old->st_gid) == 0 || fchown(descriptor, (uid_t)-1, old->st_gid) == 0;
    if (!output_keep_attributes(descriptor, path, has_group)) {
        mode &= 0700;
    } else if (!has_group) {
        const mode_t both = (mode >> 3) & mode & 07;
        mode = (mode & 0700) | both << 3 | both;
    }
    return fchmod(descriptor, mode);
}

/* Returns 0, or -1 with errno. A device and a pipe are written as they are; so is standard output's file, in which a shell may
 * have other text before and after. */
static int output_open(output *out, const char *name) {
    static const int ends[] = {SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
    struct stat old, standard;
    const int exists = stat(name, &old) == 0;
    out->file = NULL;
    output_temporary[0] = '\0';
    if (exists && fstat(1, &standard) == 0 && standard.st_dev == old.st_dev && standard.st_ino == old.st_ino) {
        out->file = stdout;
        return 0;
    }
    if (exists && !S_ISREG(old.st_mode))
        return (out->file = fopen(name, "wb")) == NULL ? -1 : 0;
    if (strlen(name) >= sizeof out->path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (!exists)
        strcpy(out->path, name);        /* in the place of a link that leads to nothing, too */
    else if (realpath(name, out->path) == NULL || access(out->path, W_OK) != 0)
        return -1;

    const char *slash = strrchr(out->path, '/');
    const int folder = slash == NULL ? 0 : (int)(slash - out->path) + 1;
    int descriptor, number = 0;
    do {
        int length = snprintf(output_temporary, sizeof output_temporary, "%.*s.output-%ld-%d.tmp", folder, out->path, (long)getpid(),
                              number++);
        if (length >= (int)sizeof output_temporary) {
            output_temporary[0] = '\0';
            errno = ENAMETOOLONG;
            return -1;
        }
        descriptor = open(output_temporary, O_WRONLY | O_CREAT | O_EXCL, exists ? 0600 : 0666);
    } while (descriptor < 0 && errno == EEXIST && number < 100);    /* left by a process of this number that was killed */
    if (descriptor < 0) {
        output_temporary[0] = '\0';
        return -1;
    }
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (signal(ends[i], SIG_IGN) != SIG_IGN)        /* nohup's SIGHUP stays ignored */
            signal(ends[i], output_on_signal);
    if ((exists && output_keep_metadata(descriptor, out->path, &old) != 0) || (out->file = fdopen(descriptor, "wb")) == NULL) {
        const int why = errno;
        close(descriptor);
        unlink(output_temporary);
        output_temporary[0] = '\0';
        errno = why;
        return -1;
    }
    return 0;
}

/* Puts the file in its place if all of it is to be kept, and removes it otherwise. Returns 0, or -1 with errno: a full disk may
 * show only when the last bytes are flushed. Standard output is flushed alone. */
static int output_close(output *out, int keep) {
    if (out->file == NULL)
        return 0;
    if (out->file == stdout)
        return fflush(stdout);
    int failed = output_temporary[0] != '\0' && (fflush(out->file) != 0 || fsync(fileno(out->file)) != 0), why = errno;
    if (fclose(out->file) != 0 && !failed) {
        failed = 1;
        why = errno;
    }
    out->file = NULL;
    if (output_temporary[0] != '\0') {
        if (keep && !failed && rename(output_temporary, out->path) != 0) {
            failed = 1;
            why = errno;
        }
        if (!keep || failed)
            unlink(output_temporary);
        output_temporary[0] = '\0';
    }
    errno = why;
    return failed ? -1 : 0;
}

#endif

/* What a save does to the file that it replaces: owner, group, permissions, access control lists, extended attributes; and what
 * it does where the system behaves oddly. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { OWNER = 61001, MEMBER = 61002, TEAM = 62001, OTHERS = 62002 };

/* ---- In processes of other users --------------------------------------------------------------------- */

static const char *place(void) {
    static char path[512];
    if (path[0] == '\0') {
        snprintf(path, sizeof path, "%s", scratch_path("shared"));
        mkdir(path, 0777);
        chmod(path, 0777);
        char parent[512];
        snprintf(parent, sizeof parent, "%s", scratch_path("."));
        chmod(parent, 0755);
        snprintf(path, sizeof path, "%s", scratch_path("shared/w.h5"));
    }
    return path;
}

/* A file of owner and team. */
static void put(mode_t mode) {
    FILE *file = fopen(place(), "w");
    if (file == NULL || fputs("old", file) < 0 || fclose(file) != 0 || chown(place(), OWNER, TEAM) != 0 ||
        chmod(place(), mode) != 0) {
        perror(place());
        exit(1);
    }
}

/* Saves as another user, who is in a group of his own and, maybe, in the team. */
static bool save_as(uid_t user, bool in_team) {
    dim_model *model = shared_model();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        const gid_t team = TEAM;
        bool is_he = setgroups(in_team ? 1 : 0, &team) == 0 && setgid(OTHERS) == 0 && setuid(user) == 0;
        _exit(!is_he || dim_model_save(model, place()) != DIM_OK);
    }
    int status = -1;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void is(const char *what, uid_t owner, gid_t group, mode_t mode) {
    struct stat s;
    CHECK(stat(place(), &s) == 0 && s.st_size > 1000);
    harness_check(s.st_uid == owner && s.st_gid == group && (s.st_mode & 07777) == mode, __FILE__, __LINE__,
                  "%s: expected %d:%d %o, found %d:%d %o", what, (int)owner, (int)group, (unsigned)mode, (int)s.st_uid,
                  (int)s.st_gid, (unsigned)(s.st_mode & 07777));
}

static void the_group_is_kept(void) {
    put(0660);
    CHECK(dim_model_save(shared_model(), place()) == DIM_OK);
    is("by root", OWNER, TEAM, 0660);
    put(0660);
    CHECK(save_as(MEMBER, true));
    is("by a member", MEMBER, TEAM, 0660);
    put(0640);
    CHECK(save_as(OWNER, true));
    is("by the owner", OWNER, TEAM, 0640);
}

/* The rights of a group that cannot be kept go: they would be another group's. */
static void no_other_group_gains(void) {
    put(0666);
    CHECK(save_as(MEMBER, false));
    is("0666 by one outside", MEMBER, OTHERS, 0666);
    put(0660);
    CHECK(save_as(OWNER, false));
    is("0660 by an owner who left the team", OWNER, OTHERS, 0600);
    put(0664);
    CHECK(save_as(OWNER, false));
    is("0664", OWNER, OTHERS, 0644);
    put(0604);      /* the team was shut out, and would be among the others */
    CHECK(save_as(OWNER, false));
    is("0604", OWNER, OTHERS, 0600);
}

/* ---- Attributes -------------------------------------------------------------------------------------- */

/* As the kernel takes them: version 2, then tag, rights, id. */
typedef struct entry {
    uint16_t tag, rights;
    uint32_t id;
} entry;
typedef struct list {
    uint32_t version;
    entry entries[5];
} list;
/* rw- for the owner, --- for the team, rw- for MEMBER, at most rw-, --- for others: its mode reads rw-rw----. */
static const list some = {2, {{1, 6, ~0u}, {2, 6, MEMBER}, {4, 0, ~0u}, {16, 6, ~0u}, {32, 0, ~0u}}};
static const char list_name[] = "system.posix_acl_access";

static void attributes(void) {
    char value[16] = "";
    list found;
    put(0640);
    if (setxattr(place(), "user.origin", "here", 4, 0) != 0) {
        fprintf(stderr, "saving: no extended attributes in %s: not tested\n", place());
    } else {
        CHECK(dim_model_save(shared_model(), place()) == DIM_OK);
        CHECK(getxattr(place(), "user.origin", value, sizeof value) == 4 && memcmp(value, "here", 4) == 0);
    }
    put(0600);
    if (setxattr(place(), list_name, &some, sizeof some, 0) != 0) {
        fprintf(stderr, "saving: no access control lists in %s: not tested\n", place());
        return;
    }
    CHECK(save_as(OWNER, true));
    CHECK(getxattr(place(), list_name, &found, sizeof found) == sizeof some && memcmp(&found, &some, sizeof some) == 0);
    is("with a list", OWNER, TEAM, 0660);
    CHECK(save_as(OWNER, false));       /* without the list's group, without the list; and the team had no right */
    CHECK(getxattr(place(), list_name, &found, sizeof found) < 0);
    is("without the list", OWNER, OTHERS, 0600);
}

/* ---- Odd systems ------------------------------------------------------------------------------------- */

/* The program's own come before the C library's. */
static bool refuses_modes, takes_nothing;
static mode_t created;          /* what the last new file was made with */

/* All files of FAT have one mode. */
int openat(int folder, const char *name, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if ((flags & O_CREAT) != 0)
        created = mode;
    return (int)syscall(SYS_openat, folder, name, flags, refuses_modes ? 0644 : mode);
}

int fchmod(int file, mode_t mode) {
    if (refuses_modes)
        return errno = EPERM, -1;
    return (int)syscall(SYS_fchmod, file, mode);
}

ssize_t pwrite(int file, const void *data, size_t bytes, off_t offset) {
    return takes_nothing ? 0 : syscall(SYS_pwrite64, file, data, bytes, offset);
}

/* What replaces a file, which may be private, nobody else opens before it has that one's rights. */
static void private_until_it_replaces(void) {
    const char *path = scratch_path("private.h5");
    unlink(path);
    MUST(dim_model_save(shared_model(), path));
    CHECK(created == 0666);
    MUST(dim_model_save(shared_model(), path));
    CHECK(created == 0600);
}

static void modes_that_cannot_be_set(void) {
    const char *path = scratch_path("mode.h5");
    mode_t before = umask(022);
    unlink(path);
    MUST(dim_model_save(shared_model(), path));         /* 0644 */
    refuses_modes = true;
    CHECK_STATUS(DIM_OK, dim_model_save(shared_model(), path));
    refuses_modes = false;
    chmod(path, 0600);
    refuses_modes = true;
    CHECK_STATUS(DIM_IO, dim_model_save(shared_model(), path));     /* it would be 0644 */
    CHECK_MESSAGE("cannot keep the permissions");
    refuses_modes = false;
    umask(before);
}

static void writes_of_nothing(void) {
    const char *path = scratch_path("nothing.h5");
    struct stat status;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        alarm(300);     /* instead of for ever */
        takes_nothing = true;
        _exit(dim_model_save(shared_model(), path) != DIM_IO || strstr(dim_last_error(), "Input/output error") == NULL);
    }
    int ended = -1;
    waitpid(child, &ended, 0);
    CHECK(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
    CHECK(stat(path, &status) != 0);
}

/* The file behind such a name is open elsewhere: a shell's redirection, a log. */
static void names_of_open_files(void) {
    const char *log = scratch_path("log");
    char text[16] = "", link[64];
    int file = open(log, O_RDWR | O_CREAT | O_TRUNC, 0600), out = dup(1);
    CHECK(write(file, "a line", 6) == 6);
    fflush(NULL);
    dup2(file, 1);
    dim_status found = dim_model_save(shared_model(), "/dev/stdout");
    dup2(out, 1);
    CHECK_STATUS(DIM_IO, found);
    CHECK_MESSAGE("/dev/stdout");
    CHECK_MESSAGE("expected the file's own name");
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    CHECK_STATUS(DIM_IO, dim_model_save(shared_model(), link));
    CHECK(symlink(link, scratch_path("link")) == 0);
    CHECK_STATUS(DIM_IO, dim_model_save(shared_model(), scratch_path("link")));
    struct stat there, ours;
    CHECK(stat(log, &there) == 0 && fstat(file, &ours) == 0 && there.st_ino == ours.st_ino);
    CHECK(pread(file, text, sizeof text, 0) == 6 && memcmp(text, "a line", 6) == 0);
    close(file);
    close(out);
}

int main(void) {
    RUN(modes_that_cannot_be_set);
    RUN(private_until_it_replaces);
    RUN(writes_of_nothing);
    RUN(names_of_open_files);
    if (getuid() == 0) {
        RUN(the_group_is_kept);
        RUN(no_other_group_gains);
        RUN(attributes);
    } else {
        fputs("saving: other users' files are not tested: that takes root\n", stderr);
    }
    unlink(place());
    rmdir(scratch_path("shared"));
    return harness_finish();
}

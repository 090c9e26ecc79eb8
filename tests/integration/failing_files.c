/* Makes calls on files fail with a chosen error, as a disk, a network file system or the limits of
   a process do. The file that FAILING_FILES names has lines of a number of an error and the start
   of a path; without that file nothing fails. With the number -1 the call hangs, as on a network
   file system whose server is away, until the line is gone. A path after `inotify:` is that of a
   watch, and `inotify:` alone is all of inotify. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fault_of(const char *path)
{
    const char *control = getenv("FAILING_FILES");
    char text[4096];
    if (!control || !path)
        return 0;
    int file = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t length = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    if (length <= 0)
        return 0;
    text[length] = 0;
    char *state;
    for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state)) {
        char *prefix;
        int number = strtol(line, &prefix, 10);
        prefix++;
        if (!strncmp(path, prefix, strlen(prefix)))
            return number;
    }
    return 0;
}

static int fault_after_hanging(const char *path)
{
    int fault;
    while ((fault = fault_of(path)) < 0)
        usleep(20000);
    return fault;
}

#define FAIL(path)                                                                                 \
    int fault = fault_after_hanging(path);                                                         \
    if (fault) {                                                                                   \
        errno = fault;                                                                             \
        return -1;                                                                                 \
    }

#define MODE                                                                                       \
    va_list rest;                                                                                  \
    va_start(rest, flags);                                                                         \
    mode_t mode = va_arg(rest, mode_t);                                                            \
    va_end(rest);

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        MODE FAIL(path) return syscall(SYS_openat, AT_FDCWD, path, flags, mode);                   \
    }

#define OPENAT(name)                                                                               \
    int name(int directory, const char *path, int flags, ...)                                      \
    {                                                                                              \
        MODE FAIL(path) return syscall(SYS_openat, directory, path, flags, mode);                  \
    }

#define STAT(name, type, follow)                                                                   \
    int name(const char *path, struct type *found)                                                 \
    {                                                                                              \
        FAIL(path) return syscall(SYS_newfstatat, AT_FDCWD, path, found, follow);                  \
    }

int inotify_add_watch(int queue, const char *path, uint32_t mask)
{
    char name[4096];
    snprintf(name, sizeof name, "inotify:%s", path);
    FAIL(name) return syscall(SYS_inotify_add_watch, queue, path, mask);
}

int inotify_init1(int flags)
{
    FAIL("inotify:") return syscall(SYS_inotify_init1, flags);
}

int inotify_init(void)
{
    return inotify_init1(0);
}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
STAT(stat, stat, 0)
STAT(stat64, stat64, 0)
STAT(lstat, stat, AT_SYMLINK_NOFOLLOW)
STAT(lstat64, stat64, AT_SYMLINK_NOFOLLOW)

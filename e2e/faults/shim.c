/* Preloaded into the server: fails the call that the test names, and moves the wall clock.
 *
 * The test steers it through a file that both have mapped, named by FAULTS_SHIM. Calls count on regular
 * files only, of a path that has the test's words in it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic int64_t clock_seconds; /* added to the wall clock */
    _Atomic int64_t calls;         /* which calls count: 1 write and pwrite, 2 fdatasync and fsync, 4 ftruncate */
    _Atomic int64_t countdown;     /* the call that brings this to 0 fails; below 1, none does */
    _Atomic int64_t error;         /* its errno */
    _Atomic int64_t torn;          /* whether half of a failing write is written */
    _Atomic int64_t hits;          /* calls that failed */
    _Atomic int64_t seen;          /* calls that counted */
    char path[64];                 /* part of the path of the files that count */
};

static struct control *control;

__attribute__((constructor)) static void map_control(void) {
    const char *name = getenv("FAULTS_SHIM");
    int file = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *place = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (place != MAP_FAILED)
        control = place;
}

static int is_meant(int file) {
    char link[32], path[4096];
    struct stat found;
    if (fstat(file, &found) != 0 || !S_ISREG(found.st_mode))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, control->path) != NULL;
}

/* Whether this call is the one. */
static int fails(int kind, int file) {
    int before = errno;
    if (!control || control->countdown < 1 || !(control->calls & kind) || !is_meant(file)) {
        errno = before;
        return 0;
    }
    control->seen++;
    if (atomic_fetch_sub(&control->countdown, 1) != 1) {
        errno = before;
        return 0;
    }
    control->hits++;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL (errno = (int)control->error, -1)

ssize_t write(int file, const void *bytes, size_t count) {
    if (!fails(1, file))
        return REAL(write)(file, bytes, count);
    if (control->torn)
        (void)!REAL(write)(file, bytes, count / 2);
    return FAIL;
}

ssize_t pwrite64(int file, const void *bytes, size_t count, off64_t offset) {
    if (!fails(1, file))
        return REAL(pwrite64)(file, bytes, count, offset);
    if (control->torn)
        (void)!REAL(pwrite64)(file, bytes, count / 2, offset);
    return FAIL;
}

int fdatasync(int file) { return fails(2, file) ? FAIL : REAL(fdatasync)(file); }

int fsync(int file) { return fails(2, file) ? FAIL : REAL(fsync)(file); }

int ftruncate64(int file, off64_t length) { return fails(4, file) ? FAIL : REAL(ftruncate64)(file, length); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (result == 0 && control && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += control->clock_seconds;
    return result;
}

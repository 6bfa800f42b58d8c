/* What a process is told by its system, made wrong on command: what time of day it is, and what becomes of a write.
 *
 * Loaded in front of the C library (LD_PRELOAD), it obeys the words in a file that the test has as well; see preload.rs,
 * which knows their order. Nothing else of a process changes, and it can be changed back while the process runs. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct words {
    int64_t jump_seconds; /* how far the wall clock is off */
    int64_t error;        /* what refused calls say */
    int64_t refuses;      /* which calls are refused: the bits below */
    int64_t times_told;   /* how often a wrong time of day was told */
    int64_t refused;      /* how many calls were refused */
};

enum { WRITES = 1, SYNCS = 2, OPENS = 4, GROWTH = 8 };

static struct words *words;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TEST_FAULTS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *shared = mmap(NULL, sizeof *words, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) words = shared;
    close(file);
}

static int64_t word(int64_t *at) { return __atomic_load_n(at, __ATOMIC_SEQ_CST); }

static int is_refused(int what) {
    if (!words || !(word(&words->refuses) & what)) return 0;
    __atomic_fetch_add(&words->refused, 1, __ATOMIC_SEQ_CST);
    errno = (int)word(&words->error);
    return 1;
}

/* Only the store's file fails: standard output and the like are no disk. */
static int is_store(int file) {
    char link[64], path[4096];
    link[0] = 0;
    strcpy(link, "/proc/self/fd/");
    char digits[16];
    int count = 0;
    do digits[count++] = (char)('0' + file % 10); while ((file /= 10) > 0);
    char *end = link + strlen(link);
    while (count > 0) *end++ = digits[--count];
    *end = 0;
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/cofferdam.redb") != NULL;
}

#define NEXT(name) static __typeof__(&name) next; if (!next) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int clock_gettime(clockid_t clock, struct timespec *time) {
    NEXT(clock_gettime);
    int failed = next(clock, time);
    if (!failed && clock == CLOCK_REALTIME && words) {
        int64_t jump = word(&words->jump_seconds);
        if (jump) {
            time->tv_sec += jump;
            __atomic_fetch_add(&words->times_told, 1, __ATOMIC_SEQ_CST);
        }
    }
    return failed;
}

/* A full disk takes what is written where something was before. */
static int has_blocks(int file, off64_t from, size_t count) {
    off64_t hole = lseek64(file, from, SEEK_HOLE);
    return lseek64(file, from, SEEK_DATA) == from && hole >= from + (off64_t)count;
}

ssize_t pwrite64(int file, const void *from, size_t count, off64_t offset) {
    NEXT(pwrite64);
    if (words && word(&words->refuses) && is_store(file)) {
        if (is_refused(WRITES) || (!has_blocks(file, offset, count) && is_refused(GROWTH))) return -1;
    }
    return next(file, from, count, offset);
}

int ftruncate64(int file, off64_t length) {
    NEXT(ftruncate64);
    return is_store(file) && is_refused(WRITES) ? -1 : next(file, length);
}

int fdatasync(int file) {
    NEXT(fdatasync);
    return is_store(file) && is_refused(SYNCS) ? -1 : next(file);
}

int fsync(int file) {
    NEXT(fsync);
    return is_store(file) && is_refused(SYNCS) ? -1 : next(file);
}

int open64(const char *path, int flags, ...) {
    NEXT(open64);
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    int writes = (flags & O_ACCMODE) != O_RDONLY && strstr(path, "/cofferdam.redb");
    return writes && is_refused(OPENS) ? -1 : next(path, flags, mode);
}

#include "CApusPlatform.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

void apus_trim_memory(void) {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

void apus_limit_heaps(int count) {
#if defined(__GLIBC__)
    mallopt(M_ARENA_MAX, count);
#else
    (void)count;
#endif
}

#if defined(__linux__)
// "max" where there is no limit: then nothing is read.
static int64_t limit_of(const char *group, int64_t bytes) {
    char path[4200];
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
    FILE *file = fopen(path, "r");
    if (!file) return bytes;
    long long limit = 0;
    if (fscanf(file, "%lld", &limit) == 1 && limit > 0 && limit < bytes) bytes = limit;
    fclose(file);
    return bytes;
}
#endif

int64_t apus_memory_bytes(void) {
    int64_t bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * (int64_t)sysconf(_SC_PAGESIZE);
#if defined(__linux__)
    bytes = limit_of("", bytes);
    FILE *file = fopen("/proc/self/cgroup", "r");
    if (!file) return bytes;
    char group[4096];
    if (fscanf(file, "0::%4095s", group) == 1) bytes = limit_of(group, bytes);
    fclose(file);
#endif
    return bytes;
}

int64_t apus_open_files_max(void) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) return INT64_MAX;
    return (int64_t)files.rlim_cur;
}

uintptr_t apus_thread(void) { return (uintptr_t)pthread_self(); }

void apus_complain(const char *text) {
    fputs(text, stderr);
    fflush(stderr);
}

// Counts allocations and retains: a program's own functions come before those of shared libraries, so these are called
// in place of theirs, and call them. The runtime's hooks for the same purpose crash with Swift 6.3 on Linux.

#define _GNU_SOURCE
#include "CCounts.h"

#if defined(__GLIBC__)
#include <dlfcn.h>
#include <stddef.h>
#include <stdlib.h>

static _Thread_local struct counts counts;

int counts_are_known(void) { return 1; }
struct counts counts_now(void) { return counts; }

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *memory, size_t bytes);

void *malloc(size_t bytes) {
    counts.allocations++;
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes) {
    counts.allocations++;
    return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes) {
    counts.allocations++;
    return __libc_realloc(memory, bytes);
}

// The runtime's own function, looked up at its first call.
#define NEXT(name)                                                        \
    static __typeof__(&name) next;                                        \
    if (next == NULL) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name);  \
    if (next == NULL) abort()

void *swift_retain(void *object) {
    NEXT(swift_retain);
    counts.retains++;
    return next(object);
}

void *swift_retain_n(void *object, uint32_t count) {
    NEXT(swift_retain_n);
    counts.retains += count;
    return next(object, count);
}

void *swift_bridgeObjectRetain(void *object) {
    NEXT(swift_bridgeObjectRetain);
    counts.retains++;
    return next(object);
}

void *swift_bridgeObjectRetain_n(void *object, uint32_t count) {
    NEXT(swift_bridgeObjectRetain_n);
    counts.retains += count;
    return next(object, count);
}
#else
int counts_are_known(void) { return 0; }
struct counts counts_now(void) { return (struct counts){0, 0}; }
#endif

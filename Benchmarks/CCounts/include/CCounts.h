#ifndef CCOUNTS_H
#define CCOUNTS_H

#include <stdint.h>

/// What the calling thread has done so far.
struct counts {
    /// Calls of malloc, calloc and realloc.
    int64_t allocations;
    /// References added by Swift code, whether to an object, a string or a buffer.
    int64_t retains;
};

/// False where this platform has no way to count.
int counts_are_known(void);

struct counts counts_now(void);

#endif

#ifndef CHEAP_H
#define CHEAP_H

#include <stdint.h>

/// What this process has allocated and not freed, with what the allocator adds; -1 where the C library does not say.
int64_t heap_bytes_in_use(void);

#endif

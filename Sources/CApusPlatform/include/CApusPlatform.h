#ifndef APUS_PLATFORM_H
#define APUS_PLATFORM_H

/// Gives memory that the C library's allocator holds but does not use back to the system. Nothing where it has no such call.
void apus_trim_memory(void);

#endif

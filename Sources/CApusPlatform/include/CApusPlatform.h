#ifndef CAPUSPLATFORM_H
#define CAPUSPLATFORM_H

#include <stddef.h>
#include <stdint.h>

/// Gives freed memory back to the system, where the C library would keep it.
void apus_trim_memory(void);

/// How many heaps the C library keeps, of which threads share one where there are fewer. What one thread takes and another
/// gives back is found again only where both share one.
void apus_limit_heaps(int count);

/// The memory that this process may use: of the machine, or of its control group where that has a limit.
int64_t apus_memory_bytes(void);

/// How many files this process may have open.
int64_t apus_open_files_max(void);

/// The thread that asks; never 0.
uintptr_t apus_thread(void);

/// Writes to standard error, at once.
void apus_complain(const char *text);

/// CRC-32C (Castagnoli) of what `crc` is the checksum of, followed by these bytes. It begins with 0.
uint32_t apus_crc32c(uint32_t crc, const void *bytes, size_t count);

/// The same without instructions of the processor, to test against.
uint32_t apus_crc32c_portable(uint32_t crc, const void *bytes, size_t count);

#endif

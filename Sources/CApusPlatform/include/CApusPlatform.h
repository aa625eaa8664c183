#ifndef CAPUSPLATFORM_H
#define CAPUSPLATFORM_H

#include <stdint.h>

/// Gives freed memory back to the system, where the C library would keep it.
void apus_trim_memory(void);

/// The memory that this process may use: of the machine, or of its control group where that has a limit.
int64_t apus_memory_bytes(void);

/// How many files this process may have open.
int64_t apus_open_files_max(void);

#endif

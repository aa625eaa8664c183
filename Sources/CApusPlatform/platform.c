#include "CApusPlatform.h"

#if defined(__GLIBC__) || defined(__linux__)
#include <malloc.h>
#endif

void apus_trim_memory(void) {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

#include "CApusPlatform.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#endif

static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill_table(void) {
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
        table[0][byte] = crc;
    }
    for (int slice = 1; slice < 8; slice++)
        for (uint32_t byte = 0; byte < 256; byte++)
            table[slice][byte] = table[slice - 1][byte] >> 8 ^ table[0][table[slice - 1][byte] & 0xFF];
}

// Eight bytes a step, whatever the byte order of the machine.
uint32_t apus_crc32c_portable(uint32_t crc, const void *bytes, size_t count) {
    pthread_once(&once, fill_table);
    const uint8_t *at = bytes;
    crc = ~crc;
    for (; count >= 8; count -= 8, at += 8) {
        uint32_t low = crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
        crc = table[7][low & 0xFF] ^ table[6][low >> 8 & 0xFF] ^ table[5][low >> 16 & 0xFF] ^ table[4][low >> 24]
            ^ table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
    }
    for (; count > 0; count--, at++) crc = crc >> 8 ^ table[0][(crc ^ *at) & 0xFF];
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2")))
static uint32_t crc32c_instructions(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    uint64_t wide = (uint32_t)~crc;
    for (; count >= 8; count -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    uint32_t narrow = (uint32_t)wide;
    for (; count > 0; count--, at++) narrow = _mm_crc32_u8(narrow, *at);
    return ~narrow;
}

static int has_instructions(void) { return __builtin_cpu_supports("sse4.2"); }

#elif defined(__aarch64__)

#if defined(__clang__)
__attribute__((target("crc")))
#else
__attribute__((target("+crc")))
#endif
static uint32_t crc32c_instructions(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    crc = ~crc;
    for (; count >= 8; count -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        crc = __crc32cd(crc, word);
    }
    for (; count > 0; count--, at++) crc = __crc32cb(crc, *at);
    return ~crc;
}

#if defined(__linux__)
// HWCAP_CRC32.
static int has_instructions(void) { return (getauxval(AT_HWCAP) & (1ul << 7)) != 0; }
#else
static int has_instructions(void) { return 1; }
#endif

#else

static uint32_t crc32c_instructions(uint32_t crc, const void *bytes, size_t count) {
    return apus_crc32c_portable(crc, bytes, count);
}

static int has_instructions(void) { return 0; }

#endif

uint32_t apus_crc32c(uint32_t crc, const void *bytes, size_t count) {
    return has_instructions() ? crc32c_instructions(crc, bytes, count) : apus_crc32c_portable(crc, bytes, count);
}

// Linked into what Scripts/sanitize builds with ThreadSanitizer on Linux: tells it of four things in Swift's own libraries,
// which are not built with it.
//
// Mutex: taking and leaving it is inlined, so ThreadSanitizer sees that, as long as no thread has to wait for another. Where one
// has to, a function of libswiftSynchronization hands the lock on. These functions stand in front of the library's.
//
// Continuations: what `resume` passes to the task that waits. The library orders the two.
//
// The empty array, which all threads share: an array that was made with room for nothing writes its count, 0, once more.
//
// Reference counts: NIO reads into a buffer again once nobody else has it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *self
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define TRY_LOCK "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"

void __tsan_acquire(void *address);
void __tsan_release(void *address);

static SWIFT void (*library_lock)(uint32_t thread, SELF);
static SWIFT bool (*library_try_lock)(SELF);
static SWIFT void (*library_unlock)(SELF);

__attribute__((constructor)) static void find(void) {
    *(void **)&library_lock = dlsym(RTLD_NEXT, LOCK);
    *(void **)&library_try_lock = dlsym(RTLD_NEXT, TRY_LOCK);
    *(void **)&library_unlock = dlsym(RTLD_NEXT, UNLOCK);
}

SWIFT void lock(uint32_t thread, SELF) __asm__(LOCK);
SWIFT void lock(uint32_t thread, SELF) {
    library_lock(thread, self);
    __tsan_acquire(self);
}

SWIFT bool try_lock(SELF) __asm__(TRY_LOCK);
SWIFT bool try_lock(SELF) {
    bool is_taken = library_try_lock(self);
    if (is_taken) __tsan_acquire(self);
    return is_taken;
}

SWIFT void unlock(SELF) __asm__(UNLOCK);
SWIFT void unlock(SELF) {
    __tsan_release(self);
    library_unlock(self);
}

const char *__tsan_default_suppressions(void) {
    return "race_top:withUnsafeThrowingContinuation\n"
           "race_top:withUnsafeContinuation\n"
           "race_top:6resume9returning\n"
           "race:^_swiftEmptyArrayStorage$\n"
           "race:_reuseExisting\n";
}

import MQTTStore

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The clock of the machine, which may be wrong and may jump.
enum WallClock {
    /// Milliseconds since 1970.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// The time of the broker when it starts.
    static func brokerTime(after stored: StoredBroker?, now: Int64) -> Int64 {
        stored?.time(atWallClock: now) ?? 0
    }
}

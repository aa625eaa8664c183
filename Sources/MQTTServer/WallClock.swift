import MQTTStore

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The clock of the machine, which may be wrong and may jump.
enum WallClock {
    /// Before this the clock of a machine that does not know the time stands: 1 January 2020.
    private static let plausible: Int64 = 1_577_836_800_000

    /// Milliseconds since 1970.
    static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// The time of the broker when it starts: where it was, and the time that it was down. A clock that has gone back,
    /// or that did not know the time then, tells nothing about that.
    static func brokerTime(after stored: StoredBroker?, now: Int64 = now()) -> Int64 {
        guard let stored else { return 0 }
        let isPlausible = stored.wallClock >= plausible && now >= stored.wallClock
        return stored.time + (isPlausible ? now - stored.wallClock : 0)
    }
}

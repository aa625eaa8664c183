#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// A time as people read it, in the time zone of this machine.
struct WallTime {
    private let time: timespec
    private let parts: tm

    init() {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        localtime_r(&now.tv_sec, &parts)
        time = now
        self.parts = parts
    }

    var seconds: Int { time.tv_sec }
    var nanoseconds: Int { time.tv_nsec }

    /// As `strftime` does.
    func formatted(_ format: String) -> String {
        var parts = parts
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { text in
            guard let start = text.baseAddress, strftime(start, text.count, format, &parts) > 0 else { return "" }
            return String(cString: start)
        }
    }

    /// With microseconds and the offset: `2026-11-21T20:15:02.123456+01:00`.
    var rfc3339: String {
        let minutes = abs(parts.tm_gmtoff) / 60
        let offset = (parts.tm_gmtoff < 0 ? "-" : "+") + padded(minutes / 60, 2) + ":" + padded(minutes % 60, 2)
        return formatted("%Y-%m-%dT%H:%M:%S") + "." + padded(nanoseconds / 1_000, 6) + offset
    }
}

/// With zeros before it.
func padded(_ number: Int, _ digits: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}

/// The time of a broker under test, of its clients' libraries, and of whatever sleeps by this clock.
///
/// In memory it stands still until the test moves it. Live it is the machine's: then to move it is to wait.
public final class TestClock: Clock {
    /// A point in its time.
    public struct Instant: InstantProtocol {
        /// Since the clock was made.
        public var elapsed: Duration

        /// Later by a duration.
        public func advanced(by duration: Duration) -> Instant { Instant(elapsed: elapsed + duration) }

        /// From this one to another.
        public func duration(to other: Instant) -> Duration { other.elapsed - elapsed }

        /// Whether one is before another.
        public static func < (one: Instant, other: Instant) -> Bool { one.elapsed < other.elapsed }
    }

    private static let liveMax = Duration.seconds(60)
    /// Nil where it is the machine's clock.
    let time: VirtualTime?
    private let began = ContinuousClock.now

    init(_ time: VirtualTime?) { self.time = time }

    /// Where it stands.
    public var now: Instant {
        guard let time else { return Instant(elapsed: ContinuousClock.now - began) }
        return Instant(elapsed: .nanoseconds(time.now))
    }

    /// A nanosecond.
    public var minimumResolution: Duration { .nanoseconds(1) }

    /// Moves the time on, from timer to timer: what is due happens in its order, and what comes of it, before the time
    /// goes further. Live this waits as long.
    ///
    /// Await what you expect before you move the time: a timer that is not set yet begins where the time stands then.
    public func advance(by duration: Duration) async throws {
        guard let time else { return try await Task.sleep(for: duration) }
        await time.advance(by: Self.nanoseconds(duration))
    }

    /// Lets the time pass by itself while `body` waits for something, however long that takes by this clock: each time
    /// that all has come to rest it goes on to the next timer.
    ///
    /// - Parameters:
    ///   - limit: by this clock, live at most a minute. Beyond it `TestingError` is thrown, whether or not `body` returns.
    ///   - body: waits for something that time brings about.
    public func letTimePass<Value: Sendable>(
        upTo limit: Duration = .seconds(3_600),
        while body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        guard let time else { return try await within("what was waited for", min(limit, Self.liveMax), body) }
        let end = time.now + Self.nanoseconds(limit)
        return try await race("what was waited for took longer than \(limit)", body) {
            var lastFired = ContinuousClock.now
            while true {
                await time.rest()
                try Task.checkCancellation()
                switch time.fireNext(by: end) {
                case .fired: lastFired = .now
                case .reachedLimit: return
                case .noTimer:
                    // Only real work can bring something now, such as a task's.
                    if ContinuousClock.now - lastFired > .seconds(30) { return }
                    try await Task.sleep(for: .milliseconds(1))
                }
            }
        }
    }

    /// Waits until the clock is moved so far.
    public func sleep(until deadline: Instant, tolerance: Duration? = nil) async throws {
        guard let time else { return try await Task.sleep(until: began + deadline.elapsed, clock: .continuous) }
        let sleep = Sleep()
        let id = time.schedule(at: Self.nanoseconds(deadline.elapsed)) {
            sleep.end(nil)
        } drop: {
            sleep.end(CancellationError())
        }
        try await withTaskCancellationHandler {
            try await sleep.wait()
        } onCancel: {
            time.cancel(id)
            sleep.end(CancellationError())
        }
    }

    private static func nanoseconds(_ duration: Duration) -> UInt64 {
        let (seconds, attoseconds) = duration.components
        return UInt64(max(0, seconds * 1_000_000_000 + attoseconds / 1_000_000_000))
    }
}

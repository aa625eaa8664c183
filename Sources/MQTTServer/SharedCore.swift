import MQTTCore
import Synchronization

/// The one broker value and the one lock around it.
final class SharedCore: Sendable {
    private let core: Mutex<BrokerCore>

    init(_ configuration: CoreConfiguration) {
        core = Mutex(BrokerCore(configuration: configuration))
    }

    /// Nothing in `body` waits, logs or calls anything but the core.
    func withLock<Result: Sendable>(_ body: (inout BrokerCore) -> Result) -> Result {
        core.withLock { body(&$0) }
    }
}

/// Milliseconds of the monotonic clock.
enum Clock {
    private static let start = ContinuousClock.now

    static var now: Int64 {
        let (seconds, attoseconds) = (ContinuousClock.now - start).components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }
}

import MQTTCore
import NIOCore
import Synchronization

/// The one broker value and the one lock around it, which counts how long it is held and how often it is waited for.
final class SharedCore: Sendable {
    private let core: Mutex<BrokerCore>
    private let start = NIODeadline.now().uptimeNanoseconds

    init(_ configuration: CoreConfiguration) {
        core = Mutex(BrokerCore(configuration: configuration))
    }

    /// One turn, given the time in milliseconds of the monotonic clock. Nothing in `body` waits, logs or calls anything
    /// but the core.
    func withLock<Result: Sendable>(_ body: (inout BrokerCore, _ now: Int64) -> Result) -> Result {
        if let result = core.withLockIfAvailable({ turn(&$0, wasContended: false, body) }) { return result }
        return core.withLock { turn(&$0, wasContended: true, body) }
    }

    private func turn<Result: Sendable>(
        _ core: inout BrokerCore,
        wasContended: Bool,
        _ body: (inout BrokerCore, _ now: Int64) -> Result
    ) -> Result {
        let began = NIODeadline.now().uptimeNanoseconds
        let result = body(&core, Int64((began - start) / 1_000_000))
        core.countTurn(nanoseconds: NIODeadline.now().uptimeNanoseconds - began, wasContended: wasContended)
        return result
    }
}

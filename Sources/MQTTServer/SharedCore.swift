import MQTTCore
import MQTTStore
import NIOCore
import Synchronization

/// The one broker value and the one lock around it, which counts how long it is held and how often it is waited for.
final class SharedCore: Sendable {
    private let core: Mutex<BrokerCore>
    private let start = NIODeadline.now().uptimeNanoseconds
    /// The time of the broker at its start, which goes on from where the store has it.
    private let base = Atomic<Int64>(0)

    init(_ configuration: CoreConfiguration) {
        core = Mutex(BrokerCore(configuration: configuration))
    }

    /// Before the first turn.
    func begin(at time: Int64) { base.store(time, ordering: .releasing) }

    /// One turn, given the time of the broker in milliseconds, which never goes back. Nothing in `body` waits, logs or
    /// calls anything but the core.
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
        let result = body(&core, base.load(ordering: .relaxed) + Int64((began - start) / 1_000_000))
        core.countTurn(nanoseconds: NIODeadline.now().uptimeNanoseconds - began, wasContended: wasContended)
        return result
    }
}

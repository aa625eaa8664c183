import CApusPlatform
import MQTTCore
import MQTTStore
import Synchronization

/// The one broker value and the one lock around it, which counts how long it is held and how often it is waited for.
final class SharedCore: Sendable {
    private let core: Mutex<BrokerCore>
    /// Nanoseconds.
    private let uptime: @Sendable () -> UInt64
    private let start: UInt64
    /// The time of the broker at its start, which goes on from where the store has it.
    private let base = Atomic<Int64>(0)
    /// Whether hooks run inside, one of which might come in again.
    private let checksThread: Bool
    /// The thread inside, where that is checked; 0 is none.
    private let thread = Atomic<UInt>(0)

    init(_ configuration: CoreConfiguration, uptime: @escaping @Sendable () -> UInt64) {
        self.uptime = uptime
        start = uptime()
        checksThread = configuration.hasLockedHooks
        core = Mutex(BrokerCore(configuration: configuration))
    }

    /// Before the first turn.
    func begin(at time: Int64) { base.store(time, ordering: .releasing) }

    /// One turn, given the time of the broker in milliseconds, which never goes back. Nothing in `body` waits, logs or
    /// calls anything but the core.
    func withLock<Result: Sendable>(_ body: (inout BrokerCore, _ now: Int64) -> Result) -> Result {
        if checksThread && thread.load(ordering: .relaxed) == apus_thread() { Self.stop() }
        if let result = core.withLockIfAvailable({ turn(&$0, wasContended: false, body) }) { return result }
        return core.withLock { turn(&$0, wasContended: true, body) }
    }

    private func turn<Result: Sendable>(
        _ core: inout BrokerCore,
        wasContended: Bool,
        _ body: (inout BrokerCore, _ now: Int64) -> Result
    ) -> Result {
        if checksThread { thread.store(apus_thread(), ordering: .relaxed) }
        defer { if checksThread { thread.store(0, ordering: .relaxed) } }
        let began = uptime()
        let result = body(&core, base.load(ordering: .relaxed) + Int64((began - start) / 1_000_000))
        core.countTurn(nanoseconds: uptime() - began, wasContended: wasContended)
        return result
    }

    /// It would wait for itself, and everybody for it.
    private static func stop() -> Never {
        let message = "a hook that is called for each receiver has called the broker, which waits for it\n"
        apus_complain(message)
        preconditionFailure(message)
    }
}

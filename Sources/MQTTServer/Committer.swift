import Logging
import MQTTCore
import MQTTStore

/// Takes what must last from the core, has the store commit it, and tells the core how far that came.
///
/// While one batch is being written the next one gathers: under load one commit serves thousands of messages.
struct Committer: Sendable {
    private let core: SharedCore
    private let store: any MessageStore
    private let signals: AsyncStream<Void>
    /// Says that there are changes. Cheap, and harmless when there are none.
    let signal: @Sendable () -> Void

    init(core: SharedCore, store: any MessageStore) {
        self.core = core
        self.store = store
        let (signals, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.signals = signals
        signal = { continuation.yield() }
    }

    /// Ends when its task is cancelled, and throws when the store does: then nothing more is acknowledged.
    func run(wake: @Sendable ([Int]) -> Void) async throws {
        for await _ in signals {
            let (changes, ticket) = core.withLock { core, _ in core.takeChanges() }
            guard !changes.isEmpty else { continue }
            try await store.commit(changes)
            let loops = core.withLock { core, now in
                core.committed(through: ticket, at: now)
                return core.loopsToWake(besides: -1)
            }
            wake(loops)
        }
    }
}

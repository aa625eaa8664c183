import Logging
import MQTTCore
import MQTTStore
import Synchronization

/// Takes what must last from the core, has the store commit it, and tells the core how far that came.
///
/// While one batch is being written the next one gathers: under load one commit serves thousands of messages.
struct Committer: Sendable {
    private let core: SharedCore
    private let store: any MessageStore
    private let pager: Pager
    private let signals: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    /// Says that there are changes. Cheap, and harmless when there are none.
    let signal: @Sendable () -> Void

    init(core: SharedCore, store: any MessageStore, pager: Pager) {
        self.core = core
        self.store = store
        self.pager = pager
        let (signals, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.signals = signals
        self.continuation = continuation
        signal = { continuation.yield() }
    }

    /// Ends after `finish()`, and throws when the store does: then nothing more is acknowledged.
    func run(wake: @Sendable ([Int]) -> Void) async throws {
        for await _ in signals {
            while try await commit(wake) {}
        }
    }

    /// There will be no more changes: what there is is committed, and `run` returns.
    func finish() {
        continuation.yield()
        continuation.finish()
    }

    /// False where there was nothing to do.
    private func commit(_ wake: @Sendable ([Int]) -> Void) async throws -> Bool {
        let (taken, ticket, broker) = core.withLock { core, _ in
            let (changes, ticket) = core.takeChanges()
            return (changes, ticket, core.storedBroker(wallClock: WallClock.now()))
        }
        guard !taken.isEmpty else { return false }
        // What came and went before it was written need not be.
        if taken.contains(where: { $0 != nil }) {
            var changes = [StoreChange.broker(broker)]
            changes.reserveCapacity(taken.count + 1)
            for case let change? in taken { changes.append(change) }
            try await store.commit(changes)
        }
        let (loops, wantsPages) = core.withLock { core, now in
            core.committed(through: ticket, at: now)
            return (core.loopsToWake(besides: -1), core.hasPageRequests())
        }
        wake(loops)
        if wantsPages { pager.signal() }
        return true
    }
}

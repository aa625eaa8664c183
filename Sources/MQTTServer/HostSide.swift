import MQTTCore
import NIOCore
import Synchronization

/// The way from host code into a broker that runs: a turn of its own, from any thread.
final class HostSide: Sendable {
    /// What is there while the broker runs.
    struct Running: Sendable {
        let peers: [LoopDriver.Peer]
        let committer: Committer
        let pager: Pager
        /// Makes a channel of these loops a connection.
        let initialize: @Sendable (any Channel) -> EventLoopFuture<Void>
    }

    private struct State {
        var running: Running?
        /// The loop of the next subscription.
        var nextLoop = 0
    }

    private let state = Mutex(State())
    private let core: SharedCore
    private let hub: EventHub
    let waiters = CommitWaiters()

    init(core: SharedCore, hub: EventHub) {
        self.core = core
        self.hub = hub
    }

    func begin(_ running: Running) { state.withLock { $0.running = running } }

    /// The loops are not touched any more.
    func end() { state.withLock { $0.running = nil } }

    var running: Running? { state.withLock { $0.running } }

    /// One turn. The loops are woken under this lock: behind `end()` they may be gone.
    func turn<Result: Sendable>(
        _ body: (inout BrokerCore, _ now: Int64) -> Result
    ) throws(HostError) -> Result {
        let done: (Result, AfterHostTurn)? = state.withLock { state in
            guard let running = state.running else { return nil }
            let (result, after) = core.withLock { core, now in
                let result = body(&core, now)
                return (result, AfterHostTurn(of: &core))
            }
            for loop in after.wake { running.peers[loop].wake() }
            if after.hasChanges { running.committer.signal() }
            if after.wantsPages { running.pager.signal() }
            return (result, after)
        }
        guard let (result, after) = done else { throw .notRunning }
        if let observed = after.observed { hub.publish(observed) }
        return result
    }

    /// Has the driver of the next loop do something.
    func onNextLoop<Value: Sendable>(
        _ body: @escaping @Sendable (LoopDriver) -> Value
    ) async throws(HostError) -> Value {
        let future: EventLoopFuture<Value>? = state.withLock { state in
            guard let running = state.running else { return nil }
            let peer = running.peers[state.nextLoop % running.peers.count]
            state.nextLoop += 1
            return peer.eventLoop.submit { body(peer.driver.value) }
        }
        guard let future else { throw .notRunning }
        do {
            return try await future.get()
        } catch {
            throw .notRunning
        }
    }

    /// Until what was changed is committed.
    func wait(for ticket: UInt64) async throws(HostError) {
        guard !core.withLock({ core, _ in core.isCommitted(ticket) }) else { return }
        try await waiters.wait(for: ticket)
    }
}

/// What a turn of host code left to do without the lock.
private struct AfterHostTurn: Sendable {
    let wake: [Int]
    let hasChanges: Bool
    let wantsPages: Bool
    let observed: EventBatch?
    /// Freed with this value.
    private let discarded: [Discarded]

    init(of core: inout BrokerCore) {
        wake = core.loopsToWake(besides: -1)
        hasChanges = core.hasChanges()
        wantsPages = core.hasPageRequests()
        observed = core.takeObserved()
        discarded = core.takeDiscarded()
    }
}

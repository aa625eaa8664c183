import Logging
import MQTTCore
import MQTTStore

extension MQTTBroker {
    /// Takes up what the store has kept.
    func restore() async throws {
        guard store.isDurable else { return }
        let begun = ContinuousClock.now
        let state = try await store.open()
        let read = begun.duration(to: .now)
        for notice in state.notices { logger(.broker).notice("\(notice)") }
        watch.look { statistics in core.withLock { core, now in core.storeSays(statistics, at: now) } }
        core.begin(at: WallClock.brokerTime(after: state.broker, now: environment.wallClock()))
        core.withLock { core, now in core.restore(state, at: now) }
        guard !state.sessions.isEmpty || !state.retained.isEmpty else { return }
        logger(.broker).notice(
            "restored",
            metadata: [
                "sessions": "\(state.sessions.count)", "retained": "\(state.retained.count)",
                "messages": "\(state.sessions.reduce(0) { $0 + $1.queuedMessages })",
                "read-ms": "\(Int(read / .milliseconds(1)))",
                "taken-up-ms": "\(Int((begun.duration(to: .now) - read) / .milliseconds(1)))",
            ]
        )
    }

    /// What the store says of itself, as of its last commit; nil for one that keeps nothing. The longest wait is that since
    /// it was opened.
    public var storeStatistics: StoreStatistics? { store.isDurable ? watch.statistics : nil }

    /// Until there is no more to commit. Throws where the store does, which is logged at once.
    func commit(with committer: Committer, _ peers: [LoopDriver.Peer]) async throws {
        do {
            try await committer.run { loops in for loop in loops { peers[loop].wake() } }
        } catch {
            if !(error is CancellationError) {
                logger(.broker).error("the store has failed: nothing more is kept", metadata: ["reason": "\(error)"])
            }
            core.withLock { core, _ in core.storeFailed() }
            host.waiters.end(error is CancellationError ? .notRunning : .storeFailed)
            throw error
        }
    }

    /// A store that does not answer, twice in a row to the same batch, does not keep the broker from ending.
    func giveUpCommitting(_ committing: Task<Void, any Error>, _ peers: [LoopDriver.Peer]) -> Task<Void, Never> {
        Task { [core, logger] in
            var last: UInt64?
            while true {
                do {
                    try await Task.sleep(for: Self.lastCommitTime)
                } catch {
                    return  // All is committed.
                }
                let oldest = core.withLock { core, _ in core.oldestUncommitted() }
                if oldest != nil && oldest == last { break }
                last = oldest
            }
            logger.error("the store does not answer: the last changes, which nobody was told of, may be lost")
            let loops = core.withLock { core, _ in
                core.storeFailed()
                return core.loopsToWake(besides: -1)
            }
            for loop in loops { peers[loop].wake() }
            committing.cancel()
        }
    }
}

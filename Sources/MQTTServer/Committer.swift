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
    private let published: (@Sendable () -> Void)?
    private let watch: StoreWatch
    private let waiters: CommitWaiters
    /// Milliseconds since 1970.
    private let wallClock: @Sendable () -> Int64
    private let signals: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    /// Says that there are changes. Cheap, and harmless when there are none.
    let signal: @Sendable () -> Void

    /// Between two looks at what the store says of itself where nothing is committed.
    private static let watchInterval = Duration.milliseconds(100)

    init(
        core: SharedCore,
        store: any MessageStore,
        pager: Pager,
        published: (@Sendable () -> Void)?,
        watch: StoreWatch,
        waiters: CommitWaiters,
        wallClock: @escaping @Sendable () -> Int64
    ) {
        self.core = core
        self.store = store
        self.pager = pager
        self.published = published
        self.watch = watch
        self.waiters = waiters
        self.wallClock = wallClock
        let (signals, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.signals = signals
        self.continuation = continuation
        signal = { continuation.yield() }
    }

    /// Ends after `finish()`, and throws when the store does: then nothing more is acknowledged.
    func run(wake: @escaping @Sendable ([Int]) -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            // Not on the thread of the commits, which would keep it waiting.
            if store.isDurable {
                tasks.addTask(executorPreference: globalConcurrentExecutor) { try await watchStore(wake) }
            }
            defer { tasks.cancelAll() }
            for await _ in signals {
                while try await commit(wake) {}
            }
        }
    }

    /// A full disk shows also while a commit waits for it, and has room again also where there is nothing to commit.
    private func watchStore(_ wake: @Sendable ([Int]) -> Void) async throws {
        while true {
            try await Task.sleep(for: Self.watchInterval)
            tellCore(wake) { _, _ in }
        }
    }

    /// What the store says now, after something else that the core is told.
    private func tellCore(
        _ wake: @Sendable ([Int]) -> Void,
        _ body: (inout BrokerCore, _ now: Int64) -> Void
    ) {
        let (loops, wantsPages, hasPublished) = watch.look { statistics in
            core.withLock { core, now in
                body(&core, now)
                core.storeSays(statistics, at: now)
                return (core.loopsToWake(besides: -1), core.hasPageRequests(), core.hasPublished())
            }
        }
        wake(loops)
        if wantsPages { pager.signal() }
        if hasPublished { published?() }
    }

    /// There will be no more changes: what there is is committed, and `run` returns.
    func finish() {
        continuation.yield()
        continuation.finish()
    }

    /// False where there was nothing to do.
    private func commit(_ wake: @Sendable ([Int]) -> Void) async throws -> Bool {
        var taken = core.withLock { core, _ in core.takeChanges(wallClock: wallClock()) }
        guard !taken.changes.isEmpty else { return false }
        if !taken.isEmpty {
            taken.removePlaceholders()
            try await store.commit(taken.changes)
        }
        let ticket = taken.ticket
        tellCore(wake) { core, now in core.committed(through: ticket, at: now) }
        waiters.committed(through: ticket)
        return true
    }
}

import MQTTStore
import Synchronization

/// A store whose commits and reads a test can hold and let fail, over another that does them.
///
/// A store that has thrown is not used any further: a broker ends with the error of a commit, and stops one session's
/// delivery for that of a read.
public final class FailingStore: MessageStore {
    /// What `failNextCommit` and `failNextRead` throw where they are given nothing else.
    public struct Failure: Error, Hashable, CustomStringConvertible {
        /// For the log.
        public var description: String { "the store fails, as the test has it" }

        /// The one that there is.
        public init() {}
    }

    private let store: any MessageStore
    private let commits = Gate()
    private let reads = Gate()

    /// Passes all to `store` until it is told otherwise.
    public init(_ store: any MessageStore = KeptStore()) { self.store = store }

    /// The next commit that is let through throws, and nothing of it is kept.
    public func failNextCommit(_ error: any Error = Failure()) { commits.failNext(error) }

    /// The next read that is let through throws.
    public func failNextRead(_ error: any Error = Failure()) { reads.failNext(error) }

    /// Commits wait from now on.
    public func holdCommits() { commits.hold() }

    /// Reads wait from now on.
    public func holdReads() { reads.hold() }

    /// Comes back once a commit waits.
    public func commitWaits() async throws { try await within("a commit") { try await self.commits.isReached() } }

    /// Comes back once a read waits.
    public func readWaits() async throws { try await within("a read") { try await self.reads.isReached() } }

    /// Lets through what waits, and what comes.
    public func release() {
        commits.release()
        reads.release()
    }

    // MARK: The store

    /// As the other.
    public var isDurable: Bool { store.isDurable }

    /// As the other.
    public var executor: (any TaskExecutor)? { store.executor }

    /// As the other.
    public var statistics: StoreStatistics { store.statistics }

    /// As the other.
    public func open() async throws -> StoredState { try await store.open() }

    /// Once it is let through.
    public func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]] {
        try await reads.pass()
        return try await store.messages(pages)
    }

    /// Once it is let through.
    public func commit(_ changes: [StoreChange]) async throws {
        try await commits.pass()
        try await store.commit(changes)
    }

    /// As the other.
    public func close() async { await store.close() }
}

/// What calls pass one by one, where it is open.
private final class Gate: Sendable {
    private struct State {
        var isHeld = false
        var errors: [any Error] = []
        var waiting: [Sleep] = []
        /// Those who want to know of somebody that waits.
        var watching: [Sleep] = []
    }

    private let state = Mutex(State())

    func failNext(_ error: any Error) { state.withLock { $0.errors.append(error) } }

    func hold() { state.withLock { $0.isHeld = true } }

    func release() {
        let waiting = state.withLock { state in
            state.isHeld = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for sleep in waiting { sleep.end(nil) }
    }

    func pass() async throws {
        let sleep = Sleep()
        let watching: [Sleep]? = state.withLock { state in
            guard state.isHeld else { return nil }
            state.waiting.append(sleep)
            defer { state.watching = [] }
            return state.watching
        }
        if let watching {
            for watcher in watching { watcher.end(nil) }
            try await sleep.waitUnlessCancelled()
        }
        if let error = state.withLock({ $0.errors.isEmpty ? nil : $0.errors.removeFirst() }) { throw error }
    }

    func isReached() async throws {
        let sleep = Sleep()
        let isReached = state.withLock { state in
            if state.waiting.isEmpty { state.watching.append(sleep) }
            return !state.waiting.isEmpty
        }
        if !isReached { try await sleep.waitUnlessCancelled() }
    }
}

import MQTTStore
import MQTTTesting
import Synchronization

/// A durable store whose commits wait for the test.
final class HeldStore: MessageStore {
    let isDurable = true
    private let commits: AsyncStream<HeldCommit>
    private let continuation: AsyncStream<HeldCommit>.Continuation

    init() { (commits, continuation) = AsyncStream.makeStream(of: HeldCommit.self) }

    func open() async throws -> StoredState { StoredState() }

    func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]] { pages.map { _ in [] } }

    func commit(_ changes: [StoreChange]) async throws {
        let commit = HeldCommit(changes)
        continuation.yield(commit)
        try await commit.end()
    }

    /// The commit that the broker waits for next.
    func next() async throws -> HeldCommit {
        let commits = commits
        return try await within("a commit") {
            for await commit in commits { return commit }
            throw CancellationError()
        }
    }

    /// Lets pass everything, for as long as the task that calls it lasts.
    func releaseAll() async { for await commit in commits { commit.release() } }
}

/// One commit, until the test lets it succeed or fail.
final class HeldCommit: Sendable {
    private enum State {
        case open
        case waiting(CheckedContinuation<Void, any Error>)
        case over(Result<Void, any Error>)
    }

    let changes: [StoreChange]
    private let state = Mutex(State.open)

    /// Without the one that every batch begins with.
    init(_ changes: [StoreChange]) {
        guard case .broker? = changes.first else { preconditionFailure("a batch without the state of the broker") }
        self.changes = Array(changes.dropFirst())
    }

    func release() { end(with: .success(())) }
    func fail(_ error: any Error) { end(with: .failure(error)) }

    fileprivate func end() async throws {
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let result: Result<Void, any Error>? = state.withLock { state in
                    if case .over(let result) = state { return result }
                    state = .waiting(continuation)
                    return nil
                }
                if let result { continuation.resume(with: result) }
            }
        } onCancel: {
            fail(CancellationError())
        }
    }

    private func end(with result: Result<Void, any Error>) {
        let waiting: CheckedContinuation<Void, any Error>? = state.withLock { state in
            switch state {
            case .over: return nil
            case .open:
                state = .over(result)
                return nil
            case .waiting(let continuation):
                state = .over(result)
                return continuation
            }
        }
        waiting?.resume(with: result)
    }
}

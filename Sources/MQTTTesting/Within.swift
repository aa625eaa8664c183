import Synchronization

/// What a test waits for did not happen, or what it asks for cannot be.
public struct TestingError: Error, CustomStringConvertible {
    /// What, in one sentence; with the transcript where there is one.
    public let description: String

    package init(description: String) { self.description = description }
}

package typealias TimedOut = TestingError

/// What `body` gives, or an error when it takes longer by the machine's clock; `body` need not know of cancellation.
package func within<Value: Sendable>(
    _ what: String,
    _ limit: Duration = .seconds(30),
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await race("\(what) took longer than \(limit)", body) { try await Task.sleep(for: limit) }
}

/// What `body` gives, or an error where `end` returns first.
func race<Value: Sendable>(
    _ failure: @autoclosure () -> String,
    _ body: @escaping @Sendable () async throws -> Value,
    end: @escaping @Sendable () async throws -> Void
) async throws -> Value {
    let (values, continuation) = AsyncThrowingStream.makeStream(of: Value?.self)
    let work = Task {
        do {
            continuation.yield(try await body())
        } catch {
            continuation.finish(throwing: error)
        }
    }
    let timer = Task {
        try await end()
        continuation.yield(nil)
    }
    defer {
        work.cancel()
        timer.cancel()
    }
    for try await value in values {
        guard let value else { throw TestingError(description: failure()) }
        return value
    }
    throw CancellationError()
}

/// Something that one task waits for, and that has one end.
final class Sleep: Sendable {
    private enum State {
        case open
        case waiting(CheckedContinuation<Void, any Error>)
        case over((any Error)?)
    }

    private let state = Mutex(State.open)

    func wait() async throws {
        try await withCheckedThrowingContinuation { continuation in
            let result: Result<Void, any Error>? = state.withLock { state in
                if case .over(let error) = state { return error.map(Result.failure) ?? .success(()) }
                state = .waiting(continuation)
                return nil
            }
            if let result { continuation.resume(with: result) }
        }
    }

    func waitUnlessCancelled() async throws {
        try await withTaskCancellationHandler {
            try await wait()
        } onCancel: {
            end(CancellationError())
        }
    }

    /// The first end counts.
    func end(_ error: (any Error)?) {
        let waiting: CheckedContinuation<Void, any Error>? = state.withLock { state in
            switch state {
            case .over: return nil
            case .open:
                state = .over(error)
                return nil
            case .waiting(let continuation):
                state = .over(error)
                return continuation
            }
        }
        if let error { waiting?.resume(throwing: error) } else { waiting?.resume() }
    }
}

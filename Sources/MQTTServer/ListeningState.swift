import NIOCore
import Synchronization

/// The addresses that a broker listens on, for those who wait until it does.
final class ListeningState: Sendable {
    private enum State {
        case waiting([CheckedContinuation<[SocketAddress], any Error>])
        case over(Result<[SocketAddress], any Error>)
    }

    private let state = Mutex(State.waiting([]))

    var addresses: [SocketAddress] {
        get async throws {
            try await withCheckedThrowingContinuation { continuation in
                let result: Result<[SocketAddress], any Error>? = state.withLock { state in
                    switch state {
                    case .over(let result): return result
                    case .waiting(let others):
                        state = .waiting(others + [continuation])
                        return nil
                    }
                }
                if let result { continuation.resume(with: result) }
            }
        }
    }

    func succeed(_ addresses: [SocketAddress]) { end(.success(addresses)) }
    func fail(_ error: any Error) { end(.failure(error)) }

    /// The first end counts.
    private func end(_ result: Result<[SocketAddress], any Error>) {
        let waiting: [CheckedContinuation<[SocketAddress], any Error>] = state.withLock { state in
            guard case .waiting(let waiting) = state else { return [] }
            state = .over(result)
            return waiting
        }
        for continuation in waiting { continuation.resume(with: result) }
    }
}

import Synchronization

/// Those who wait until a ticket is committed, without a connection that waits for them.
final class CommitWaiters: Sendable {
    private typealias Waiter = (ticket: UInt64, continuation: CheckedContinuation<HostError?, Never>)

    private struct State: ~Copyable {
        var waiting: [Waiter] = []
        var committed: UInt64 = 0
        var end: HostError?
    }

    private let state = Mutex(State())

    /// Comes back when the ticket is committed. A task that is cancelled waits all the same, for as long as one commit
    /// takes.
    func wait(for ticket: UInt64) async throws(HostError) {
        let error: HostError? = await withCheckedContinuation { continuation in
            let isOver: (Bool, HostError?) = state.withLock { state in
                if ticket <= state.committed { return (true, nil) }
                if let end = state.end { return (true, end) }
                state.waiting.append((ticket, continuation))
                return (false, nil)
            }
            if isOver.0 { continuation.resume(returning: isOver.1) }
        }
        if let error { throw error }
    }

    func committed(through ticket: UInt64) {
        let done = state.withLock { state -> [Waiter] in
            state.committed = max(state.committed, ticket)
            guard !state.waiting.isEmpty else { return [] }
            let done = state.waiting.filter { $0.ticket <= ticket }
            state.waiting.removeAll { $0.ticket <= ticket }
            return done
        }
        for waiter in done { waiter.continuation.resume(returning: nil) }
    }

    /// Nothing is committed any more.
    func end(_ error: HostError) {
        let waiting = state.withLock { state in
            if state.end == nil { state.end = error }
            defer { state.waiting = [] }
            return state.waiting
        }
        for waiter in waiting { waiter.continuation.resume(returning: error) }
    }
}

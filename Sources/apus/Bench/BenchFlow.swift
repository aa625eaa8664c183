import Synchronization

/// How far one publisher is ahead of what has arrived of its messages.
final class BenchFlow: Sendable {
    private struct State {
        var sent = 0
        var receipts = 0
        /// Messages that are not waited for any more.
        var forgiven = 0
        var waiter: CheckedContinuation<Void, Never>?
        var isOver = false
    }

    private let state = Mutex(State())
    private let window: Int
    private let copies: Int

    /// `copies` is how often each message arrives; 0 means that nobody here gets it.
    init(window: Int, copies: Int) {
        self.window = window
        self.copies = copies
    }

    /// Waits until another message may be sent. Once some may, a quarter of the window may: waking costs.
    func acquire() async {
        guard copies > 0 else { return }
        await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                let mayGo = state.withLock { state in
                    if outstanding(state) < window || state.isOver || Task.isCancelled {
                        state.sent += 1
                        return true
                    }
                    state.waiter = continuation
                    return false
                }
                if mayGo { continuation.resume() }
            }
        } onCancel: {
            wake { $0.isOver = true }
        }
    }

    private func outstanding(_ state: State) -> Int { state.sent - state.forgiven - state.receipts / copies }

    /// One of its messages has arrived at one subscriber.
    func received() {
        wake { $0.receipts += 1 }
    }

    /// What is under way will not arrive.
    func forgive() {
        wake { $0.forgiven += max(0, outstanding($0)) }
    }

    private func wake(_ change: (inout State) -> Void) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            change(&state)
            guard state.waiter != nil, state.isOver || outstanding(state) <= window - max(1, window / 4) else {
                return nil
            }
            state.sent += 1
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }
}

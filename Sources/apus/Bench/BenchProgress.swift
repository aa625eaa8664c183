import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// One line on standard error that changes every second; nothing where that is no terminal.
final class BenchProgress: Sendable {
    private struct State {
        var shownAt = ContinuousClock.now
        var sent = 0
        var received = 0
    }

    private let isShown: Bool
    private let state = Mutex(State())

    init(quiet: Bool) { isShown = !quiet && isatty(STDERR_FILENO) == 1 }

    func show(_ began: ContinuousClock.Instant, sent: Int, received: Int, of word: String = "sent") {
        guard isShown else { return }
        let text = state.withLock { state -> String? in
            let now = ContinuousClock.now
            let seconds = (now - state.shownAt) / .seconds(1)
            guard seconds >= 1 else { return nil }
            let rates = (Double(sent - state.sent) / seconds, Double(received - state.received) / seconds)
            state = State(shownAt: now, sent: sent, received: received)
            return "\(fixed((now - began) / .seconds(1), 0)) s   \(word) \(sent) (\(fixed(rates.0, 0))/s)   "
                + "received \(received) (\(fixed(rates.1, 0))/s)"
        }
        if let text { StandardError.print("\r\(text)\u{1B}[K") }
    }

    func clear() {
        if isShown { StandardError.print("\r\u{1B}[K") }
    }
}

import MQTT
import Synchronization

/// Notices when a broker owes answers and gives none.
final class AnswerClock: Sendable {
    private let asked = Atomic(0)
    private let answered = Atomic(0)

    /// A message goes to the client.
    func ask() { asked.add(1, ordering: .relaxed) }

    /// One has reached its guarantee.
    func answer() { answered.add(1, ordering: .relaxed) }

    /// Throws once there was no answer for so long, the time without a connection left out; otherwise when its task is
    /// cancelled.
    func watch(_ client: MQTTClient, seconds: Double) async throws {
        var seen = 0
        var since = ContinuousClock.now
        while true {
            try await Task.sleep(for: .seconds(min(0.5, seconds / 4)))
            let now = answered.load(ordering: .relaxed)
            if now != seen || now == asked.load(ordering: .relaxed) || !client.isConnected {
                (seen, since) = (now, .now)
            } else if .now - since > .seconds(seconds) {
                throw MQTTError.requestTimedOut
            }
        }
    }
}

extension MQTTClient {
    fileprivate var isConnected: Bool {
        if case .connected = connectionState { true } else { false }
    }
}

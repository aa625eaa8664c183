import MQTTServer
import MQTTTesting

/// The events of a broker in words, from now to its end.
struct EventLog: Sendable {
    private let lines: Task<[String], Never>

    init(_ broker: MQTTBroker) {
        let events = broker.events
        lines = Task {
            var lines: [String] = []
            for await event in events { lines.append(event.line) }
            return lines
        }
    }

    /// Once `run()` is over.
    func all() async throws -> [String] {
        let lines = lines
        return try await within("the end of the events") { await lines.value }
    }
}

extension BrokerEvent {
    /// One line, for tests to compare.
    var line: String {
        switch self {
        case .clientConnecting(let client): "connecting \(client.id)"
        case .clientConnected(let client): "connected \(client.id)"
        case .clientReady(let client): "ready \(client.id)"
        case .clientDisconnected(let client, let reason): "disconnected \(client.id): \(reason)"
        case .clientError(let client, let reason): "error \(client.id): \(reason)"
        case .connectionError(let client, let reason): "connection error \"\(client.id)\": \(reason)"
        case .keepAliveTimeout(let client): "keep alive \(client.id)"
        case .pingReceived(let client): "ping \(client.id)"
        case .published(let message, let client): "published \(message.line) by \(client?.id ?? "-")"
        case .delivered(let message, let client): "delivered \(message.line) to \(client.id)"
        case .subscribed(let client, let subscriptions):
            "subscribed \(client.id) \(subscriptions.map { "\($0.filter)@\($0.options.qos.rawValue)" })"
        case .unsubscribed(let client, let filters): "unsubscribed \(client.id) \(filters)"
        case .dropped(let message, let receiver, let cause, let count):
            "dropped \(message?.line ?? "-") for \(receiver ?? "-"): \(cause.name) \(count)"
        case .sessionTakenOver(let client): "taken over \(client.id)"
        case .sessionExpired(let clientID): "expired \(clientID)"
        case .willSent(let message, let clientID): "will \(message.line) of \(clientID)"
        case .lost(let count): "lost \(count)"
        }
    }
}

extension Message {
    var line: String { "\(topic)=\(payloadString)@\(qos.rawValue)" }
}

extension BrokerEvents {
    /// Until an event that is looked for.
    func wait(_ what: String, for isWanted: @escaping @Sendable (BrokerEvent) -> Bool) async throws {
        try await within(what) {
            for await event in self where isWanted(event) { return }
            throw TimedOut(description: "\(what): the broker has ended")
        }
    }
}

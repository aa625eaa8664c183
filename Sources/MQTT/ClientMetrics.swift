import Metrics

/// What swift-metrics is told of all clients of this process, added up.
struct ClientMetrics: Sendable {
    static let shared = ClientMetrics()

    private let bytesReceived = Counter(label: "mqtt_client_bytes_received")
    private let bytesSent = Counter(label: "mqtt_client_bytes_sent")
    private let messagesReceived = Counter(label: "mqtt_client_messages_received")
    private let messagesDropped = Counter(label: "mqtt_client_messages_dropped")
    private let connections = Counter(label: "mqtt_client_connections")
    private let failures = Counter(label: "mqtt_client_connections_lost")

    func received(_ bytes: Int) { bytesReceived.increment(by: bytes) }
    func sent(_ bytes: Int) { bytesSent.increment(by: bytes) }
    func delivered(_ messages: Int) { messagesReceived.increment(by: messages) }
    /// Of QoS 0, for want of room; or of nobody.
    func dropped(_ messages: Int) { messagesDropped.increment(by: messages) }
    func connected() { connections.increment() }
    func lost() { failures.increment() }
}

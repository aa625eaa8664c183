import MQTT

/// A device that publishes a temperature now and then, whatever the network does: what it measures without a connection
/// is published later, and a will tells others when it is lost.
public struct Thermometer: Sendable {
    /// Of the device, and of its topics.
    public let name: String
    private let client: MQTTClient

    /// `configuration` says where the broker is, and is otherwise the device's own.
    public init(_ name: String, _ configuration: MQTTClient.Configuration) throws {
        var configuration = configuration
        configuration.clientID = name
        configuration.keepAlive = .seconds(30)
        // A broker that has lost the connection keeps the session for an hour.
        configuration.sessionExpiry = .after(.seconds(3_600))
        configuration.queue.messagesMax = 1_000
        configuration.queue.policy = .dropOldest
        configuration.will = Will(
            topic: "thermometers/\(name)/state",
            payload: ByteBuffer(string: "lost"),
            qos: .atLeastOnce,
            isRetained: true
        )
        self.name = name
        client = try MQTTClient(configuration)
    }

    /// Until its task is cancelled. What it measures is published at once, and again after each interval.
    public func run(
        every interval: Duration,
        by clock: any Clock<Duration> = .continuous,
        measure: @escaping @Sendable () -> Double
    ) async throws {
        let events = client.events
        try publish("\(measure())", to: "temperature")
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await client.run() }
            tasks.addTask {
                for await case .connected in events { try publish("here", to: "state", retain: true) }
            }
            tasks.addTask {
                while true {
                    try await clock.sleep(for: interval)
                    try publish("\(measure())", to: "temperature")
                }
            }
            try await tasks.next()
            tasks.cancelAll()
        }
    }

    private func publish(_ text: String, to topic: String, retain: Bool = false) throws {
        let payload = ByteBuffer(string: text)
        try client.enqueue(payload, to: "thermometers/\(name)/\(topic)", qos: .atLeastOnce, retain: retain)
    }
}

import Logging
import MQTTCore
import MQTTPackets
import MQTTServer
import MQTTTesting
import Metrics
import MetricsTestKit
import NIOCore
import Synchronization
import Testing

@Suite(.serialized) struct StatisticsTests {
    private static let metrics: TestMetrics = {
        let metrics = TestMetrics()
        MetricsSystem.bootstrap(metrics)
        return metrics
    }()

    @Test("statistics count what came, what went, and what is there")
    func figures() async throws {
        let broker = testBroker()
        try await withBroker(broker) { broker, connect in
            let publisher = try await connect("publisher")
            let receiver = try await connect("receiver")
            try await receiver.subscribe("a/+", .atLeastOnce)
            try await receiver.subscribe("$share/g/b", .atMostOnce)
            let before = broker.statistics
            try await publisher.publish("a/1", "12345", .atLeastOnce, id: 1)
            _ = try await publisher.next()
            guard case .publish(let publish) = try await receiver.next() else { throw TimedOut(description: "PUBLISH") }
            #expect(broker.statistics.copiesUnfinished == 1)
            #expect(broker.statistics.queuedBytes > 5)
            try await receiver.send(.puback(Acknowledgement(packetID: publish.packetID ?? 0)))
            try await receiver.ping()
            try await publisher.publish("r", "x", isRetained: true)
            try await publisher.ping()
            let after = broker.statistics
            #expect(after.publishReceived - before.publishReceived == 2)
            #expect(after.publishBytesReceived - before.publishBytesReceived == 6)
            #expect(after.publishSent - before.publishSent == 1)
            #expect(after.publishBytesSent - before.publishBytesSent == 5)
            #expect(after.copiesRouted - before.copiesRouted == 1)
            #expect(after.copiesCompleted - before.copiesCompleted == 1)
            // PUBLISH twice, PUBACK, PINGREQ twice; PUBACK, PUBLISH, PINGRESP twice.
            #expect(after.packetsReceived - before.packetsReceived == 5)
            #expect(after.packetsSent - before.packetsSent == 4)
            #expect(after.clientsConnected == 2 && after.sessions == 2 && after.connections == 2)
            #expect(after.subscriptions == 2 && after.sharedSubscriptions == 1)
            #expect(after.copiesUnfinished == 0 && after.queuedBytes == 0 && after.unsentBytes == 0)
            #expect(after.turns > before.turns && after.turnNanosecondsMaximum > 0)
        }
    }

    @Test("swift-metrics is told the same figures, drops by cause among them")
    func metrics() async throws {
        let metrics = Self.metrics
        let broker = testBroker { $0.metricsInterval = .milliseconds(20) }
        try await withBroker(broker) { broker, connect in
            let publisher = try await connect("publisher")
            let sleeper = try await connect("sleeper", expiry: 100)
            try await sleeper.subscribe("q")
            try await sleeper.close()
            try await within("the session is offline") {
                while broker.statistics.clientsConnected > 1 { try await Task.sleep(for: .milliseconds(5)) }
            }
            for _ in 0..<3 { try await publisher.publish("q", "x") }
            try await publisher.ping()
            try await within("the metrics have come") {
                while (try? metrics.expectCounter("apus_dropped", [("cause", "qos0-offline")]).totalValue) ?? 0 < 3 {
                    try await Task.sleep(for: .milliseconds(5))
                }
            }
            #expect(try metrics.expectCounter("apus_publish_received").totalValue >= 3)
            #expect(try metrics.expectGauge("apus_clients_connected").lastValue == 1)
            #expect(try metrics.expectTimer("apus_turn_longest").lastValue ?? 0 > 0)
        }
    }

    @Test("the busiest topics are told with their rates")
    func busiestTopics() async throws {
        try await withBroker { broker, connect in
            let publisher = try await connect("publisher")
            let publishing = Task {
                while !Task.isCancelled {
                    for _ in 0..<3 { try await publisher.publish("busy", "x") }
                    try await publisher.publish("quiet", "x")
                    try await publisher.ping()
                }
            }
            let topics = try await broker.busiestTopics(2, during: .milliseconds(300))
            publishing.cancel()
            #expect(topics.map(\.topic) == ["busy", "quiet"])
            #expect((topics.first?.messagesPerSecond ?? 0) > 2 * (topics.last?.messagesPerSecond ?? .infinity))
        }
    }

    @Test("the packets of one client are logged without their payloads, and those of nobody else")
    func packetTrace() async throws {
        let lines = Mutex<[String]>([])
        let recorder = Recorder { line in lines.withLock { $0.append(line) } }
        var configuration = BrokerConfiguration()
        configuration.addresses = [.init(host: "127.0.0.1", port: 0)]
        configuration.tracedClientID = "bob"
        configuration.logLevels = [.connections: .critical, .broker: .critical, .drops: .critical]
        let broker = MQTTBroker(configuration: configuration, logger: Logger(label: "test") { _ in recorder })
        try await withBroker(broker) { _, connect in
            let bob = try await connect("bob")
            let eve = try await connect("eve", version: .v3_1_1)
            try await bob.subscribe("t/#", .exactlyOnce)
            try await eve.publish("t/1", "secret", .atLeastOnce, id: 7)
            _ = try await eve.next()
            guard case .publish = try await bob.next() else { throw TimedOut(description: "PUBLISH") }
            try await bob.ping()
        }
        let logged = lines.withLock { $0 }
        #expect(
            // Its end may be seen by the client's side first, or by the broker's.
            logged.map { $0.prefix(while: { $0 != "|" }) }.filter { $0 != "> disconnect" }
                == [
                    "< connect", "> connack", "< subscribe", "> suback", "> publish", "< pingreq", "> pingresp",
                ]
        )
        #expect(logged.allSatisfy { !$0.contains("secret") && !$0.contains("eve") && $0.contains("client=bob") })
        #expect(logged.contains { $0.contains("topic=t/1") && $0.contains("payload-bytes=6") && $0.contains("qos=1") })
        #expect(logged.contains { $0.hasPrefix("< subscribe") && $0.contains("t/# qos 2") && $0.contains("id=1") })
    }
}

private struct Recorder: LogHandler {
    let record: @Sendable (String) -> Void
    var logLevel = Logger.Level.trace
    var metadata = Logger.Metadata()

    init(_ record: @escaping @Sendable (String) -> Void) { self.record = record }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let pairs = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        record("\(event.message)|" + pairs.joined(separator: " "))
    }
}

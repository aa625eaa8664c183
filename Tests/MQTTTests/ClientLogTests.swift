import Logging
import MQTT
import MQTTPackets
import MQTTTesting
import Synchronization
import Testing

/// Keeps what is logged.
private final class Log: Sendable {
    struct Line: Sendable, Equatable {
        let level: Logger.Level
        let message: String
        let metadata: [String: String]
    }

    private struct Handler: LogHandler {
        let log: Log
        var logLevel: Logger.Level
        var metadata = Logger.Metadata()

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let metadata = (event.metadata ?? [:]).mapValues { "\($0)" }
            log.kept.withLock { $0.append(Line(level: event.level, message: "\(event.message)", metadata: metadata)) }
        }
    }

    private let kept = Mutex<[Line]>([])

    var lines: [Line] { kept.withLock { $0 } }

    func logger(_ level: Logger.Level) -> Logger {
        Logger(label: "test") { _ in Handler(log: self, logLevel: level) }
    }

    /// The lines of a level.
    subscript(level: Logger.Level) -> [Line] { lines.filter { $0.level == level } }
}

@Suite(.timeLimit(.minutes(2))) struct ClientLogTests {
    private func bytes(_ packet: Packet) -> Int { PacketEncoder(version: .v5).encode(packet).readableBytes }

    @Test("at the level trace there is a line for each packet of both directions, with its size, and no secret in it")
    func packets() async throws {
        let log = Log()
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.userName = "mallory"
            $0.password = ByteBuffer(string: "secret")
            $0.will = Will(topic: "w", payload: ByteBuffer(string: "secret"))
        }
        let client = try MQTTClient(configuration, logger: log.logger(.trace))
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        let connect = try await connection.accept()
        try await client.connected()
        let publishing = Task { try await client.publish("secret", to: "t", qos: .atLeastOnce) }
        let publish = try await connection.publish()
        let puback = Packet.puback(Acknowledgement(packetID: publish.packetID ?? 0))
        connection.send(puback)
        #expect(try await publishing.value == .success)
        client.disconnect()
        let disconnect = try await connection.disconnect()
        connection.close()
        try await running.value
        let expected: [(String, Packet)] = [
            ("sent", .connect(connect)),
            ("received", .connack(Connack(sessionPresent: false, reasonCode: .success))),
            ("sent", .publish(publish)), ("received", puback), ("sent", .disconnect(disconnect)),
        ]
        #expect(
            log[.trace]
                == expected.map { what, packet in
                    let metadata = ["packet": "\(packet.kind)", "bytes": "\(bytes(packet))"]
                    return Log.Line(level: .trace, message: what, metadata: metadata)
                }
        )
        for line in log.lines {
            let text = "\(line)"
            #expect(!text.contains("secret") && !text.contains("mallory"))
        }
    }

    @Test("at the level info an end that nobody asked for has its cause, and there is no line of packets")
    func disconnected() async throws {
        let log = Log()
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.reconnect.attemptsMax = 1
            $0.password = ByteBuffer(string: "secret")
        }
        let client = try MQTTClient(configuration, logger: log.logger(.info))
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        try await connection.accept()
        var properties = Properties()
        properties[string: .reasonString] = "at night"
        connection.send(.disconnect(Disconnect(reasonCode: .serverShuttingDown, properties: properties)))
        try await server.connection().refuse(.serverBusy)
        _ = await running.result
        let causes = [
            MQTTError.disconnected(.serverShuttingDown, properties), MQTTError.refused(.serverBusy, Properties()),
        ]
        #expect(
            log.lines
                == causes.map { Log.Line(level: .info, message: "disconnected", metadata: ["cause": "\($0)"]) }
        )
        #expect(causes[0].description.contains("at night"))
    }

    @Test("a client that is told to end logs nothing above debug")
    func ended() async throws {
        let log = Log()
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: log.logger(.trace))
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        try await connection.accept()
        try await client.connected()
        client.disconnect()
        _ = try await connection.disconnect()
        connection.close()
        try await running.value
        #expect(log.lines.allSatisfy { $0.level < .info })
    }

    @Test("a subscription that is lost is a warning, with the filter and the server's code")
    func subscriptionLost() async throws {
        let log = Log()
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: log.logger(.info))
        let running = Task { try await client.run() }
        let subscribing = Task { try await client.subscribe(to: "t/#") }
        let first = try await server.connection()
        try await first.accept()
        try await first.grant()
        let subscription = try await subscribing.value
        first.close()
        let second = try await server.connection()
        try await second.accept()
        guard case .subscribe(let subscribe)? = try await second.next() else {
            throw TimedOut(description: "SUBSCRIBE")
        }
        second.send(.suback(Suback(packetID: subscribe.packetID, reasonCodes: [.notAuthorized])))
        #expect(await subscription.first(1).isEmpty)
        client.close()
        try await running.value
        #expect(
            log[.warning] == [
                Log.Line(
                    level: .warning,
                    message: "a subscription was lost",
                    metadata: ["filter": "t/#", "reason": "\(ReasonCode.notAuthorized)"]
                )
            ]
        )
    }

    @Test("a message that is given up is a warning that does not show it")
    func givenUp() async throws {
        let log = Log()
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) { $0.queue.attemptsMax = 1 }
        let client = try MQTTClient(configuration, logger: log.logger(.info))
        let running = Task { try await client.run() }
        let poison = Task { try await client.publish("secret", to: "hidden", qos: .atLeastOnce) }
        for _ in 0..<2 {
            let connection = try await server.connection()
            try await connection.accept()
            _ = try await connection.publish()
            connection.close()
        }
        await #expect(throws: MQTTError.attemptsExhausted) { try await poison.value }
        client.close()
        try await running.value
        #expect(log[.warning].map(\.metadata) == [["attempts": "1"]])
        #expect(log.lines.allSatisfy { !"\($0)".contains("secret") && !"\($0)".contains("hidden") })
    }

    @Test("what an earlier run has left is told of, and a store that fails is an error with its cause")
    func store() async throws {
        let log = Log()
        let store = HeldStore()
        let nobody = ServerAddress(host: "127.0.0.1", port: 1)
        let configuration = MQTTClient.Configuration.test(nobody, "keeper") {
            $0.store = store
            $0.cleanStart = false
            $0.sessionExpiry = .never
            // No line of attempts that fail.
            $0.prepareConnection = { _ in try await Task.sleep(for: .seconds(3_600)) }
        }
        try await withClient(configuration) { client in
            for _ in 0..<2 { try await client.enqueue(ByteBuffer(), to: "t", qos: .atLeastOnce) }
        }
        let client = try MQTTClient(configuration, logger: log.logger(.info))
        let running = Task { try await client.run() }
        try await client.enqueue(ByteBuffer(), to: "t", qos: .atLeastOnce)
        #expect(log[.info].map(\.metadata) == [["messages": "2"]])
        store.fail()
        await #expect(throws: MQTTError.self) { try await client.enqueue(ByteBuffer(), to: "t", qos: .atLeastOnce) }
        await #expect(throws: MQTTError.storeFailed("Refused()")) { try await running.value }
        #expect(log[.error].map(\.metadata) == [["cause": "Refused()"]])
    }
}

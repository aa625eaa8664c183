import MQTT
import MQTTPackets
import MQTTTesting
import Metrics
import Synchronization
import Testing

/// What swift-metrics was told of counters.
private final class Counts: MetricsFactory {
    private final class Handler: CounterHandler {
        private let label: String
        private let counts: Counts

        init(_ label: String, _ counts: Counts) {
            self.label = label
            self.counts = counts
        }

        func increment(by amount: Int64) { counts.values.withLock { $0[label, default: 0] += amount } }
        func reset() { counts.values.withLock { $0[label] = 0 } }
    }

    private let values = Mutex<[String: Int64]>([:])

    subscript(name: String) -> Int64? { values.withLock { $0["mqtt_client_" + name] } }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler { Handler(label, self) }

    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        NOOPMetricsHandler.instance
    }

    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler { NOOPMetricsHandler.instance }
    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}
}

extension FakeServer.Connection {
    /// The client has handled all that it was sent: its next packet, which is added up.
    fileprivate func take(_ bytes: inout Int) async throws -> Packet {
        guard let packet = try await next() else { throw TimedOut(description: "a packet") }
        bytes += PacketEncoder(version: version).encode(packet).readableBytes
        return packet
    }

    fileprivate func send(_ packet: Packet, _ bytes: inout Int) {
        let encoded = PacketEncoder(version: version).encode(packet)
        bytes += encoded.readableBytes
        send(encoded)
    }
}

/// In a process of its own: a process has one metrics system, and all its clients count together.
@Suite(.timeLimit(.minutes(2))) struct ClientMetricsTests {
    @Test("swift-metrics is told of connections, bytes, and messages that came or were dropped")
    func counts() async throws {
        await #expect(processExitsWith: .success) {
            let counts = Counts()
            MetricsSystem.bootstrap(counts)
            let server = try await FakeServer()
            let client = try MQTTClient(.test(server.address), logger: quiet)
            let running = Task { try await client.run() }
            let subscribing = Task { try await client.subscribe(to: "t", qos: .atLeastOnce) }
            var (toServer, toClient) = (0, 0)
            let accepted = Packet.connack(Connack(sessionPresent: false, reasonCode: .success))

            let first = try await server.connection()
            _ = try await first.take(&toServer)
            first.send(accepted, &toClient)
            guard case .subscribe(let subscribe) = try await first.take(&toServer) else {
                throw TimedOut(description: "SUBSCRIBE")
            }
            first.send(.suback(Suback(packetID: subscribe.packetID, reasonCodes: [.grantedQoS1])), &toClient)
            let subscription = try await subscribing.value
            for id in 1...3 as ClosedRange<UInt16> {
                let publish = Publish(topic: "t", payload: ByteBuffer(), qos: .atLeastOnce, packetID: id)
                first.send(.publish(publish), &toClient)
            }
            // Nobody has subscribed to it.
            first.send(.publish(Publish(topic: "u", payload: ByteBuffer())), &toClient)
            #expect(await subscription.first(3).count == 3)
            for _ in 1...3 { #expect(try await first.take(&toServer).kind == .puback) }
            #expect(counts["connections"] == 1 && counts["connections_lost"] == nil)
            first.close()

            let second = try await server.connection()
            _ = try await second.take(&toServer)
            second.send(accepted, &toClient)
            guard case .subscribe(let again) = try await second.take(&toServer) else {
                throw TimedOut(description: "SUBSCRIBE")
            }
            second.send(.suback(Suback(packetID: again.packetID, reasonCodes: [.grantedQoS1])), &toClient)
            try await client.publish("m", to: "t")
            _ = try await second.take(&toServer)
            #expect(counts["connections"] == 2 && counts["connections_lost"] == 1)
            client.disconnect()
            _ = try await second.take(&toServer)
            second.close()
            try await running.value
            #expect(counts["messages_received"] == 3)
            #expect(counts["messages_dropped"] == 1)
            #expect(counts["bytes_sent"] == Int64(toServer))
            #expect(counts["bytes_received"] == Int64(toClient))
        }
    }
}

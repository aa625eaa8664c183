import MQTT
import MQTTPackets
import MQTTTesting
import Testing

/// What a server does wrong.
@Suite(.timeLimit(.minutes(2))) struct FaultTests {
    struct Malformed: Sendable, CustomTestStringConvertible {
        let name: String
        let version: ProtocolVersion
        let bytes: [UInt8]
        /// Comes in place of CONNACK.
        var isFirst = false

        var testDescription: String { name }
    }

    static let malformed: [Malformed] = [
        Malformed(name: "SUBACK without codes", version: .v5, bytes: [0x90, 3, 0, 1, 0]),
        Malformed(name: "CONNACK with reserved flags", version: .v3_1_1, bytes: [0x20, 2, 2, 0], isFirst: true),
        Malformed(name: "CONNACK of one byte", version: .v3_1_1, bytes: [0x20, 1, 0], isFirst: true),
        Malformed(name: "PINGRESP before CONNACK", version: .v3_1_1, bytes: [0xD0, 0], isFirst: true),
        Malformed(name: "AUTH without a method", version: .v5, bytes: [0xF0, 2, 0x18, 0], isFirst: true),
        Malformed(
            name: "topic longer than the packet",
            version: .v3_1_1,
            bytes: [0x30, 6, 0xFF, 0xFF, 0x61, 0x62, 0x63, 0x64]
        ),
        Malformed(name: "topic that is not UTF-8", version: .v3_1_1, bytes: [0x30, 5, 0, 2, 0x61, 0xFF, 0x78]),
        Malformed(
            name: "alias above the maximum",
            version: .v5,
            bytes: [0x30, 8, 0, 1, 0x61, 3, 0x23, 0, 17, 0x78]
        ),
        Malformed(
            name: "remaining length of five bytes",
            version: .v3_1_1,
            bytes: [0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]
        ),
        Malformed(name: "DISCONNECT before MQTT 5.0", version: .v3_1_1, bytes: [0xE0, 0]),
        Malformed(name: "SUBSCRIBE", version: .v5, bytes: [0x82, 7, 0, 1, 0, 0, 1, 0x61, 0]),
        Malformed(name: "packet type 0", version: .v5, bytes: [0, 0]),
        Malformed(name: "SUBACK that nobody asked for", version: .v5, bytes: [0x90, 4, 0, 1, 0, 0]),
        Malformed(name: "a second CONNACK", version: .v5, bytes: [0x20, 3, 0, 0, 0]),
        Malformed(name: "PUBLISH of QoS 3", version: .v5, bytes: [0x36, 6, 0, 1, 0x61, 0, 1, 0]),
        Malformed(name: "packet identifier 0", version: .v5, bytes: [0x32, 6, 0, 1, 0x61, 0, 0, 0]),
    ]

    @Test(
        "[MQTT-4.8.0-1] [MQTT-4.13.1-1] a server that breaks the protocol is left, and told why in 5.0",
        arguments: malformed
    )
    func isLeft(_ malformed: Malformed) async throws {
        let server = try await FakeServer(malformed.version)
        let configuration = MQTTClient.Configuration.test(server.address, "c", malformed.version) {
            $0.reconnect = .never
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        if malformed.isFirst {
            #expect(try await connection.next()?.kind == .connect)
        } else {
            try await connection.accept()
        }
        connection.send(ByteBuffer(bytes: malformed.bytes))
        if malformed.version == .v5 && !malformed.isFirst {
            guard case .disconnect(let disconnect)? = try await connection.next() else {
                throw TimedOut(description: "DISCONNECT")
            }
            #expect(disconnect.reasonCode.isError)
        }
        #expect(try await connection.next() == nil)
        connection.close()
        let error = await #expect(throws: MQTTError.self) { try await running.value }
        guard case .protocolViolation? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("a header that promises 256 MB takes no memory for it, and the client goes on waiting")
    func hugeLength() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            let connection = try await server.connection()
            try await connection.accept()
            connection.send(
                ByteBuffer(bytes: [0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, 0x61] + Array(repeating: 0x61, count: 40))
            )
            try await client.publish("m", to: "t")
            #expect(try await connection.publish().payload == ByteBuffer(string: "m"))
        }
    }

    @Test("[MQTT-3.1.2-24] a packet above the maximum that was asked for ends the connection")
    func tooLarge() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.packetBytesMax = 100
            $0.reconnect = .never
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        #expect(try await connection.accept().properties[integer: .maximumPacketSize] == 100)
        connection.send(.publish(Publish(topic: "t", payload: ByteBuffer(repeating: 0, count: 200))))
        guard case .disconnect(let disconnect)? = try await connection.next() else {
            throw TimedOut(description: "DISCONNECT")
        }
        #expect(disconnect.reasonCode == .packetTooLarge)
        connection.close()
        let error = await #expect(throws: MQTTError.self) { try await running.value }
        #expect(error?.reasonCode == .packetTooLarge)
    }

    @Test("packets may come in pieces of any size")
    func pieces() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            let subscribing = Task { try await client.subscribe(to: "t") }
            let connection = try await server.connection()
            try await connection.accept()
            guard case .subscribe(let subscribe)? = try await connection.next() else {
                throw TimedOut(description: "SUBSCRIBE")
            }
            connection.send(.suback(Suback(packetID: subscribe.packetID, reasonCodes: [.success])))
            let subscription = try await subscribing.value
            var bytes = ByteBuffer()
            let encoder = PacketEncoder(version: .v5)
            for count in [1, 10, 200] {
                let payload = ByteBuffer(repeating: 7, count: count)
                encoder.encode(.publish(Publish(topic: "t", payload: payload)), into: &bytes)
            }
            for byte in bytes.readableBytesView { connection.send(ByteBuffer(bytes: [byte])) }
            #expect(await subscription.first(3).map(\.payload.readableBytes) == [1, 10, 200])
        }
    }

    @Test("a server that does not answer CONNECT is given up in time, and so is one that falls silent")
    func silent() async throws {
        let server = try await FakeServer()
        let slow = MQTTClient.Configuration.test(server.address) {
            $0.connectTimeout = .milliseconds(100)
            $0.reconnect = .never
        }
        await #expect(throws: MQTTError.connectTimedOut) { try await MQTTClient(slow, logger: quiet).run() }
        let other = MQTTClient.Configuration.test(server.address) {
            $0.keepAlive = .seconds(1)
            $0.reconnect = .never
        }
        _ = try await server.connection()
        let client = try MQTTClient(other, logger: quiet)
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        try await connection.accept()
        #expect(try await connection.next() == .pingreq)
        await #expect(throws: MQTTError.keepAliveTimedOut) { try await running.value }
    }
}

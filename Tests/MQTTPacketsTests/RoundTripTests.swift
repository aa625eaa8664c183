import MQTTPackets
import NIOCore
import Testing

/// Random packets. A failure names its seed; `APUS_SEED=…` runs it again.
@Suite struct RoundTripTests {
    @Test(
        "a valid packet of any kind decodes from its encoding to an equal packet",
        arguments: ProtocolVersion.allCases
    )
    func roundTrip(_ version: ProtocolVersion) {
        withSeed { generator, seed in
            var packets = RandomPackets(generator: generator)
            for _ in 0..<20_000 {
                let packet = packets.packet(version)
                let bytes = encodeOne(packet, version)
                let decoded = try? decodeOne(bytes, version)
                // Bytes beside values, since strings are equal under canonical equivalence.
                guard decoded == packet, decoded.map({ encodeOne($0, version) }) == bytes else {
                    Issue.record("\(packet): \(hex(bytes)), seed \(seed)")
                    return
                }
            }
        }
    }

    @Test("a stream of packets decodes alike in whatever pieces it comes", arguments: ProtocolVersion.allCases)
    func pieces(_ version: ProtocolVersion) throws {
        try withSeed { generator, seed in
            var packets = RandomPackets(generator: generator)
            for _ in 0..<50 {
                let sent = (0..<100).map { _ in packets.packet(version) }.filter { $0.kind != .connect }
                var stream = sent.flatMap { encodeOne($0, version) }[...]
                var decoder = PacketDecoder(version: version)
                var buffer = ByteBuffer()
                var received: [Packet] = []
                while !stream.isEmpty {
                    let count = min(stream.count, 1 + packets.integer(packets.integer(3) == 0 ? 20_000 : 20))
                    buffer.writeBytes(stream.prefix(count))
                    stream = stream.dropFirst(count)
                    while let packet = try decoder.next(&buffer) { received.append(packet) }
                }
                #expect(received == sent, "seed \(seed)")
            }
        }
    }

    @Test("a valid packet with bytes changed is refused or is another packet", arguments: ProtocolVersion.allCases)
    func changed(_ version: ProtocolVersion) {
        withSeed { generator, seed in
            var packets = RandomPackets(generator: generator)
            for _ in 0..<20_000 {
                var bytes = encodeOne(packets.packet(version), version)
                for _ in 0...packets.integer(2) {
                    bytes[packets.integer(bytes.count - 1)] = UInt8(packets.integer(255))
                }
                if let failure = roundTripFailure(bytes, version) {
                    Issue.record("\(failure), seed \(seed)")
                    return
                }
            }
        }
    }

    @Test("what a packet cannot say in its version is left out")
    func leftOut() throws {
        let duplicate = Publish(topic: "a", payload: ByteBuffer(), isDuplicate: true)
        #expect(encodeOne(.publish(duplicate), .v3_1_1) == [0x30, 3, 0, 1, 0x61])  // [MQTT-3.3.1-2]
        let named = Publish(topic: "a", payload: ByteBuffer(), properties: Properties([.user("k", "v")]))
        #expect(encodeOne(.publish(named), .v3_1_1) == [0x30, 3, 0, 1, 0x61])
        let present = Connack(sessionPresent: true, reasonCode: .success)
        #expect(encodeOne(.connack(present), .v3_1) == [0x20, 2, 0, 0])
        let options = SubscriptionOptions(qos: .atLeastOnce, noLocal: true, retainHandling: .never)
        let subscribe = Subscribe(packetID: 1, filters: [Subscribe.Filter("a", options)])
        #expect(encodeOne(.subscribe(subscribe), .v3_1_1) == [0x82, 6, 0, 1, 0, 1, 0x61, 1])
        let moved = Disconnect(reasonCode: .serverMoved, properties: Properties([.text(.serverReference, "b")]))
        #expect(encodeOne(.disconnect(moved), .v3_1_1) == [0xE0, 0])
    }

    @Test("CONNECT is encoded in its own version, whatever the encoder's")
    func connectVersion() throws {
        for version in ProtocolVersion.allCases {
            let connect = Packet.connect(Connect(version: version, clientID: "a"))
            for other in ProtocolVersion.allCases { #expect(encodeOne(connect, other) == encodeOne(connect, version)) }
        }
    }

    @Test("the session expiry of CONNECT is Clean Session before 5.0 and a property after")
    func sessionExpiry() {
        var connect = Connect(version: .v3_1_1, clientID: "a", cleanStart: false)
        #expect(connect.sessionExpiryInterval == .max)
        connect.cleanStart = true
        #expect(connect.sessionExpiryInterval == 0)
        connect.version = .v5
        #expect(connect.sessionExpiryInterval == 0)
        connect.properties[integer: .sessionExpiryInterval] = 30
        #expect(connect.sessionExpiryInterval == 30)
    }
}

import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct HookFuzzTests {
    private static let allowing: BrokerHooks = {
        var hooks = BrokerHooks()
        hooks.preConnect = { _ in .proceed }
        hooks.authenticate = { _, _ in .accepted }
        hooks.authorizePublish = { _, _ in .allow }
        hooks.authorizeSubscribe = { _, _ in .allow }
        return hooks
    }()

    /// What one client may send, from CONNECT to a last PINGREQ; some of it is wrong.
    private func input(_ random: inout some RandomNumberGenerator, _ version: ProtocolVersion) -> ByteBuffer {
        let encoder = PacketEncoder(version: version)
        var bytes = encoder.encode(.connect(Connect(version: version, clientID: "c")))
        let topics = ["a", "a/b", "$SYS/x", "c/d/e"]
        for id in 1...UInt16.random(in: 3...25, using: &random) {
            let topic = topics.randomElement(using: &random) ?? "a"
            switch Int.random(in: 0..<8, using: &random) {
            case 0:
                let options = SubscriptionOptions(qos: QoS(rawValue: UInt8(id % 3)) ?? .atMostOnce)
                let filters = [topic, "#", "a/+/"].map { Subscribe.Filter($0, options) }
                encoder.encode(.subscribe(Subscribe(packetID: id, filters: filters)), into: &bytes)
            case 1: encoder.encode(.unsubscribe(Unsubscribe(packetID: id, filters: [topic, "#"])), into: &bytes)
            case 2: encoder.encode(.pingreq, into: &bytes)
            case 3 where id % 7 == 0: bytes.writeBytes([0x60, 0x02, 0x00, 0x01])
            default:
                var publish = Publish(topic: topic, payload: ByteBuffer(repeating: 1, count: Int(id) * 40))
                publish.qos = QoS(rawValue: UInt8.random(in: 0...2, using: &random)) ?? .atMostOnce
                publish.packetID = publish.qos == .atMostOnce ? nil : id
                publish.isRetained = Bool.random(using: &random)
                if version == .v5 { publish.properties[integer: .topicAlias] = UInt32(1 + id % 12) }
                encoder.encode(.publish(publish), into: &bytes)
            }
        }
        encoder.encode(.pingreq, into: &bytes)
        return bytes
    }

    /// All that comes back, up to the end of the connection or to silence behind the last PINGRESP.
    private func output(
        _ broker: MQTTBroker,
        _ input: ByteBuffer,
        _ version: ProtocolVersion,
        pieces: [Int]
    ) async throws -> [Packet] {
        var packets: [Packet] = []
        try await withBroker(broker) { _, connect in
            let client = try await connect.transport()
            client.version = version
            let awaited = Self.pings(input, version)
            var rest = input
            for count in pieces where rest.readableBytes > 0 {
                guard let piece = rest.readSlice(length: min(count, rest.readableBytes)) else { break }
                do { try await client.send(piece) } catch { break }
            }
            if rest.readableBytes > 0 { do { try await client.send(rest) } catch {} }
            var pings = 0
            while pings < awaited, let packet = try await client.nextOrEnd() {
                packets.append(packet)
                if packet == .pingresp { pings += 1 }
            }
        }
        return packets
    }

    private static func pings(_ input: ByteBuffer, _ version: ProtocolVersion) -> Int {
        var (rest, pings) = (input, 0)
        var decoder = PacketDecoder(version: nil)
        while let packet = try? decoder.next(&rest) { if packet == .pingreq { pings += 1 } }
        return pings
    }

    @Test("hooks that allow everything change nothing, however the bytes come", arguments: 0..<12)
    func fragmentation(_ seed: Int) async throws {
        var random = Seeded(seed: UInt64(seed))
        let version: ProtocolVersion = seed % 2 == 0 ? .v5 : .v3_1_1
        let input = input(&random, version)
        let plain = try await output(testBroker(threads: 1), input, version, pieces: [])
        #expect(plain.first?.kind == .connack)
        for most in [1, 7, 300] {
            let count = most == 1 ? 400 : 60
            let pieces = (0..<count).map { _ in Int.random(in: 1...most, using: &random) }
            let gated = try await output(testBroker(threads: 1, hooks: Self.allowing), input, version, pieces: pieces)
            #expect(gated == plain, "seed \(seed), pieces of up to \(most)")
        }
    }
}

/// The same numbers for the same seed.
private struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

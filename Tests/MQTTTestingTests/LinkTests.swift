import MQTT
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite("Links", .timeLimit(.minutes(1))) struct LinkTests {
    @Test("a transcript has all packets, and reads as a list", arguments: TestWorld.allCases)
    func transcript(_ world: TestWorld) async throws {
        try await withBroker(world) { _, connect in
            let will = Will(topic: "gone", payload: ByteBuffer(string: "x"))
            let client = try await connect("client", will: will, expiry: 10)
            try await client.subscribe("a/#", .exactlyOnce)
            try await client.publish("a/b", "text", .atLeastOnce, id: 7, isRetained: true)
            _ = try await [client.next(), client.next()]
            try await client.send(.puback(Acknowledgement(packetID: 1)))
            try await client.publish("other", "\u{1}")
            try await client.ping()
            try await client.leave()
            #expect(client.link.transcript.lines.count == 14)
            #expect(
                client.link.transcript.lines.filter { !$0.hasPrefix("← PUB") }
                    == [
                        "connected", "→ CONNECT client resuming will gone", "← CONNACK success",
                        "→ SUBSCRIBE 1 a/# QoS 2", "← SUBACK 1 QoS 2",
                        #"→ PUBLISH a/b "text" QoS 1 id 7 retain"#, "→ PUBACK 1", "→ PUBLISH other 1 bytes",
                        "→ PINGREQ", "← PINGRESP", "→ DISCONNECT success", "closed",
                    ]
            )
            #expect(
                Set(client.link.transcript.lines.filter { $0.hasPrefix("← PUB") })
                    == ["← PUBACK 7", #"← PUBLISH a/b "text" QoS 1 id 1"#]
            )
        }
    }

    @Test(
        "a link that is cut within a packet loses the packet, and the broker sends the will",
        arguments: TestWorld.allCases
    )
    func cutWithinPacket(_ world: TestWorld) async throws {
        try await withBroker(world) { _, connect in
            let watcher = try await connect("watcher")
            try await watcher.subscribe("#")
            let client = try await connect("client", will: Will(topic: "will", payload: ByteBuffer(string: "gone")))
            let bytes = PacketEncoder(version: .v5).encode(
                .publish(Publish(topic: "t", payload: ByteBuffer(string: "payload")))
            )
            try await client.link.cut(after: 2 * bytes.readableBytes - 1)
            for _ in 0..<2 { try await client.send(bytes) }
            #expect(try await watcher.nextPayload() == "payload")
            #expect(try await watcher.nextPayload() == "gone")
            #expect(try await client.nextOrEnd() == nil)
            try await client.link.nextEnd()
            #expect(client.link.transcript.only(.publish).lines.count == 1)
        }
    }

    @Test("a client is cut off from what the broker sends, byte by byte", arguments: TestWorld.allCases)
    func cutToClient(_ world: TestWorld) async throws {
        try await withBroker(world) { _, connect in
            let link = try await connect.link()
            // CONNACK has at least 5 bytes in MQTT 5.0.
            for bytes in 1...4 {
                try await link.cut(after: bytes, .toClient)
                let client = try await connect.transport(over: link)
                try await client.sendConnect("c\(bytes)")
                #expect(try await client.nextOrEnd() == nil)
            }
            #expect(link.transcript.only(.connack) == [])
            #expect(link.transcript.lines.filter { $0 == "closed" }.count == 4)
            try await connect("whole", over: link).ping()
        }
    }

    @Test("the library's client comes back once it is refused no more", arguments: TestWorld.allCases)
    func refusal(_ world: TestWorld) async throws {
        try await withBroker(world) { _, connect in
            let link = try await connect.link()
            try await link.refuse(3)
            let client = try await connect.client("client", over: link) { $0.reconnect.delay = .milliseconds(20) }
            try await connect.clock.letTimePass { _ = try await client.connected() }
            #expect(
                link.transcript.lines.prefix(6)
                    == [
                        "refused", "refused", "refused", "connected", "→ CONNECT client", "← CONNACK success",
                    ]
            )
            try await link.nextConnection()
            try await link.refuse()
            try await link.cut()
            try await link.nextEnd()
            try await link.accept()
            try await connect.clock.letTimePass { try await link.nextConnection() }
        }
    }

    @Test("a half-open connection ends by its keep alive", arguments: TestWorld.allCases)
    func halfOpen(_ world: TestWorld) async throws {
        try await withBroker(world) { broker, connect in
            let watcher = try await connect("watcher")
            try await watcher.subscribe("will")
            let will = Will(topic: "will", payload: ByteBuffer(string: "gone"))
            let link = try await connect.link()
            let client = try await connect.transport(over: link)
            // Before the broker's time begins, however late this task is resumed.
            let began = connect.clock.now
            try await client.send(.connect(Connect(version: .v5, clientID: "c", keepAlive: 1, will: will)))
            #expect(try await client.next().kind == .connack)
            try await link.drop()
            try await client.send(.pingreq)
            try await client.close()
            let gone = try await connect.clock.letTimePass { try await watcher.nextPayload() }
            #expect(gone == "gone")
            // One and a half times the keep alive, and half a second in which it is asked for again.
            #expect(began.duration(to: connect.clock.now) > .milliseconds(1_400))
            #expect(link.transcript.lines.suffix(2).contains("→ lost 2 bytes"))
        }
    }

    @Test("a stalled reader's messages pile up, and come in order once it reads", arguments: TestWorld.allCases)
    func stall(_ world: TestWorld) async throws {
        try await withBroker(world) { broker, connect in
            let reader = try await connect("reader")
            try await reader.subscribe("t", .atLeastOnce)
            try await reader.link.stall()
            let publisher = try await connect("publisher")
            let payload = String(repeating: "x", count: 60_000)
            var sent = 0
            while broker.statistics.unsentBytes == 0 {
                sent += 1
                try await publisher.publish("t", "\(sent) \(payload)")
                try await publisher.ping()
                try #require(sent < 1_000)
            }
            #expect(reader.received == 2)
            try await reader.link.resume()
            for number in 1...sent { #expect(try await reader.nextPayload().hasPrefix("\(number) ")) }
        }
    }

    @Test("what is delayed comes later, and in order", arguments: TestWorld.allCases)
    func delay(_ world: TestWorld) async throws {
        try await withBroker(world) { _, connect in
            let reader = try await connect("reader")
            try await reader.subscribe("t")
            try await reader.link.delay(.milliseconds(200), .toClient)
            let publisher = try await connect("publisher")
            let began = connect.clock.now
            for number in 1...3 { try await publisher.publish("t", "\(number)") }
            try await publisher.ping()
            if world == .inMemory {
                try await connect.clock.advance(by: .milliseconds(150))
                #expect(reader.received == 2)
            }
            for number in 1...3 {
                #expect(try await connect.clock.letTimePass { try await reader.nextPayload() } == "\(number)")
            }
            #expect(began.duration(to: connect.clock.now) >= .milliseconds(200))
        }
    }

    @Test("bytes that are no packet show as such", arguments: TestWorld.allCases)
    func unreadable(_ world: TestWorld) async throws {
        try await withBroker(world) { _, connect in
            let client = try await connect("client")
            try await client.send(ByteBuffer(bytes: [0x00, 0x00]))
            #expect(try await client.disconnectReason() == .malformedPacket)
            #expect(client.link.transcript.lines.contains { $0.hasPrefix("→ unreadable 2 bytes") })
        }
    }

    @Test("a packet that does not come is an error with the transcript", arguments: TestWorld.allCases)
    func missing(_ world: TestWorld) async throws {
        try await withBroker(world) { _, connect in
            let client = try await connect("client")
            try await client.link.next(.connack)
            let error = await #expect(throws: TestingError.self) {
                try await client.link.next(.connack, within: .milliseconds(20))
            }
            #expect(error?.description.contains("CONNACK took longer than") == true)
            #expect(error?.description.contains("→ CONNECT client\n← CONNACK success") == true)
            await #expect(throws: TestingError.self) { try await connect.link().cut() }
        }
    }

    @Test("the port of a link is told to clients of others", arguments: TestWorld.allCases)
    func address(_ world: TestWorld) async throws {
        try await withBroker(world) { _, connect in
            let link = try await connect.link()
            #expect(link.address.host == "127.0.0.1" && link.address.port > 1_024)
            #expect(link.configuration(clientID: "c").servers == [link.address])
        }
    }
}

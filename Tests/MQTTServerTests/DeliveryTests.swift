import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct DeliveryTests {
    @Test(
        "[MQTT-4.6.0-5] connections of several event loops get one another's messages, in the order of each publisher"
    )
    func loops() async throws {
        try await withBroker(threads: 4) { _, connect in
            var clients: [TestClient] = []
            for _ in 0..<8 {
                let client = try await connect()
                try await client.subscribe("#")
                clients.append(client)
            }
            try await withThrowingTaskGroup { publishing in
                for (at, client) in clients.enumerated() {
                    publishing.addTask {
                        for number in 0..<100 { try await client.publish("t/\(at)", "\(at) \(number)") }
                    }
                }
                try await publishing.waitForAll()
            }
            for client in clients {
                var last = [Int](repeating: -1, count: clients.count)
                for _ in 0..<(clients.count * 100) {
                    let numbers = try await client.nextPayload().split(separator: " ").compactMap { Int($0) }
                    #expect(numbers[1] == last[numbers[0]] + 1)
                    last[numbers[0]] = numbers[1]
                }
            }
        }
    }

    @Test("packets that arrive byte by byte are packets like others", arguments: ProtocolVersion.allCases)
    func byteByByte(_ version: ProtocolVersion) async throws {
        try await withBroker { _, connect in
            let client = try await connect.transport()
            client.version = version
            let encoder = PacketEncoder(version: version)
            var bytes = encoder.encode(.connect(Connect(version: version, clientID: "slow")))
            encoder.encode(.subscribe(Subscribe(packetID: 1, filters: [Subscribe.Filter("t")])), into: &bytes)
            let payload = ByteBuffer(string: String(repeating: "p", count: 200))
            encoder.encode(.publish(Publish(topic: "t", payload: payload)), into: &bytes)
            encoder.encode(.pingreq, into: &bytes)
            for byte in bytes.readableBytesView { try await client.send(ByteBuffer(integer: byte)) }
            #expect(try await client.next().kind == .connack)
            #expect(try await client.next().kind == .suback)
            #expect(try await client.nextPayload() == String(buffer: payload))
            #expect(try await client.next() == .pingresp)
        }
    }

    @Test(
        "[MQTT-4.6.0-2] of a thousand packets in one write none is lost, whatever a turn takes",
        arguments: [nil, 1, 7]
    )
    func burst(deliveriesPerTurn: Int?) async throws {
        let broker = testBroker { $0.limits.deliveriesPerTurn = deliveriesPerTurn ?? $0.limits.deliveriesPerTurn }
        try await withBroker(broker) { _, connect in
            let subscriber = try await connect(version: .v3_1_1)
            try await subscriber.subscribe("t")
            let publisher = try await connect(version: .v3_1_1)
            var bytes = ByteBuffer()
            for number in 1...1_000 {
                let publish = Publish(
                    topic: "t",
                    payload: ByteBuffer(string: "\(number)"),
                    qos: .atLeastOnce,
                    packetID: UInt16(number)
                )
                PacketEncoder(version: .v3_1_1).encode(.publish(publish), into: &bytes)
            }
            try await publisher.send(bytes)
            for number in 1...1_000 {
                #expect(try await publisher.next() == .puback(Acknowledgement(packetID: UInt16(number))))
                #expect(try await subscriber.nextPayload() == "\(number)")
            }
        }
    }

    @Test("a message of 1 MiB arrives whole, at every QoS", arguments: QoS.allCases)
    func large(_ qos: QoS) async throws {
        try await withBroker { _, connect in
            let subscriber = try await connect()
            try await subscriber.subscribe("t", .exactlyOnce)
            let publisher = try await connect()
            let payload = String(repeating: "0123456789abcdef", count: 65_536)
            try await publisher.publish("t", payload, qos, id: qos == .atMostOnce ? nil : 1)
            // Not in the expectation: a failure would print it.
            let isSame = try await subscriber.nextPayload() == payload
            #expect(isSame)
        }
    }

    @Test("[MQTT-3.1.2-8] a client that closes in the middle of a packet is gone: its will is sent, the packet is not")
    func closedWithinPacket() async throws {
        try await withBroker { _, connect in
            let subscriber = try await connect()
            try await subscriber.subscribe("#")
            let will = Will(topic: "will", payload: ByteBuffer(string: "gone"))
            for length in [1, 2, 8, 20] {
                let client = try await connect("c", will: will)
                let publish = Publish(topic: "t", payload: ByteBuffer(string: "a payload of some bytes"))
                var bytes = PacketEncoder(version: .v5).encode(.publish(publish))
                let part = bytes.readSlice(length: length)
                try await client.send(try #require(part))
                try await client.close()
                #expect(try await subscriber.nextPayload() == "gone")
            }
        }
    }

    @Test("clients that do not read hold up nobody else, on whichever loop")
    func slowReaders() async throws {
        try await withBroker { _, connect in
            let publisher = try await connect()
            var slow: [TestClient] = []
            var fast: [TestClient] = []
            for _ in 0..<4 {
                slow.append(try await connect())
                fast.append(try await connect())
            }
            for client in slow {
                try await client.subscribe("flood")
                try await client.stopReading()
            }
            for client in fast { try await client.subscribe("fast") }
            let payload = String(repeating: "x", count: 65_536)
            for round in 0..<10 {
                for _ in 0..<30 { try await publisher.publish("flood", payload) }
                try await publisher.publish("fast", "\(round)")
                for client in fast { #expect(try await client.nextPayload() == "\(round)") }
            }
        }
    }

    @Test("[MQTT-3.1.4-3] a client that connects again takes over its session from another loop")
    func takeover() async throws {
        try await withBroker(threads: 4) { _, connect in
            var last = try await connect("same", expiry: 60)
            try await last.subscribe("t", .atLeastOnce)
            for round in 0..<12 {
                let next = try await connect("same", expiry: 60)
                #expect(try await last.disconnectReason() == .sessionTakenOver)
                try await next.publish("t", "\(round)", .atLeastOnce, id: 1)
                var kinds = [try await next.next(), try await next.next()].map(\.kind)
                kinds.sort { $0.rawValue < $1.rawValue }
                #expect(kinds == [.publish, .puback])
                // The message is over before the next one connects, or it would be sent again.
                try await next.send(.puback(Acknowledgement(packetID: UInt16(round + 1))))
                try await next.ping()
                last = next
            }
        }
    }
}

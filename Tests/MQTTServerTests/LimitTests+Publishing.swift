import MQTTCore
import MQTTPackets
import MQTTServer
import NIOCore
import Testing

extension LimitTests {
    static let publishing = [
        LimitCase("packet-bytes", 200, packetBytes),
        LimitCase("control-bytes", 64, controlBytes),
        LimitCase("receive-buffers", 300 << 10, receiveBuffers),
        LimitCase("receive-maximum", 2, receiveMaximum),
        LimitCase("topic-aliases", 2, topicAliases),
        LimitCase("topic-alias-bytes", 20, topicAliasBytes),
        LimitCase("message-expiry", 1, messageExpiry),
        LimitCase("deliveries", 10, deliveries),
    ]

    private static func packetBytes(_ trial: LimitTrial) async throws {
        for version in ProtocolVersion.allCases {
            let (client, connack) = try await trial.accepted(Connect(version: version, clientID: "c"))
            if version == .v5 { #expect(connack.properties[integer: .maximumPacketSize] == 200) }
            let bare = Publish(topic: "t", payload: ByteBuffer(), qos: .atLeastOnce, packetID: 1)
            // One byte more for the length.
            let around = PacketEncoder(version: version).encode(.publish(bare)).readableBytes + 1
            var largest = bare
            largest.payload = ByteBuffer(repeating: 0x70, count: 200 - around)
            #expect(PacketEncoder(version: version).encode(.publish(largest)).readableBytes == 200)
            try await client.send(.publish(largest))
            #expect(try await client.next().kind == .puback)
            // It is refused for what its header says: none of the rest has to come.
            var tooLarge = largest
            tooLarge.payload.writeInteger(UInt8(0x70))
            var bytes = PacketEncoder(version: version).encode(.publish(tooLarge))
            try await client.send(bytes.take(3))
            if version == .v5 {
                #expect(try await client.disconnectReason() == .packetTooLarge)
            } else {
                #expect(try await client.nextOrEnd() == nil)
            }
            try await trial.bystander.isServed()
        }
    }

    private static func controlBytes(_ trial: LimitTrial) async throws {
        func pubrel(_ reasonBytes: Int) -> ByteBuffer {
            var pubrel = Acknowledgement(packetID: 1)
            pubrel.properties[string: .reasonString] = "r".padded(to: reasonBytes)
            return PacketEncoder(version: .v5).encode(.pubrel(pubrel))
        }
        let client = try await trial.connect()
        let most = 65 - pubrel(1).readableBytes
        #expect(pubrel(most).readableBytes == 64)
        try await client.send(pubrel(most))
        let answer = Acknowledgement(packetID: 1, reasonCode: .packetIdentifierNotFound)
        #expect(try await client.next() == .pubcomp(answer))
        // SUBSCRIBE, UNSUBSCRIBE and PUBLISH have limits of their own.
        let filter = "f".padded(to: 1_000)
        #expect(try await client.reasons(subscribing: [filter]) == [.success])
        try await client.unsubscribe(filter)
        #expect(try await client.reason(publishing: filter) == .noMatchingSubscribers)
        // It is refused for what its header says: none of the rest has to come.
        var tooLarge = pubrel(most + 1)
        try await client.send(tooLarge.take(2))
        #expect(try await client.disconnectReason() == .packetTooLarge)
        try await trial.bystander.isServed()
        for version in [ProtocolVersion.v3_1, .v3_1_1] {
            let older = try await trial.connect(version: version)
            try await older.send(ByteBuffer(bytes: [0x40, 63]))
            #expect(try await older.nextOrEnd() == nil)
            try await trial.bystander.isServed()
        }
    }

    private static func receiveBuffers(_ trial: LimitTrial) async throws {
        let packet = Publish(topic: "t", payload: ByteBuffer(repeating: 0x70, count: 1 << 20))
        func bytes(_ version: ProtocolVersion, _ count: Int) throws -> ByteBuffer {
            var bytes = PacketEncoder(version: version).encode(.publish(packet))
            return try bytes.take(count)
        }
        for version in [ProtocolVersion.v3_1_1, .v5] {
            let first = try await trial.connect(version: version)
            let small = try await trial.connect(version: version)
            let second = try await trial.connect(version: version)
            let short = ByteBuffer(repeating: 0x70, count: 100 << 10)
            let publish = Publish(topic: "t", payload: short, qos: .atLeastOnce, packetID: 1)
            var shortBytes = PacketEncoder(version: version).encode(.publish(publish))
            try await first.send(shortBytes.take(90 << 10))
            #expect(try await trial.bystander.sees(silent: first))
            // It is ended before all has been sent.
            try? await second.send(bytes(version, 350 << 10))
            if version == .v5 {
                #expect(try await second.disconnectReason() == .quotaExceeded)
            } else {
                #expect(try await second.nextOrEnd() == nil)
            }
            // The start of a packet is kept whatever others hold, and what the second held is free again.
            try await small.send(bytes(version, 20 << 10))
            try await first.send(shortBytes)
            #expect(try await first.next().kind == .puback)
            #expect(try await trial.bystander.sees(silent: small))
            try await trial.bystander.isServed()
            for client in [first, small] { try await client.close() }
        }
    }

    private static func receiveMaximum(_ trial: LimitTrial) async throws {
        let (client, connack) = try await trial.accepted(Connect(version: .v5, clientID: "c"))
        #expect(connack.properties[integer: .receiveMaximum] == 2)
        for id in 1...UInt16(2) {
            #expect(try await client.reason(publishing: "t", "m", .exactlyOnce, id: id) == .noMatchingSubscribers)
        }
        // One that is repeated is no other, and one that is released makes room.
        #expect(try await client.reason(publishing: "t", "m", .exactlyOnce, id: 2) == .success)
        try await client.send(.pubrel(Acknowledgement(packetID: 1)))
        #expect(try await client.next() == .pubcomp(Acknowledgement(packetID: 1)))
        #expect(try await client.reason(publishing: "t", "m", .exactlyOnce, id: 3) == .noMatchingSubscribers)
        try await client.publish("t", "m", .exactlyOnce, id: 4)
        #expect(try await client.disconnectReason() == .receiveMaximumExceeded)
        try await trial.bystander.isServed()
        let older = try await trial.connect(version: .v3_1_1)
        for id in 1...UInt16(10) {
            #expect(try await older.reason(publishing: "t", "m", .exactlyOnce, id: id) == .success)
        }
    }

    private static func topicAliases(_ trial: LimitTrial) async throws {
        var connect = Connect(version: .v5, clientID: "subscriber")
        connect.properties[integer: .topicAliasMaximum] = 10
        let (subscriber, _) = try await trial.accepted(connect)
        try await subscriber.subscribe("t/#")
        let (client, connack) = try await trial.accepted(Connect(version: .v5, clientID: "c"))
        #expect(connack.properties[integer: .topicAliasMaximum] == 2)
        func publish(_ topic: String, alias: UInt32) async throws {
            var publish = Publish(topic: topic, payload: ByteBuffer(string: "\(alias)"))
            publish.properties[integer: .topicAlias] = alias
            try await client.send(.publish(publish))
        }
        for alias in 1...UInt32(2) { try await publish("t/\(alias)", alias: alias) }
        for alias in 1...UInt32(2) { try await publish("", alias: alias) }
        for topic in ["t/3", "t/4"] { try await client.publish(topic, "none") }
        var aliases: [UInt32?] = []
        for _ in 0..<6 { aliases.append(try await subscriber.nextPublish().properties[integer: .topicAlias]) }
        #expect(aliases == [1, 2, 1, 2, nil, nil])
        try await publish("t/3", alias: 3)
        #expect(try await client.disconnectReason() == .topicAliasInvalid)
        try await trial.bystander.isServed()
    }

    private static func topicAliasBytes(_ trial: LimitTrial) async throws {
        let (client, _) = try await trial.accepted(Connect(version: .v5, clientID: "c"))
        try await client.subscribe("#")
        func publish(_ topic: String, alias: UInt32) async throws {
            var publish = Publish(topic: topic, payload: ByteBuffer())
            publish.properties[integer: .topicAlias] = alias
            try await client.send(.publish(publish))
        }
        let topics: [(UInt32, String)] = [(1, "0123456789"), (2, "abcdefghij"), (1, "9876543210"), (2, "b"), (3, "c")]
        for (alias, topic) in topics {
            try await publish(topic, alias: alias)
            #expect(try await client.nextPublish().topic == topic)
            try await publish("", alias: alias)
            #expect(try await client.nextPublish().topic == topic)
        }
        // Topics without an alias do not count, nor do those of another client.
        try await client.publish("t".padded(to: 100), "m")
        #expect(try await client.nextPayload() == "m")
        try await publish("12345678", alias: 4)
        #expect(try await client.nextPublish().topic == "12345678")
        try await publish("d", alias: 5)
        #expect(try await client.disconnectReason() == .quotaExceeded)
        try await trial.bystander.isServed()
    }

    private static func messageExpiry(_ trial: LimitTrial) async throws {
        try await trial.sleeper("sleeper", "t", .atLeastOnce)
        let awake = try await trial.connect()
        try await awake.subscribe("t")
        let publisher = try await trial.connect()
        #expect(try await publisher.reason(publishing: "t", "none", isRetained: true) == .success)
        for interval in [UInt32(600), .max] {
            var publish = Publish(topic: "t", payload: ByteBuffer(string: "long"), qos: .atLeastOnce, packetID: 1)
            publish.properties[integer: .messageExpiryInterval] = interval
            try await publisher.send(.publish(publish))
            #expect(try await publisher.next().kind == .puback)
        }
        for _ in 0..<3 {
            #expect(try await awake.nextPublish().properties[integer: .messageExpiryInterval] == 1)
        }
        try await trial.bystander.isServed()
        try await trial.clock.advance(by: .milliseconds(1_050))
        let sleeper = try await trial.connect("sleeper", expiry: 600)
        try await sleeper.ping()
        #expect(trial.broker.statistics.dropped[.expired] == 3)
        // The retained one has gone too.
        try await sleeper.subscribe("#")
        try await sleeper.ping()
        try await trial.bystander.isServed()
    }

    private static func deliveries(_ trial: LimitTrial) async throws {
        let subscriber = try await trial.connect()
        try await subscriber.subscribe("t")
        let publisher = try await trial.connect()
        var burst = ByteBuffer()
        for number in 0..<1_000 {
            let publish = Publish(topic: "t", payload: ByteBuffer(string: "\(number)"))
            PacketEncoder(version: .v5).encode(.publish(publish), into: &burst)
        }
        let turns = trial.broker.statistics.turns
        try await publisher.send(burst)
        try await trial.bystander.isServed()
        for number in 0..<1_000 { #expect(try await subscriber.nextPayload() == "\(number)") }
        // A packet and its delivery are two steps, of which a turn takes ten.
        #expect(trial.broker.statistics.turns - turns >= 200)
    }
}

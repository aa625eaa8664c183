import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct HookPublishTests {
    static let deliveries = hookVersions.flatMap { version in [QoS.atLeastOnce, .exactlyOnce].map { (version, $0) } }

    @Test("authorizePublish sees the message and lets it pass", arguments: hookVersions)
    func allowed(_ version: ProtocolVersion) async throws {
        let calls = Calls<PublishRequest>()
        var hooks = BrokerHooks()
        hooks.authorizePublish = { _, request in
            calls.record(request)
            return .allow
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let client = try await connect("c", version: version)
            try await client.subscribe("t")
            var properties = Properties()
            if version == .v5 { properties[string: .contentType] = "text/plain" }
            let payload = ByteBuffer(string: "m")
            let publish = Publish(topic: "t", payload: payload, isRetained: true, properties: properties)
            try await client.send(.publish(publish))
            #expect(try await client.nextPublish().payload == payload)
            let request = try await calls.next()
            #expect(request.topic == "t")
            #expect(request.payload == payload)
            #expect(request.qos == .atMostOnce)
            #expect(request.isRetained)
            #expect(!request.isWill)
            #expect(request.properties == properties)
        }
    }

    @Test(
        "a publish that is denied goes to nobody: a reason code in 5.0, an acknowledgement before",
        arguments: deliveries
    )
    func denied(_ version: ProtocolVersion, _ qos: QoS) async throws {
        var hooks = BrokerHooks()
        hooks.authorizePublish = { _, request in
            switch request.topic {
            case "free": .allow
            case "odd": .deny(.serverBusy)  // PUBACK cannot carry it.
            case "throws": throw HookFault()
            default: .deny(.quotaExceeded)
            }
        }
        let log = HookLog()
        try await withBroker(testBroker(hooks: hooks, logger: log.logger)) { broker, connect in
            let client = try await connect("c", version: version)
            try await client.subscribe("#")
            for (topic, reason) in [
                ("t", ReasonCode.quotaExceeded), ("odd", .notAuthorized), ("throws", .implementationSpecificError),
            ] {
                let answer = try await client.reason(publishing: topic, "m", qos, id: 7, isRetained: true)
                #expect(answer == reason.inPuback(version))
                if qos == .exactlyOnce && version != .v5 {
                    // Repeated, it has the same outcome.
                    let again = Publish(
                        topic: topic,
                        payload: ByteBuffer(string: "m"),
                        qos: qos,
                        isDuplicate: true,
                        packetID: 7
                    )
                    try await client.send(.publish(again))
                    #expect(try await client.next() == .pubrec(Acknowledgement(packetID: 7)))
                    try await client.send(.pubrel(Acknowledgement(packetID: 7)))
                    #expect(try await client.next().kind == .pubcomp)
                }
            }
            let isRepeated = qos == .exactlyOnce && version != .v5
            #expect(log.hooks.count == (isRepeated ? 2 : 1))
            #expect(broker.statistics.publishRefused == 3)
            try await client.publish("t", "at most once")
            try await client.publish("free", "f")
            #expect(try await client.nextPayload() == "f")
            // What was refused freed its identifier [MQTT-4.3.3-9].
            #expect(
                try await client.reason(publishing: "t", "m", qos, id: 7) == ReasonCode.quotaExceeded.inPuback(version)
            )
            let late = try await connect("late", version: version)
            try await late.subscribe("#")
            try await late.ping()
            #expect(late.received == 3)
        }
    }

    @Test("a publish is replaced: topic, payload, properties", arguments: deliveries)
    func replaced(_ version: ProtocolVersion, _ qos: QoS) async throws {
        var hooks = BrokerHooks()
        hooks.authorizePublish = { client, request in
            var properties = request.properties
            properties.appendUserProperty("by", client.id)
            return .replace(
                topic: "tenant/" + request.topic,
                payload: ByteBuffer(string: String(buffer: request.payload).uppercased()),
                properties: properties
            )
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let watcher = try await connect("w")
            try await watcher.subscribe("#", qos)
            let client = try await connect("c", version: version)
            let reason = try await client.reason(publishing: "t", "abc", qos, id: 9, isRetained: true)
            #expect(reason == .success)
            let publish = try await watcher.nextPublish()
            #expect(publish.topic == "tenant/t")
            #expect(String(buffer: publish.payload) == "ABC")
            #expect(publish.qos == qos)
            #expect(publish.properties.userProperties.map(\.value) == ["c"])
            let late = try await connect("late")
            try await late.subscribe("tenant/t")
            #expect(try await late.nextPublish().isRetained)
        }
    }

    @Test("a replacement that cannot be published is a refusal and a line in the log", arguments: hookVersions)
    func unfit(_ version: ProtocolVersion) async throws {
        var alias = Properties()
        alias[integer: .topicAlias] = 1
        var foreign = Properties()
        foreign[integer: .receiveMaximum] = 1
        let unfit: [PublishDecision] = [
            .replace(topic: "a/#"), .replace(topic: ""), .replace(topic: String(repeating: "x", count: 70_000)),
            .replace(payload: ByteBuffer(repeating: 0, count: 2 << 20)), .replace(properties: alias),
            .replace(properties: foreign),
        ]
        var hooks = BrokerHooks()
        hooks.authorizePublish = { [unfit] _, request in unfit[Int(request.topic) ?? 0] }
        let log = HookLog()
        let broker = testBroker(hooks: hooks, logger: log.logger) { $0.limits.packetBytesMax = 1 << 20 }
        try await withBroker(broker) { _, connect in
            let client = try await connect("c", version: version)
            try await client.subscribe("#")
            for number in unfit.indices {
                let reason = try await client.reason(publishing: "\(number)")
                #expect(reason == ReasonCode.implementationSpecificError.inPuback(version), "\(number)")
            }
            try await client.ping()
            #expect(log.hooks.count == unfit.count)
        }
    }

    @Test("the broker's rules check what a hook made of a topic")
    func rulesCheckTheResult() async throws {
        var hooks = BrokerHooks()
        hooks.authorizePublish = { _, _ in .replace(topic: "$SYS/mine") }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let client = try await connect("c")
            #expect(try await client.reason(publishing: "t") == .notAuthorized)
        }
    }

    @Test("topic aliases are resolved before the hook, and mean what the client defined")
    func aliases() async throws {
        let topics = Calls<String>()
        var hooks = BrokerHooks()
        hooks.authorizePublish = { _, request in
            topics.record(request.topic)
            return request.topic == "denied" ? .deny() : .replace(topic: "to/" + request.topic)
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let watcher = try await connect("w")
            try await watcher.subscribe("#")
            let client = try await connect("c")
            func publish(_ topic: String, alias: UInt32, _ payload: String) async throws {
                var publish = Publish(topic: topic, payload: ByteBuffer(string: payload))
                publish.properties[integer: .topicAlias] = alias
                try await client.send(.publish(publish))
            }
            try await publish("denied", alias: 1, "0")
            try await publish("a", alias: 2, "1")
            try await publish("", alias: 2, "2")
            try await publish("", alias: 1, "3")
            try await publish("b", alias: 1, "4")
            try await publish("", alias: 1, "5")
            for (topic, payload) in [("to/a", "1"), ("to/a", "2"), ("to/b", "4"), ("to/b", "5")] {
                let publish = try await watcher.nextPublish()
                #expect(publish.topic == topic)
                #expect(String(buffer: publish.payload) == payload)
            }
            #expect(topics.all == ["denied", "a", "a", "denied", "b", "b"])
            try await publish("", alias: 9, "unknown")
            #expect(try await client.disconnectReason() == .protocolError)
            #expect(topics.all.count == 6)
        }
    }

    @Test("the will is asked for at CONNECT: allowed, refused, replaced", arguments: hookVersions)
    func will(_ version: ProtocolVersion) async throws {
        var hooks = BrokerHooks()
        hooks.authorizePublish = { _, request in
            switch request.topic {
            case "mine": request.isWill ? .allow : .deny()
            case "moved": .replace(topic: "to/there", payload: ByteBuffer(string: "changed"))
            case "bad": .replace(topic: "to/#")
            default: .deny()
            }
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let watcher = try await connect("w")
            try await watcher.subscribe("#")
            let payload = ByteBuffer(string: "w")
            for (topic, seen, text) in [("mine", "mine", "w"), ("moved", "to/there", "changed")] {
                let client = try await connect("c", version: version, will: Will(topic: topic, payload: payload))
                try await client.close()
                let publish = try await watcher.nextPublish()
                #expect(publish.topic == seen)
                #expect(String(buffer: publish.payload) == text)
            }
            for (topic, reason) in [("other", ReasonCode.notAuthorized), ("bad", .implementationSpecificError)] {
                let refused = Connect(version: version, clientID: "c", will: Will(topic: topic, payload: payload))
                #expect(try await connect.refusal(refused) == reason.inConnack(version))
            }
        }
    }

    @Test("a packet that comes byte by byte is decided upon once, like any other")
    func byteByByte() async throws {
        let topics = Calls<String>()
        var hooks = BrokerHooks()
        hooks.authorizePublish = { _, request in
            topics.record(request.topic)
            return request.topic == "no" ? .deny() : .replace(topic: request.topic + "!")
        }
        hooks.authorizeSubscribe = { _, _ in .allow }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let client = try await connect.transport()
            var bytes = ByteBuffer()
            for packet: Packet in [
                .connect(Connect(version: .v5, clientID: "c")),
                .subscribe(Subscribe(packetID: 1, filters: [Subscribe.Filter("#")])),
                .publish(Publish(topic: "no", payload: ByteBuffer(string: "1"), qos: .atLeastOnce, packetID: 2)),
                .publish(Publish(topic: "yes", payload: ByteBuffer(string: "2"), qos: .atLeastOnce, packetID: 3)),
            ] {
                PacketEncoder(version: .v5).encode(packet, into: &bytes)
            }
            while let byte = bytes.readSlice(length: 1) { try await client.send(byte) }
            #expect(try await client.next().kind == .connack)
            #expect(try await client.next().kind == .suback)
            #expect(try await client.next() == .puback(Acknowledgement(packetID: 2, reasonCode: .notAuthorized)))
            #expect(try await client.nextPublish().topic == "yes!")
            #expect(try await client.next() == .puback(Acknowledgement(packetID: 3)))
            #expect(topics.all == ["no", "yes"])
        }
    }
}

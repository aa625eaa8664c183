import MQTT
import Testing

@Suite(.timeLimit(.minutes(2))) struct ClientTests {
    @Test("each QoS comes back to the client that published it", arguments: ProtocolVersion.allCases)
    func roundTrip(_ version: ProtocolVersion) async throws {
        try await withBroker { server in
            try await MQTTClient.withConnection(.test(server, "c", version), logger: quiet) { client in
                for qos in QoS.allCases {
                    let subscription = try await client.subscribe(to: "a/+/c", qos: qos)
                    #expect(subscription.grants.map(\.qos) == [qos])
                    let code = try await client.publish("\(qos)", to: "a/b/c", qos: qos)
                    #expect(!code.isError)
                    let message = await subscription.first(1).first
                    #expect(message?.topic == "a/b/c")
                    #expect(message?.payloadString == "\(qos)")
                    #expect(message?.qos == qos)
                    try await subscription.unsubscribe()
                    #expect(await subscription.first(1).isEmpty)
                }
            }
        }
    }

    @Test("messages keep their order, and none is missing", arguments: QoS.allCases)
    func order(_ qos: QoS) async throws {
        try await withBroker { server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let subscription = try await client.subscribe(to: "t", qos: qos)
                for number in 0..<3_000 { try client.enqueue(ByteBuffer(string: "\(number)"), to: "t", qos: qos) }
                let payloads = await subscription.first(3_000).map(\.payloadString)
                #expect(payloads == (0..<3_000).map(String.init))
                try await client.flush()
            }
        }
    }

    @Test("a message goes to every sequence whose filter matches, once", arguments: ProtocolVersion.allCases)
    func overlapping(_ version: ProtocolVersion) async throws {
        try await withBroker { server in
            try await MQTTClient.withConnection(.test(server, "c", version), logger: quiet) { client in
                let all = try await client.subscribe(to: "#", qos: .exactlyOnce)
                let some = try await client.subscribe(
                    to: [TopicSubscription("a/#", qos: .atLeastOnce), TopicSubscription("+/b", qos: .atLeastOnce)]
                )
                let same = try await client.subscribe(to: "a/#", qos: .atLeastOnce)
                let other = try await client.subscribe(to: "x")
                for topic in ["a/b", "c", "x"] { try await client.publish(topic, to: topic, qos: .atLeastOnce) }
                #expect(Set(await all.first(3).map(\.topic)) == ["a/b", "c", "x"])
                #expect(await some.first(1).map(\.topic) == ["a/b"])
                #expect(await same.first(1).map(\.topic) == ["a/b"])
                #expect(await other.first(1).map(\.topic) == ["x"])
                // Ending one of two that share a filter leaves the other.
                try await same.unsubscribe()
                try await client.publish("again", to: "a/b", qos: .atLeastOnce)
                #expect(await some.first(1).map(\.payloadString) == ["again"])
            }
        }
    }

    @Test("a refused filter throws, and nothing of the subscription is left")
    func refused() async throws {
        let broker = testBroker { $0.limits.subscriptionsMax = 1 }
        try await withBroker(broker) { server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let filters = [TopicSubscription("a", qos: .atLeastOnce), TopicSubscription("b", qos: .atLeastOnce)]
                let error = await #expect(throws: MQTTError.self) { _ = try await client.subscribe(to: filters) }
                guard case .subscriptionRefused(let grants)? = error else {
                    Issue.record("\(String(describing: error))")
                    return
                }
                #expect(grants.map(\.filter) == ["a", "b"])
                #expect(grants.map { $0.qos == nil } == [false, true])
                // The place is free again.
                _ = try await client.subscribe(to: "c")
            }
        }
    }

    @Test("properties go with the message, and subscription identifiers do not show")
    func properties() async throws {
        try await withBroker { server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let subscription = try await client.subscribe(to: "t", qos: .atLeastOnce)
                var properties = Properties()
                properties[string: .contentType] = "text/plain"
                properties[integer: .messageExpiryInterval] = 1_000
                properties.appendUserProperty("a", "1")
                try await client.publish("m", to: "t", qos: .atLeastOnce, properties: properties)
                let message = await subscription.first(1).first
                #expect(message?.properties[string: .contentType] == "text/plain")
                #expect(message?.properties[integer: .messageExpiryInterval] ?? 0 > 0)
                #expect(message?.properties.userProperties.map(\.name) == ["a"])
                #expect(message?.properties[integer: .subscriptionIdentifier] == nil)
            }
        }
    }

    @Test("a large payload comes whole, and so does an empty one")
    func sizes() async throws {
        try await withBroker { server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let subscription = try await client.subscribe(to: "t", qos: .exactlyOnce)
                for count in [0, 1, 127, 128, 16_383, 16_384, 300_000, 1_000_000] {
                    let payload = ByteBuffer(repeating: UInt8(truncatingIfNeeded: count), count: count)
                    for qos in QoS.allCases { try await client.publish(payload, to: "t", qos: qos) }
                    let got = await subscription.first(3).map(\.payload)
                    #expect(got.count == 3 && got.allSatisfy { $0 == payload }, "\(count) bytes")
                }
            }
        }
    }

    @Test("what is no message or filter throws before anything is sent")
    func invalid() async throws {
        let client = try MQTTClient("mqtt://127.0.0.1:1")
        let long = String(repeating: "x", count: 65_536)
        for topic in ["", "a/+", "a/#", "\u{0}", long] {
            await #expect(throws: MQTTError.self, "\(topic.prefix(9))") { try await client.publish("m", to: topic) }
        }
        for filter in ["", "a/#/b", "a+", "$share/g", long] {
            await #expect(throws: MQTTError.self, "\(filter.prefix(9))") { _ = try await client.subscribe(to: filter) }
        }
        var configuration = MQTTClient.Configuration()
        configuration.userName = long
        let other = try MQTTClient(configuration, logger: quiet)
        await #expect(throws: MQTTError.invalidArgument("the user name has more than 65535 bytes")) {
            try await other.run()
        }
    }

    @Test("a server that is not there throws, and one that refuses tells why")
    func unreachable() async throws {
        let error = await #expect(throws: MQTTError.self) {
            let nobody = ServerAddress(host: "127.0.0.1", port: 1)
            try await MQTTClient.withConnection(.test(nobody), logger: quiet) { _ in Issue.record("connected") }
        }
        guard case .connectFailed? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("cancelling the task of run() ends the client with DISCONNECT, and it runs once")
    func cancelled() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        try await connection.accept()
        try await client.connected()
        running.cancel()
        #expect(try await connection.next()?.kind == .disconnect)
        #expect(try await connection.next() == nil)
        connection.close()
        try await running.value
        #expect(client.connectionState == .closed)
        await #expect(throws: MQTTError.alreadyRunning) { try await client.run() }
        await #expect(throws: MQTTError.closed) { try await client.publish("m", to: "t", qos: .atLeastOnce) }
        await #expect(throws: MQTTError.closed) { _ = try await client.subscribe(to: "t") }
    }

    @Test("a client that closes, or asks for it, leaves its will", arguments: [false, true])
    func will(_ isAbrupt: Bool) async throws {
        try await withBroker { server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { witness in
                let wills = try await witness.subscribe(to: "will", qos: .atLeastOnce)
                let will = Will(topic: "will", payload: ByteBuffer(string: "gone"), qos: .atLeastOnce)
                for leavesIt in [false, true] {
                    let client = try MQTTClient(.test(server, "w") { $0.will = will }, logger: quiet)
                    let running = Task { try await client.run() }
                    try await client.connected()
                    if !leavesIt {
                        client.disconnect()
                    } else if isAbrupt {
                        client.close()
                    } else {
                        client.disconnect(publishingWill: true)
                    }
                    try await running.value
                }
                try await witness.publish("last", to: "will", qos: .atLeastOnce)
                #expect(await wills.first(2).map(\.payloadString) == ["gone", "last"])
            }
        }
    }
}

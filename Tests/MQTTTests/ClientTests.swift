import MQTT
import MQTTPackets
import MQTTTesting
import Testing

@Suite(.timeLimit(.minutes(2))) struct ClientTests {
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

    @Test(
        "[MQTT-3.3.5-1] before 5.0, a server may send a copy for each filter that matches, or one: each sequence gets what comes",
        arguments: [1, 2]
    )
    func copies(_ count: Int) async throws {
        let server = try await FakeServer(.v3_1_1)
        try await withClient(.test(server.address, "c", .v3_1_1)) { client in
            let connection = try await server.connection()
            try await connection.accept()
            var subscriptions: [MQTTSubscription] = []
            for filter in ["a/#", "a/+", "b"] {
                async let subscribing = client.subscribe(to: filter, qos: .atLeastOnce)
                guard case .subscribe(let asked)? = try await connection.next() else {
                    throw TimedOut(description: "SUBSCRIBE")
                }
                connection.send(.suback(Suback(packetID: asked.packetID, reasonCodes: [.grantedQoS1])))
                subscriptions.append(try await subscribing)
            }
            func send(_ topic: String, _ payload: String, _ id: UInt16) {
                let payload = ByteBuffer(string: payload)
                connection.send(.publish(Publish(topic: topic, payload: payload, qos: .atLeastOnce, packetID: id)))
            }
            for copy in 1...count { send("a/x", "m", UInt16(copy)) }
            send("a/x", "end", 7)
            send("b", "other", 8)
            let expected = Array(repeating: "m", count: count) + ["end"]
            // A message is acknowledged once, when the last of its sequences has taken it.
            for subscription in subscriptions.prefix(2) {
                #expect(await subscription.first(expected.count).map(\.payloadString) == expected)
            }
            #expect(await subscriptions[2].first(1).map(\.payloadString) == ["other"])
            for id in (1...count).map(UInt16.init) + [7, 8] {
                #expect(try await connection.next() == .puback(Acknowledgement(packetID: id)))
            }
        }
    }

    @Test("payloads of all sizes that come together are cut where they end")
    func payloads() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            async let subscribing = client.subscribe(to: "t")
            let connection = try await server.connection()
            try await connection.accept()
            guard case .subscribe(let asked)? = try await connection.next() else {
                throw TimedOut(description: "SUBSCRIBE")
            }
            connection.send(.suback(Suback(packetID: asked.packetID, reasonCodes: [.success])))
            let subscription = try await subscribing
            let sizes = (0..<400).map { $0 % 7 == 0 ? $0 * 11 : $0 % 300 }
            let payloads = sizes.enumerated().map { at, size in
                ByteBuffer(bytes: (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ at) })
            }
            var bytes = ByteBuffer()
            let encoder = PacketEncoder(version: .v5)
            for payload in payloads { encoder.encode(.publish(Publish(topic: "t", payload: payload)), into: &bytes) }
            connection.send(bytes)
            #expect(await subscription.first(payloads.count).map(\.payload) == payloads)
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
}

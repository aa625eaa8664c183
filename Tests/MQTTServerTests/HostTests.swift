import MQTTPackets
import MQTTServer
import MQTTStore
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct HostTests {
    @Test(
        "publish reaches subscribers with QoS and properties",
        arguments: [QoS.atMostOnce, .atLeastOnce, .exactlyOnce]
    )
    func publish(_ qos: QoS) async throws {
        try await withBroker { broker, connect in
            let client = try await connect()
            try await client.subscribe("t", .exactlyOnce)
            var properties = Properties()
            properties[string: .contentType] = "text/plain"
            properties[integer: .messageExpiryInterval] = 100
            properties.appendUserProperty("a", "1")
            try await broker.publish("m", to: "t", qos: qos, properties: properties)
            guard case .publish(let publish) = try await client.next() else { return }
            #expect(publish.topic == "t")
            #expect(String(buffer: publish.payload) == "m")
            #expect(publish.qos == qos)
            #expect(publish.properties[string: .contentType] == "text/plain")
            #expect(publish.properties[integer: .messageExpiryInterval] == 100)
            #expect(publish.properties.userProperties.map(\.value) == ["1"])
        }
    }

    @Test("publish throws for what is no topic, for what is too long or too large, and where nobody has room")
    func refusals() async throws {
        let broker = testBroker {
            $0.limits.topicLevelsMax = 3
            $0.limits.retainedMessagesMax = 1
        }
        for call in ["before", "after"] {
            await #expect(throws: HostError.notRunning, "\(call)") { try await broker.publish("m", to: "t") }
            await #expect(throws: HostError.notRunning) { _ = try await broker.subscribe(to: "t", qos: .atLeastOnce) }
            guard call == "before" else { break }
            try await withBroker(broker) { broker, _ in
                for topic in ["", "a/+", "#", "a\u{0}", "a/b/c/d", String(repeating: "x", count: 70_000)] {
                    await #expect(throws: HostError.invalidTopic(topic)) { try await broker.publish("m", to: topic) }
                }
                await #expect(throws: HostError.invalidTopic("a/#/b")) {
                    _ = try await broker.subscribe(to: "a/#/b", qos: .atMostOnce)
                }
                let large = ByteBuffer(repeating: 0, count: 17 << 20)
                await #expect(throws: HostError.packetTooLarge) { try await broker.publish(large, to: "t") }
                try await broker.publish("m", to: "t", retain: true)
                await #expect(throws: HostError.quotaExceeded) { try await broker.publish("m", to: "u", retain: true) }
                await #expect(throws: HostError.noSession(clientID: "nobody")) {
                    try await broker.publish("m", to: "t", clientID: "nobody")
                }
                #expect(try broker.disconnect("nobody") == false)
            }
        }
    }

    @Test("what is durable is published when it is committed, and not before", arguments: [true, false])
    func durable(_ succeeds: Bool) async throws {
        struct Failed: Error {}
        let store = HeldStore()
        let broker = testBroker(threads: 1, store: store)
        let running = Task { try await broker.run() }
        _ = try await broker.address()
        let isDone = Flag()
        let publishing = Task {
            defer { isDone.set() }
            try await broker.publish("m", to: "t", qos: .atLeastOnce, retain: true)
        }
        let commit = try await store.next()
        guard case .retained(let kept)? = commit.changes.first else {
            Issue.record("\(commit.changes)")
            return
        }
        #expect(kept.message.payloadString == "m")
        // QoS 0 waits for nothing.
        for _ in 0..<30 { try await broker.publish("m", to: "u") }
        #expect(!isDone.isSet)
        if succeeds {
            commit.release()
            try await within("publishing") { try await publishing.value }
            running.cancel()
            try await within("run()") { try await running.value }
        } else {
            commit.fail(Failed())
            await #expect(throws: HostError.storeFailed) {
                try await within("publishing") { try await publishing.value }
            }
            await #expect(throws: Failed.self) { try await within("run()") { try await running.value } }
        }
    }

    @Test("a message for one client reaches it alone: connected, or when it comes back")
    func publishToClient() async throws {
        try await withBroker { broker, connect in
            let other = try await connect("b")
            try await other.subscribe("#")
            let client = try await connect("a", expiry: 60)
            try await broker.publish("now", to: "any/topic", clientID: "a")
            #expect(try await client.nextPayload() == "now")
            let events = broker.events
            try await client.close()
            try await events.wait("the end of a") { if case .clientDisconnected = $0 { true } else { false } }
            try await broker.publish("later", to: "t", qos: .atLeastOnce, clientID: "a")
            let again = try await connect("a", expiry: 60)
            #expect(try await again.nextPayload() == "later")
            try await other.ping()
        }
    }

    @Test("clients: who is there, since when, and what waits for those who are not")
    func clients() async throws {
        try await withBroker { broker, connect in
            let client = try await connect("a", version: .v3_1_1, keepAlive: 60)
            try await client.subscribe("t")
            try await client.subscribe("u")
            try await client.publish("t", "m")
            _ = try await client.next()
            let away = try await connect("b", expiry: 60)
            try await away.subscribe("u", .atLeastOnce)
            let events = broker.events
            try broker.disconnect("b")
            try await events.wait("the end of b") { if case .clientDisconnected = $0 { true } else { false } }
            try await broker.publish("for b", to: "u", qos: .atLeastOnce)
            _ = try await client.next()
            let own = try await broker.subscribe(to: "#", qos: .atMostOnce)
            let all = broker.clients.sorted { $0.id < $1.id }
            #expect(all.map(\.id) == ["a", "b"])
            #expect(all.map(\.subscriptions) == [2, 1])
            #expect(all.map(\.queue.messages) == [0, 1])
            #expect(all[1].connection == nil)
            let connection = try #require(all[0].connection)
            #expect(connection.client.version == .v3_1_1)
            #expect(connection.client.address.hasPrefix("127.0.0.1:"))
            #expect(connection.keepAlive == .seconds(60))
            #expect(connection.publishReceived == 1)
            #expect(connection.publishSent == 2)
            #expect(connection.bytesReceived > 20)
            #expect(connection.duration >= .zero)
            withExtendedLifetime(own) {}
        }
    }

    @Test("disconnect tells a 5.0 client why", arguments: [ReasonCode.administrativeAction, .useAnotherServer])
    func disconnect(_ reason: ReasonCode) async throws {
        try await withBroker { broker, connect in
            let client = try await connect("a")
            #expect(try broker.disconnect("a", reason: reason))
            #expect(try await client.disconnectReason() == reason)
            #expect(try broker.disconnect("a") == false)
        }
    }

    @Test("subscriptions of a client can be looked at, added and taken away")
    func subscriptions() async throws {
        try await withBroker { broker, connect in
            let client = try await connect("a")
            try await client.subscribe("b/#", .exactlyOnce)
            try await broker.subscribe(clientID: "a", to: "a", options: SubscriptionOptions(qos: .atLeastOnce))
            #expect(
                try broker.subscriptions(of: "a") == [
                    Subscription(filter: "a", options: SubscriptionOptions(qos: .atLeastOnce)),
                    Subscription(filter: "b/#", options: SubscriptionOptions(qos: .exactlyOnce)),
                ]
            )
            try await broker.publish("m", to: "a", qos: .atLeastOnce)
            #expect(try await client.nextPayload() == "m")
            #expect(try await broker.unsubscribe(clientID: "a", from: "b/#"))
            #expect(try await broker.unsubscribe(clientID: "a", from: "b/#") == false)
            try await broker.publish("m", to: "b/c")
            try await client.ping()
            await #expect(throws: HostError.noSession(clientID: "c")) {
                try await broker.subscribe(clientID: "c", to: "a", options: SubscriptionOptions())
            }
        }
    }

    @Test("a queue is cleared, also of what only the store has; what comes later stays", arguments: [false, true])
    func clearQueue(isDurable: Bool) async throws {
        let store: any MessageStore = isDurable ? KeptStore() : VolatileStore()
        // Of the durable queue memory has a part.
        let broker = testBroker(store: store) { $0.limits.windowBytesInAllMax = 64 << 10 }
        try await withBroker(broker) { broker, connect in
            let client = try await connect("a", expiry: 60)
            try await client.subscribe("t", .atLeastOnce)
            let events = broker.events
            try broker.disconnect("a")
            try await events.wait("the end of a") { if case .clientDisconnected = $0 { true } else { false } }
            let payload = String(repeating: "x", count: 200)
            for _ in 0..<2_500 { try await broker.publish(payload, to: "t", qos: .atLeastOnce) }
            #expect(try await broker.clearQueue(of: "a") == 2_500)
            #expect(try await broker.clearQueue(of: "a") == 0)
            try await broker.publish("later", to: "t", qos: .atLeastOnce)
            #expect(broker.clients.first?.queue.messages == 1)
            #expect(broker.clients.first?.queue.dropped[.cleared] == 2_500)
            let again = try await connect("a", expiry: 60)
            #expect(try await again.nextPayload() == "later")
            await #expect(throws: HostError.noSession(clientID: "b")) { try await broker.clearQueue(of: "b") }
        }
    }

    @Test("retained messages are listed by filter, in order, over many pages, and cleared by filter")
    func retained() async throws {
        try await withBroker(testBroker { $0.systemTopicsInterval = .zero }) { broker, connect in
            for number in 0..<1_200 {
                try await broker.publish("\(number)", to: "\(number % 2 == 0 ? "even" : "odd")/\(number)", retain: true)
            }
            var payloads: [Int] = []
            for await message in try broker.retainedMessages(matching: "even/#") {
                payloads.append(try #require(Int(message.payloadString)))
            }
            #expect(payloads.sorted() == (0..<600).map { $0 * 2 })
            #expect(try await broker.clearRetained(matching: "odd/+") == 600)
            #expect(broker.statistics.retainedMessages == 600)
            let client = try await connect()
            try await client.subscribe("odd/#")
            try await client.ping()
            await #expect(throws: HostError.invalidTopic("$share/g/t")) {
                _ = try await broker.clearRetained(matching: "$share/g/t")
            }
        }
    }
}

import MQTTPackets
import MQTTServer
import MQTTStore
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct DurabilityTests {
    /// Whether nothing comes while another client of the only loop has its pings answered, again and again.
    private func staysSilent(_ client: TestClient, _ other: TestClient) async throws -> Bool {
        let before = client.received
        for _ in 0..<30 { try await other.ping() }
        return client.received == before
    }

    @Test(
        "[MQTT-4.3.2-4] [MQTT-4.3.3-8] PUBACK and PUBREC leave after the commit of their message",
        arguments: [QoS.atLeastOnce, .exactlyOnce]
    )
    func acknowledgement(_ qos: QoS) async throws {
        let store = HeldStore()
        try await withBroker(threads: 1, store: store) { _, connect in
            let other = try await connect()
            let client = try await connect()
            try await client.publish("t", "m", qos, id: 7, isRetained: true)
            let commit = try await store.next()
            guard case .retained(let kept)? = commit.changes.first else {
                Issue.record("\(commit.changes)")
                return
            }
            #expect(kept.message.payloadString == "m")
            #expect(try await staysSilent(client, other))
            commit.release()
            let answer = Acknowledgement(packetID: 7, reasonCode: .noMatchingSubscribers)
            #expect(try await client.next() == (qos == .atLeastOnce ? .puback(answer) : .pubrec(answer)))
        }
    }

    @Test("acknowledgements that wait keep the order of their publishes, and hold back later ones")
    func order() async throws {
        let store = HeldStore()
        try await withBroker(threads: 1, store: store) { _, connect in
            let other = try await connect()
            let client = try await connect()
            try await client.publish("t", "1", .atLeastOnce, id: 1, isRetained: true)
            let first = try await store.next()
            try await client.publish("u", "2", .atLeastOnce, id: 2)
            try await client.publish("t", "3", .exactlyOnce, id: 3, isRetained: true)
            try await client.send(.pingreq)
            #expect(try await staysSilent(client, other))
            first.release()
            let second = try await store.next()
            #expect(try await client.next().kind == .puback)
            second.release()
            let kinds = [try await client.next(), try await client.next(), try await client.next()].map(\.kind)
            #expect(kinds == [.puback, .pubrec, .pingresp])
        }
    }

    @Test("CONNACK and SUBACK of a persistent session leave after the commit of what they answer")
    func session() async throws {
        let store = HeldStore()
        try await withBroker(threads: 1, store: store) { _, connect in
            let other = try await connect()
            let client = try await connect.transport()
            try await client.sendConnect("c", expiry: 60)
            let created = try await store.next()
            #expect(try await staysSilent(client, other))
            created.release()
            #expect(try await client.next().kind == .connack)
            let filters = [Subscribe.Filter("t", SubscriptionOptions(qos: .exactlyOnce))]
            try await client.send(.subscribe(Subscribe(packetID: 1, filters: filters)))
            let subscribed = try await store.next()
            #expect(try await staysSilent(client, other))
            subscribed.release()
            #expect(try await client.next().kind == .suback)
        }
    }

    @Test("a QoS 2 message goes to a persistent session after its commit, and one at QoS 0 does not wait")
    func delivery() async throws {
        let store = HeldStore()
        try await withBroker(threads: 1, store: store) { _, connect in
            let publisher = try await connect()
            let other = try await connect()
            let subscriber = try await connect.transport()
            try await subscriber.sendConnect("c", expiry: 60)
            try await store.next().release()
            _ = try await subscriber.next()
            let filters = [Subscribe.Filter("#", SubscriptionOptions(qos: .exactlyOnce))]
            try await subscriber.send(.subscribe(Subscribe(packetID: 1, filters: filters)))
            try await store.next().release()
            _ = try await subscriber.next()

            try await publisher.publish("t", "exactly once", .exactlyOnce, id: 1)
            let queued = try await store.next()
            try await publisher.publish("t", "at most once")
            #expect(try await subscriber.nextPayload() == "at most once")
            #expect(try await staysSilent(subscriber, other))
            queued.release()
            #expect(try await subscriber.nextPayload() == "exactly once")
            #expect(try await publisher.next().kind == .pubrec)
        }
    }

    @Test("while one commit is under way the changes of all others gather for the next")
    func batches() async throws {
        let store = HeldStore()
        try await withBroker(threads: 2, store: store) { _, connect in
            var clients: [TestClient] = []
            for _ in 0..<10 { clients.append(try await connect(version: .v3_1_1)) }
            try await clients[0].publish("first", "m", .atLeastOnce, id: 1, isRetained: true)
            let first = try await store.next()
            #expect(first.changes.count == 1)
            for client in clients {
                for id in 2...UInt16(11) { try await client.publish("t", "m", .atLeastOnce, id: id, isRetained: true) }
                // Answered at once or not at all, but read.
            }
            let reader = Task { await store.releaseAll() }
            defer { reader.cancel() }
            first.release()
            #expect(try await clients[0].next().kind == .puback)
            for client in clients {
                for id in 2...UInt16(11) {
                    #expect(try await client.next() == .puback(Acknowledgement(packetID: id)))
                }
            }
        }
    }

    @Test("run() throws the error of a store, and nothing that it failed to commit is acknowledged")
    func failure() async throws {
        struct DiskIsGone: Error {}
        let store = HeldStore()
        let broker = testBroker(store: store)
        let running = Task { try await broker.run() }
        let client = try await Connector(address: try await broker.address())()
        try await client.publish("t", "m", .atLeastOnce, id: 1, isRetained: true)
        try await store.next().fail(DiskIsGone())
        await #expect(throws: DiskIsGone.self) {
            try await within("run()", .seconds(5)) { try await running.value }
        }
        #expect(try await client.nextOrEnd()?.kind != .puback)
    }

    @Test("run() returns although a commit is under way")
    func endWithinCommit() async throws {
        let store = HeldStore()
        try await withBroker(store: store) { _, connect in
            let client = try await connect()
            try await client.publish("t", "m", .atLeastOnce, id: 1, isRetained: true)
            _ = try await store.next()
        }
    }
}

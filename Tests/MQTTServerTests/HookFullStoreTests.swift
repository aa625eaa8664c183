import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct HookFullStoreTests {
    @Test("what hooks decided of a packet holds when it has waited for room in a full store")
    func held() async throws {
        let asked = Calls<String>()
        var hooks = BrokerHooks()
        hooks.authenticate = { client, _ in
            asked.record(client.id)
            return .accepted(username: "u")
        }
        hooks.authorizePublish = { _, request in
            request.topic == "denied" ? .deny() : .replace(topic: "to/" + request.topic)
        }
        hooks.authorizeSubscribe = { _, request in
            asked.record(request.filter)
            return request.filter == "denied" ? .deny() : .allow(filter: "to/" + request.filter)
        }
        let store = FullStore()
        try await withBroker(testBroker(store: store, hooks: hooks)) { broker, connect in
            let other = try await connect("other")
            let client = try await connect("c", expiry: 60)
            try await store.become(full: true, broker, other)
            let filters = ["a", "denied"].map { Subscribe.Filter($0, SubscriptionOptions(qos: .atLeastOnce)) }
            try await client.send(.subscribe(Subscribe(packetID: 1, filters: filters)))
            try await client.publish("denied", "1", .atLeastOnce, id: 2)
            try await client.publish("a", "2", .atLeastOnce, id: 3)
            try await client.send(.unsubscribe(Unsubscribe(packetID: 4, filters: ["a"])))
            let late = try await connect.transport()
            try await late.sendConnect("late", expiry: 60)
            for name in ["other", "c", "a", "denied", "late"] { #expect(try await asked.next() == name) }
            try await client.ping()
            #expect(client.received == 2)
            #expect(late.received == 0)
            try await store.become(full: false, broker, other)
            // A message at QoS 1 does not wait for the commit that the answers wait for.
            var packets: [Packet] = []
            for _ in 0..<5 { packets.append(try await client.next()) }
            let publish = packets.firstIndex { $0.kind == .publish }.map { packets.remove(at: $0) }
            guard case .publish(let message)? = publish else { throw HookFault() }
            #expect(message.topic == "to/a")
            #expect(
                packets == [
                    .suback(Suback(packetID: 1, reasonCodes: [.grantedQoS1, .notAuthorized])),
                    .puback(Acknowledgement(packetID: 2, reasonCode: .notAuthorized)),
                    .puback(Acknowledgement(packetID: 3)), .unsuback(Unsuback(packetID: 4, reasonCodes: [.success])),
                ]
            )
            #expect(try await late.next().kind == .connack)
            #expect(asked.all.count == 5, "nobody is asked twice")
        }
    }
}

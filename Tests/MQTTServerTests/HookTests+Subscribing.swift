import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct HookSubscribeTests {
    @Test(
        "[MQTT-3.8.4-6] authorizeSubscribe allows, lowers, rewrites and denies; SUBACK has a code for each filter",
        arguments: hookVersions
    )
    func answers(_ version: ProtocolVersion) async throws {
        let calls = Calls<SubscribeRequest>()
        let log = HookLog()
        var hooks = BrokerHooks()
        hooks.authorizeSubscribe = { client, request in
            calls.record(request)
            switch request.filter {
            case "allowed": return .allow
            case "lowered": return .allow(qosMax: .atMostOnce)
            case "rewritten": return .allow(filter: "tenant/" + client.id)
            case "bad": return .allow(filter: "a/#/b")
            case "odd": return .deny(.serverBusy)  // SUBACK cannot carry it.
            case "throws": throw HookFault()
            default: return .deny(.quotaExceeded)
            }
        }
        try await withBroker(testBroker(hooks: hooks, logger: log.logger)) { _, connect in
            let client = try await connect("c", version: version)
            let filters = ["allowed", "denied", "lowered", "a/#/b", "rewritten", "bad", "odd", "throws"]
            let expected: [ReasonCode] = [
                .grantedQoS2, .quotaExceeded.inSuback(version), .success, .topicFilterInvalid.inSuback(version),
                .grantedQoS2, .implementationSpecificError.inSuback(version), .notAuthorized.inSuback(version),
                .implementationSpecificError.inSuback(version),
            ]
            #expect(try await client.reasons(subscribing: filters, .exactlyOnce) == expected)
            #expect(calls.all.map(\.filter) == filters.filter { $0 != "a/#/b" })
            #expect(calls.all.allSatisfy { !$0.isResumed && $0.options.qos == .exactlyOnce })
            #expect(log.hooks == ["authorizeSubscribe", "authorizeSubscribe"])
            let publisher = try await connect("p")
            for topic in ["rewritten", "denied", "tenant/c", "lowered", "allowed"] {
                try await publisher.publish(topic, topic, .atLeastOnce, id: 1)
            }
            var seen: [String] = []
            for _ in 0..<3 {
                let publish = try await client.nextPublish()
                seen.append(publish.topic)
                #expect(publish.qos == (publish.topic == "lowered" ? .atMostOnce : .atLeastOnce))
            }
            #expect(seen == ["tenant/c", "lowered", "allowed"])
        }
    }

    @Test("an UNSUBSCRIBE of a filter that was rewritten is rewritten likewise", arguments: hookVersions)
    func unsubscribe(_ version: ProtocolVersion) async throws {
        var hooks = BrokerHooks()
        hooks.authorizeSubscribe = { _, request in
            request.filter == "plain" ? .allow : .allow(filter: "tenant/" + request.filter)
        }
        try await withBroker(testBroker(hooks: hooks)) { broker, connect in
            let client = try await connect("c", version: version)
            _ = try await client.reasons(subscribing: ["t", "plain"])
            #expect(broker.statistics.subscriptions == 2)
            try await client.send(.unsubscribe(Unsubscribe(packetID: 2, filters: ["other", "t", "plain"])))
            guard case .unsuback(let unsuback) = try await client.next() else { throw HookFault() }
            if version == .v5 { #expect(unsuback.reasonCodes == [.noSubscriptionExisted, .success, .success]) }
            #expect(broker.statistics.subscriptions == 0)
            // It is known no more.
            try await client.send(.unsubscribe(Unsubscribe(packetID: 3, filters: ["t"])))
            guard case .unsuback(let again) = try await client.next() else { throw HookFault() }
            if version == .v5 { #expect(again.reasonCodes == [.noSubscriptionExisted]) }
        }
    }

    @Test("a hook that hangs refuses its filter and those behind it, and the client goes on", arguments: hookVersions)
    func hangs(_ version: ProtocolVersion) async throws {
        let (log, door) = (HookLog(), Door())
        var hooks = BrokerHooks()
        hooks.authorizeSubscribe = { _, request in
            if request.filter == "hangs" { await door.pass() }
            return .allow
        }
        let broker = testBroker(hooks: hooks, logger: log.logger) { $0.hookTimeout = .milliseconds(50) }
        try await withBroker(broker) { _, connect in
            let client = try await connect("c", version: version)
            let refusal = ReasonCode.implementationSpecificError.inSuback(version)
            #expect(try await client.reasons(subscribing: ["a", "hangs", "b"]) == [.success, refusal, refusal])
            #expect(log.hooks == ["authorizeSubscribe"])
            door.open()
            #expect(try await client.reasons(subscribing: ["hangs", "b"]) == [.success, .success])
        }
    }

    @Test("what comes behind a SUBSCRIBE waits for its hook, and what others do does not")
    func order() async throws {
        let (calls, door) = (Calls<String>(), Door())
        var hooks = BrokerHooks()
        hooks.authorizeSubscribe = { _, request in
            calls.record(request.filter)
            if request.filter == "slow" { await door.pass() }
            return .allow
        }
        try await withBroker(testBroker(threads: 1, hooks: hooks)) { _, connect in
            let client = try await connect("c")
            var bytes = ByteBuffer()
            for packet: Packet in [
                .publish(Publish(topic: "x", payload: ByteBuffer(), qos: .atLeastOnce, packetID: 1)),
                .subscribe(Subscribe(packetID: 2, filters: [Subscribe.Filter("slow")])),
                .publish(Publish(topic: "slow", payload: ByteBuffer(string: "m"), qos: .atLeastOnce, packetID: 3)),
                .subscribe(Subscribe(packetID: 4, filters: [Subscribe.Filter("t")])),
                .unsubscribe(Unsubscribe(packetID: 5, filters: ["slow"])),
                .pingreq,
            ] {
                PacketEncoder(version: .v5).encode(packet, into: &bytes)
            }
            try await client.send(bytes)
            #expect(try await calls.next() == "slow")
            let other = try await connect("other")
            for _ in 0..<10 { try await other.ping() }
            #expect(try await client.next().kind == .puback)
            #expect(client.received == 2)
            door.open()
            var kinds: [PacketKind] = []
            for _ in 0..<6 { kinds.append(try await client.next().kind) }
            #expect(kinds == [.suback, .publish, .puback, .suback, .unsuback, .pingresp])
        }
    }

    @Test("the keep alive of a client that waits for a hook does not end it")
    func keepAlive() async throws {
        let (calls, door) = (Calls<String>(), Door())
        var hooks = BrokerHooks()
        hooks.authorizeSubscribe = { _, request in
            calls.record(request.filter)
            if request.filter == "slow" { await door.pass() }
            return .allow
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let (client, _) = try await connect.connack(Connect(version: .v5, clientID: "c", keepAlive: 1))
            try await client.send(.subscribe(Subscribe(packetID: 1, filters: [Subscribe.Filter("slow")])))
            _ = try await calls.next()
            // Another one with the same keep alive is ended meanwhile, twice over.
            for _ in 0..<2 {
                let (silent, _) = try await connect.connack(Connect(version: .v5, clientID: "", keepAlive: 1))
                #expect(try await silent.disconnectReason() == .keepAliveTimeout)
            }
            door.open()
            #expect(try await client.next().kind == .suback)
            try await client.ping()
        }
    }

    // MARK: Sessions that are resumed

    @Test("the subscriptions of a resumed session are asked for again before its CONNACK", arguments: hookVersions)
    func resumed(_ version: ProtocolVersion) async throws {
        let calls = Calls<SubscribeRequest>()
        var hooks = BrokerHooks()
        hooks.authorizeSubscribe = { _, request in
            guard request.isResumed else { return .allow(filter: "t/" + request.filter) }
            calls.record(request)
            switch request.filter {
            case "t/gone": return .deny()
            case "t/lowered": return .allow(qosMax: .atMostOnce)
            case "t/throws": throw HookFault()
            default: return .allow(filter: "a rewritten filter is not looked at")
            }
        }
        try await withBroker(testBroker(hooks: hooks)) { broker, connect in
            let first = try await connect("c", version: version, expiry: 600)
            let filters = ["gone", "kept", "lowered", "throws"]
            _ = try await first.reasons(subscribing: filters, .exactlyOnce)
            try await first.leave()
            let second = try await connect("c", version: version, expiry: 600)
            #expect(calls.all.map(\.filter).sorted() == filters.map { "t/" + $0 })
            #expect(calls.all.allSatisfy { $0.options.qos == .exactlyOnce })
            #expect(broker.statistics.subscriptions == 2)
            let publisher = try await connect("p")
            for filter in filters { try await publisher.publish("t/" + filter, "", .atLeastOnce, id: 1) }
            let seen = [try await second.nextPublish(), try await second.nextPublish()]
            #expect(seen.map(\.topic) == ["t/kept", "t/lowered"])
            #expect(seen.map(\.qos) == [.atLeastOnce, .atMostOnce])
        }
    }

    @Test("a session whose subscriptions change while the hook is asked is asked for again")
    func changedMeanwhile() async throws {
        let (calls, door) = (Calls<String>(), Door())
        var hooks = BrokerHooks()
        hooks.authorizeSubscribe = { _, request in
            guard request.isResumed else { return .allow }
            calls.record(request.filter)
            await door.pass()
            return request.filter == "late" ? .deny() : .allow
        }
        try await withBroker(testBroker(hooks: hooks)) { broker, connect in
            let first = try await connect("c", expiry: 600)
            try await first.subscribe("early")
            let second = try await connect.transport()
            try await second.sendConnect("c", expiry: 600)
            #expect(try await calls.next() == "early")
            try await first.subscribe("late")
            door.open()
            guard case .connack(let connack) = try await second.next() else { throw HookFault() }
            #expect(connack.sessionPresent)
            #expect(try await first.disconnectReason() == .sessionTakenOver)
            #expect(calls.all == ["early", "late"])
            #expect(broker.statistics.subscriptions == 1)
        }
    }

    @Test("[MQTT-3.8.3-4] No Local on a shared subscription is the client's error, also where a hook is asked")
    func sharedNoLocal() async throws {
        var hooks = BrokerHooks()
        hooks.authorizeSubscribe = { _, _ in .allow }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let client = try await connect("c")
            let filter = Subscribe.Filter("$share/g/t", SubscriptionOptions(noLocal: true))
            try await client.send(.subscribe(Subscribe(packetID: 1, filters: [filter])))
            #expect(try await client.disconnectReason() == .protocolError)
        }
    }
}

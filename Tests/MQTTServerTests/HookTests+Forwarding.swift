import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Synchronization
import Testing

/// A broker that a hook calls although it may not.
private let calledBroker = Mutex<MQTTBroker?>(nil)

@Suite(.timeLimit(.minutes(1))) struct HookForwardTests {
    @Test("authorizeForward decides for each receiver, retained and queued messages too", arguments: hookVersions)
    func forward(_ version: ProtocolVersion) async throws {
        var hooks = BrokerHooks()
        hooks.authorizeForward = { message, receiver in
            !message.payloadString.contains("secret") || receiver.clientID.hasPrefix("trusted")
        }
        try await withBroker(testBroker(hooks: hooks)) { broker, connect in
            let trusted = try await connect("trusted", version: version)
            let other = try await connect("other", version: version)
            let sleeper = try await connect("sleeper", version: version, expiry: 600)
            for client in [trusted, other, sleeper] { try await client.subscribe("#", .atLeastOnce) }
            try await sleeper.leave()
            let publisher = try await connect("p")
            for (payload, qos) in [("secret 0", QoS.atMostOnce), ("secret 1", .atLeastOnce), ("open", .atLeastOnce)] {
                try await publisher.publish("t", payload, qos, id: 1, isRetained: payload == "secret 1")
            }
            // A message that its receivers may not have is accepted all the same.
            #expect(try await publisher.next() == .puback(Acknowledgement(packetID: 1)))
            #expect(try await trusted.nextPayload() == "secret 0")
            #expect(try await trusted.nextPayloads(2) == ["secret 1", "open"])
            #expect(try await other.nextPayload() == "open")
            let resumed = try await connect("sleeper", version: version, expiry: 600)
            #expect(try await resumed.nextPayload() == "open")
            for name in ["late", "trusted too"] {
                let late = try await connect(name, version: version)
                try await late.subscribe("t")
                if name == "trusted too" { #expect(try await late.nextPayload() == "secret 1") }
                try await late.ping()
                #expect(late.received == (name == "late" ? 3 : 4))
            }
            let statistics = broker.statistics
            #expect(statistics.dropped[.notForwarded] == 5)
            #expect(statistics.lockedHookCalls == 11)
            #expect(statistics.lockedHookNanoseconds >= statistics.lockedHookNanosecondsMaximum)
            #expect(statistics.lockedHookNanosecondsMaximum > 0)
        }
    }

    @Test("authorizeForward knows the receiver's client as long as it has a connection")
    func receiver() async throws {
        let receivers = Calls<ForwardReceiver>()
        var hooks = BrokerHooks()
        hooks.authenticate = { _, _ in .accepted(username: "u", attributes: ["a": "b"]) }
        hooks.authorizeForward = { _, receiver in
            receivers.record(receiver)
            return true
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let client = try await connect("c", expiry: 600)
            try await client.subscribe("t", .atLeastOnce)
            let publisher = try await connect("p")
            try await publisher.publish("t", "1")
            let connected = try await receivers.next()
            #expect(connected.client?.username == "u")
            #expect(connected.client?.attributes == ["a": "b"])
            #expect(try await client.nextPayload() == "1")
            try await client.leave()
            try await publisher.publish("t", "2")
            let away = try await receivers.next()
            #expect(away.clientID == "c")
            #expect(away.client == nil)
        }
    }

    @Test("selectSharedSubscriber chooses a member, or leaves it to the broker", arguments: hookVersions)
    func select(_ version: ProtocolVersion) async throws {
        let selections = Calls<SharedSelection>()
        var hooks = BrokerHooks()
        hooks.selectSharedSubscriber = { selection in
            selections.record(selection)
            return switch selection.message.payloadString {
            case "to b": "b"
            case "to nobody": "unknown"
            default: nil
            }
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            var members: [TestClient] = []
            for name in ["a", "b", "c"] {
                members.append(try await connect(name, version: version))
                try await members.last?.subscribe("$share/g/t")
            }
            let publisher = try await connect("p")
            for _ in 0..<3 {
                try await publisher.publish("t", "to b")
                #expect(try await members[1].nextPayload() == "to b")
            }
            // The broker's own choice goes round.
            for _ in 0..<3 { try await publisher.publish("t", "to nobody") }
            for member in members { #expect(try await member.nextPayload() == "to nobody") }
            let selection = try await selections.next()
            #expect(selection.filter == "$share/g/t")
            #expect(selection.candidates.map(\.clientID).sorted() == ["a", "b", "c"])
            #expect(selection.candidates.allSatisfy { $0.isConnected && $0.queuedMessages == 0 })
            #expect(selections.all.count == 6)
        }
    }

    @Test("what hooks that may wait do with the broker is done: figures, and publishing")
    func callsBack() async throws {
        let broker = Mutex<MQTTBroker?>(nil)
        var hooks = BrokerHooks()
        hooks.authenticate = { client, _ in
            let sockets = broker.withLock { $0?.statistics.sockets } ?? 0
            return .accepted(username: client.username, attributes: ["sockets": "\(sockets)"])
        }
        hooks.authorizePublish = { client, _ in
            _ = broker.withLock { $0?.statistics }
            return client.attributes["sockets"] == "0" ? .deny() : .allow
        }
        hooks.published = { client, message in
            guard message.topic == "t", let broker = broker.withLock({ $0 }) else { return .acknowledge }
            try await broker.publish(message.payload, to: "log/\(client.id)", qos: .atLeastOnce)
            return .acknowledge
        }
        let made = testBroker(hooks: hooks)
        broker.withLock { $0 = made }
        try await withBroker(made) { _, connect in
            let watcher = try await connect("w")
            try await watcher.subscribe("log/#")
            let client = try await connect("c")
            #expect(try await client.reason(publishing: "t") == .noMatchingSubscribers)
            #expect(try await watcher.nextPublish().topic == "log/c")
        }
        broker.withLock { $0 = nil }
    }

    @Test("a hook under the lock that calls the broker stops the program, and says so")
    func stopped() async throws {
        let result = try await #require(processExitsWith: .failure, observing: [\.standardErrorContent]) {
            var hooks = BrokerHooks()
            hooks.authorizeForward = { _, _ in calledBroker.withLock { $0?.statistics } != nil }
            let broker = testBroker(hooks: hooks)
            calledBroker.withLock { $0 = broker }
            try await withBroker(broker) { _, connect in
                let client = try await connect("c")
                try await client.subscribe("t")
                try await client.publish("t", "m")
                try await client.ping()
            }
        }
        let text = String(decoding: result.standardErrorContent, as: UTF8.self)
        #expect(text.contains("has called the broker"))
    }
}

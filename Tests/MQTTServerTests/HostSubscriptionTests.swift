import Logging
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Synchronization
import Testing

/// Something that has happened.
final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .acquiring) }
    func set() { value.store(true, ordering: .releasing) }
}

@Suite(.timeLimit(.minutes(1))) struct HostSubscriptionTests {
    /// What comes, so many of it.
    private func take(_ count: Int, _ messages: BrokerSubscription) async throws -> [Message] {
        try await within("\(count) messages") {
            var taken: [Message] = []
            for await message in messages {
                taken.append(message)
                if taken.count == count { break }
            }
            return taken
        }
    }

    @Test("a subscription of host code gets retained messages first, then what clients and host code publish")
    func subscribe() async throws {
        try await withBroker { broker, connect in
            try await broker.publish("kept", to: "t/0", retain: true)
            let messages = try await broker.subscribe(to: "t/#", qos: .exactlyOnce)
            let client = try await connect()
            try await client.publish("t/1", "by client", .exactlyOnce, id: 1)
            #expect(try await client.next().kind == .pubrec)
            var properties = Properties()
            properties[string: .responseTopic] = "r"
            try await broker.publish("by host", to: "t/2", qos: .atLeastOnce, properties: properties)
            let taken = try await take(3, messages)
            #expect(taken.map(\.payloadString) == ["kept", "by client", "by host"])
            #expect(taken.map(\.topic) == ["t/0", "t/1", "t/2"])
            #expect(taken.map(\.isRetained) == [true, false, false])
            #expect(taken.map(\.qos) == [.atMostOnce, .atLeastOnce, .atLeastOnce])
            #expect(taken[2].properties[string: .responseTopic] == "r")
        }
    }

    @Test("noLocal keeps from host code what it publishes itself; retain handling is as asked for")
    func options() async throws {
        try await withBroker { broker, connect in
            try await broker.publish("kept", to: "t", retain: true)
            let options = SubscriptionOptions(qos: .atLeastOnce, noLocal: true, retainHandling: .never)
            let messages = try await broker.subscribe(to: "t", options: options)
            try await broker.publish("own", to: "t", qos: .atLeastOnce)
            let client = try await connect()
            try await client.publish("t", "other", .atLeastOnce, id: 1)
            #expect(try await take(1, messages).map(\.payloadString) == ["other"])
        }
    }

    @Test("at QoS 1 a slow reader loses nothing within its queue's bound, and holds back what is acknowledged")
    func slowReader() async throws {
        let broker = testBroker { $0.limits.queuedMessagesMax = 2_000 }
        try await withBroker(broker) { broker, _ in
            let messages = try await broker.subscribe(
                to: "t",
                options: SubscriptionOptions(qos: .atLeastOnce),
                buffering: 10
            )
            for number in 0..<2_000 { try await broker.publish("\(number)", to: "t", qos: .atLeastOnce) }
            #expect(broker.statistics.copiesUnfinished == 2_000)
            await #expect(throws: HostError.quotaExceeded) {
                while true { try await broker.publish("too much", to: "t", qos: .atLeastOnce) }
            }
            #expect(broker.statistics.publishSent < 300)
            let taken = try await take(2_000, messages)
            #expect(taken.map(\.payloadString) == (0..<2_000).map { "\($0)" })
        }
    }

    @Test("at QoS 0 what a reader does not take is bounded, and dropped beyond that, counted")
    func slowReaderAtMostOnce() async throws {
        let broker = testBroker { $0.limits.sendBufferBytesMax = 64 << 10 }
        try await withBroker(broker) { broker, _ in
            let messages = try await broker.subscribe(to: "t", options: SubscriptionOptions(), buffering: 10)
            let payload = String(repeating: "x", count: 1_000)
            while broker.statistics.dropped[.backlog] == 0 { try await broker.publish(payload, to: "t") }
            let published = Int(broker.statistics.copiesRouted)
            let dropped = Int(broker.statistics.dropped[.backlog])
            let taken = try await take(published - dropped, messages)
            #expect(taken.allSatisfy { $0.payloadString == payload })
        }
    }

    @Test("a subscription ends with its sequence, with its task, and with the broker")
    func end() async throws {
        let broker = testBroker()
        let last = Mutex<BrokerSubscription?>(nil)
        try await withBroker(broker) { broker, _ in
            func gone() async throws {
                try await within("the end of the subscription") {
                    while broker.statistics.sessions > 0 { await Task.yield() }
                }
            }
            do {
                let dropped = try await broker.subscribe(to: "t", qos: .atLeastOnce)
                #expect(broker.statistics.sessions == 1)
                withExtendedLifetime(dropped) {}
            }
            try await gone()
            let messages = try await broker.subscribe(to: "t", qos: .atLeastOnce)
            let reading = Task { for await _ in messages {} }
            reading.cancel()
            try await within("the task") { await reading.value }
            try await gone()
            let kept = try await broker.subscribe(to: "t", qos: .atLeastOnce)
            last.withLock { $0 = kept }
        }
        let messages = try #require(last.withLock { $0 })
        let left = try await within("the end") { () -> Int in
            var count = 0
            for await _ in messages { count += 1 }
            return count
        }
        #expect(left == 0)
    }

    @Test("hooks that refuse everybody are not asked about host code")
    func hooks() async throws {
        var hooks = BrokerHooks()
        hooks.preConnect = { _ in .refuse(.banned) }
        hooks.authenticate = { _, _ in .rejected(.notAuthorized) }
        hooks.authorizePublish = { _, _ in .deny(.notAuthorized) }
        hooks.authorizeSubscribe = { _, _ in .deny(.notAuthorized) }
        var configuration = BrokerConfiguration()
        configuration.addresses = [.init(host: "127.0.0.1", port: 0)]
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        try await withBroker(MQTTBroker(configuration: configuration, hooks: hooks, logger: logger)) { broker, _ in
            let messages = try await broker.subscribe(to: "t", qos: .atLeastOnce)
            try await broker.publish("m", to: "t", qos: .atLeastOnce)
            #expect(try await take(1, messages).map(\.payloadString) == ["m"])
        }
    }

    @Test("a shared subscription divides messages between host code and a client")
    func shared() async throws {
        try await withBroker { broker, connect in
            let client = try await connect()
            try await client.subscribe("$share/g/t", .atLeastOnce)
            let messages = try await broker.subscribe(to: "$share/g/t", qos: .atLeastOnce)
            for number in 0..<10 { try await broker.publish("\(number)", to: "t", qos: .atLeastOnce) }
            let taken = try await take(5, messages).map(\.payloadString)
            var others: [String] = []
            for _ in 0..<5 { others.append(try await client.nextPayload()) }
            #expect(Set(taken + others).count == 10)
        }
    }
}

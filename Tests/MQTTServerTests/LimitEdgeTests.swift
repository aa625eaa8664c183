import Logging
import MQTTCore
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Synchronization
import Testing

@Suite("What meets a limit on its way", .timeLimit(.minutes(1))) struct LimitEdgeTests {
    @Test("a new subscriber gets all retained messages, however small its queue", arguments: QueuePolicy.allCases)
    func replayThroughSmallQueue(_ policy: QueuePolicy) async throws {
        try await withLimits {
            $0.limits.queuedMessagesMax = 2
            $0.limits.inFlightMax = 1
            $0.queuePolicy = policy
        } _: { trial in
            let publisher = try await trial.connect()
            for number in 1...20 {
                let topic = "t/\(number)"
                #expect(
                    try await publisher.reason(publishing: topic, "\(number)", isRetained: true)
                        == .noMatchingSubscribers
                )
            }
            let subscriber = try await trial.connect()
            try await subscriber.subscribe("t/#", .atLeastOnce)
            #expect(Set(try await subscriber.nextPayloads(20)) == Set((1...20).map { "\($0)" }))
            #expect(trial.broker.statistics.dropped.total == 0)
            try await trial.bystander.isServed()
        }
    }

    @Test("a new subscriber gets all retained messages, however small its send buffer")
    func replayThroughSmallSendBuffer() async throws {
        try await withLimits {
            $0.limits.sendBufferBytesMax = 100
        } _: { trial in
            let publisher = try await trial.connect()
            for number in 10...29 {
                try await publisher.publish("t/\(number)", "\(number)".padded(to: 1_000), isRetained: true)
            }
            try await publisher.ping()
            let subscriber = try await trial.connect()
            try await subscriber.subscribe("t/#")
            for number in 10...29 { #expect(try await subscriber.nextPayload() == "\(number)".padded(to: 1_000)) }
            #expect(trial.broker.statistics.dropped.total == 0)
            try await trial.bystander.isServed()
        }
    }

    @Test("retained messages at QoS 0 wait for a commit like others: their publisher is not read from")
    func uncommittedAtMostOnce() async throws {
        try await withLimits(.held) {
            $0.limits.uncommittedBytesInAllMax = 5_000
        } _: { trial in
            let client = try await trial.connect()
            for number in 1...10 { try await client.publish("t/\(number)", "m".padded(to: 1_500), isRetained: true) }
            try await client.send(.pingreq)
            let commit = try await trial.store.next()
            #expect(try await trial.bystander.sees(silent: client))
            #expect(trial.broker.statistics.uncommittedBytes < 7_000)
            try await trial.bystander.isServed(.atMostOnce)
            commit.release()
            let releasing = Task { await trial.store.releaseAll() }
            defer { releasing.cancel() }
            #expect(try await client.next() == .pingresp)
            #expect(trial.broker.statistics.retainedMessages == 10)
            try await trial.bystander.isServed()
        }
    }

    @Test("answers that wait behind a commit count as well: a client that asks for ever more is not read from")
    func uncommittedAnswers() async throws {
        try await withLimits(.held) {
            $0.limits.uncommittedBytesMax = 5_000
        } _: { trial in
            let client = try await trial.connect()
            try await client.publish("t", "m", .atLeastOnce, id: 1, isRetained: true)
            let commit = try await trial.store.next()
            let received = trial.broker.statistics.packetsReceived
            for _ in 0..<1_000 { try await client.send(.pingreq) }
            #expect(try await trial.bystander.sees(silent: client))
            #expect(trial.broker.statistics.packetsReceived - received < 200)
            try await trial.bystander.isServed(.atMostOnce)
            commit.release()
            #expect(try await client.next().kind == .puback)
            for _ in 0..<1_000 { #expect(try await client.next() == .pingresp) }
        }
    }

    @Test("subscriptions wait for a commit like messages: a session that makes ever more is not read from")
    func uncommittedSubscriptions() async throws {
        try await withLimits(.held) {
            $0.limits.uncommittedBytesInAllMax = 5_000
        } _: { trial in
            let client = try await trial.connect.transport()
            try await client.sendConnect("c", expiry: 600)
            try await trial.store.next().release()
            #expect(try await client.next().kind == .connack)
            for id in 1...UInt16(10) {
                let filters = [Subscribe.Filter("\(id)".padded(to: 1_500))]
                try await client.send(.subscribe(Subscribe(packetID: id, filters: filters)))
            }
            let commit = try await trial.store.next()
            #expect(try await trial.bystander.sees(silent: client))
            #expect(trial.broker.statistics.uncommittedBytes < 7_000)
            try await trial.bystander.isServed(.atMostOnce)
            commit.release()
            let releasing = Task { await trial.store.releaseAll() }
            defer { releasing.cancel() }
            for _ in 0..<10 { #expect(try await client.next().kind == .suback) }
            try await trial.bystander.isServed()
        }
    }

    @Test("connections that owe CONNECT take half of all places, however many of them were allowed")
    func pendingHalf() async throws {
        try await withLimits {
            $0.limits.connectionsMax = 5
            $0.limits.connectsPendingMax = 100
        } _: { trial in
            let oldest = try await trial.connect.transport()
            let others = [try await trial.connect.transport(), try await trial.connect.transport()]
            #expect(try await oldest.nextOrEnd() == nil)
            let broker = trial.broker
            try await trial.bystander.wait(for: "its end") { broker.statistics.connections == 3 }
            #expect(broker.statistics.socketsRefused == 1)
            for (at, other) in others.enumerated() {
                try await other.sendConnect("\(at)")
                #expect(try await other.next().kind == .connack)
            }
            try await trial.bystander.isServed()
        }
    }

    @Test("no filters are left in the account of a session that subscribes and unsubscribes in turn")
    func treeNodesInTurn() async throws {
        try await withLimits {
            $0.limits.treeNodesMax = 20
        } _: { trial in
            let client = try await trial.connect()
            // Of two filters that share levels the first goes: what it takes along must be its own.
            var kept = 0
            for number in 0..<20 {
                let (long, short) = ("\(number)/b/c/d", "\(number)/b/c")
                guard try await client.reasons(subscribing: [long, short]) == [.success, .success] else { break }
                try await client.unsubscribe(long)
                kept += 1
            }
            // Seven levels have to fit, of which three stay: 15 and 4 fit, and not another three.
            #expect(kept == 5)
            #expect(trial.broker.statistics.treeNodes < 30)
            try await trial.bystander.isServed()
            try await client.unsubscribe("5/b/c/d")
            for number in 0..<5 { try await client.unsubscribe("\(number)/b/c") }
            let levels = (1...20).map { "\($0)" }
            #expect(
                try await client.reasons(subscribing: levels + ["x"]) == levels.map { _ in .success } + [.quotaExceeded]
            )
        }
    }

    @Test("drops that are no session's are told without a client")
    func dropsOfNobody() async throws {
        let lines = Mutex<[String]>([])
        let recorder = DropRecorder { line in lines.withLock { $0.append(line) } }
        var configuration = BrokerConfiguration()
        configuration.addresses = [.init(host: "127.0.0.1", port: 0)]
        configuration.limits.retainedMessagesMax = 0
        let broker = MQTTBroker(configuration: configuration, logger: Logger(label: "test") { _ in recorder })
        try await withBroker(broker) { broker, connect in
            let bystander = try await Bystander(connect)
            let member = try await connect("member", expiry: 600)
            try await member.subscribe("$share/g/shared")
            try await member.leave()
            let publisher = try await connect("publisher")
            try await publisher.publish("shared", "m")
            for topic in ["a", "b"] { try await publisher.publish(topic, "m", isRetained: true) }
            try await publisher.ping()
            #expect(broker.statistics.dropped[.noMember] == 1)
            #expect(broker.statistics.dropped[.notRetained] == 2)
            try await bystander.wait(for: "two lines") { lines.withLock { $0.count } >= 2 }
            try await bystander.isServed()
        }
        #expect(
            lines.withLock { $0.sorted() } == [
                "warning no-member none 1", "warning not-retained none 2",
            ]
        )
    }

    @Test("a shared subscription gives a message to a member that can take it", arguments: [false, true])
    func sharedWithFullMember(isConnected: Bool) async throws {
        try await withLimits {
            $0.limits.queuedMessagesMax = 2
            $0.limits.inFlightMax = 1
        } _: { trial in
            var members: [TestClient] = []
            for name in ["full", "free"] {
                let member = try await trial.connect(name, expiry: 600)
                try await member.subscribe("$share/g/t", .atLeastOnce)
                try await member.subscribe(name, .atLeastOnce)
                if !isConnected { try await member.leave() }
                members.append(member)
            }
            let publisher = try await trial.connect()
            for _ in 0..<(isConnected ? 3 : 2) { #expect(try await publisher.reason(publishing: "full") == .success) }
            #expect(try await publisher.reason(publishing: "full") == .quotaExceeded)
            for _ in 0..<2 { #expect(try await publisher.reason(publishing: "t", "shared") == .success) }
            try await trial.bystander.isServed()
            let free = isConnected ? members[1] : try await trial.connect("free", expiry: 600)
            #expect(try await free.nextPayloads(2) == ["shared", "shared"])
        }
    }
}

/// Level, cause, client and count of each line about drops.
private struct DropRecorder: LogHandler {
    let record: @Sendable (String) -> Void
    var logLevel = Logger.Level.trace
    var metadata = Logger.Metadata()

    init(_ record: @escaping @Sendable (String) -> Void) { self.record = record }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        guard event.message == "messages dropped", let metadata = event.metadata else { return }
        let values = ["cause", "client", "count"].map { metadata[$0].map { "\($0)" } ?? "" }
        record("\(event.level) " + values.joined(separator: " "))
    }
}

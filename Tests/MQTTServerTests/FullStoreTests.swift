import Logging
import MQTTPackets
import MQTTServer
import MQTTStore
import MQTTTesting
import NIOCore
import Synchronization
import Testing

@Suite("A full store", .timeLimit(.minutes(1))) struct FullStoreTests {
    /// A broker with a store that has just become full. `prepare` runs before.
    private func withFullStore<Prepared>(
        drainTime: Duration = .seconds(60),
        configure: @escaping (inout BrokerConfiguration) -> Void = { _ in },
        prepare: (Connector) async throws -> Prepared,
        _ body: (FullTrial, Prepared) async throws -> Void
    ) async throws {
        let store = FullStore()
        let broker = testBroker(threads: 2, store: store) {
            $0.drainTime = drainTime
            configure(&$0)
        }
        try await withBroker(broker) { broker, connect in
            let other = try await connect("other")
            let prepared = try await prepare(connect)
            let trial = FullTrial(store: store, broker: broker, connect: connect, other: other)
            try await trial.become(full: true)
            try await body(trial, prepared)
        }
    }

    private func subscribe(_ filters: String..., id: UInt16 = 1, qos: QoS = .atLeastOnce) -> Packet {
        let wanted = filters.map { Subscribe.Filter($0, SubscriptionOptions(qos: qos)) }
        return .subscribe(Subscribe(packetID: id, filters: wanted))
    }

    @Test("PUBLISH of QoS 1 and 2 and retained ones wait, in their order; QoS 0 and pings do not")
    func publishes() async throws {
        try await withFullStore {
            let subscriber = try await $0("subscriber", expiry: 60)
            try await subscriber.subscribe("t", .atLeastOnce)
            return subscriber
        } _: { trial, subscriber in
            let publisher = try await trial.connect()
            try await publisher.publish("t", "1", .atLeastOnce, id: 1)
            try await publisher.publish("t", "2", .exactlyOnce, id: 2)
            try await publisher.publish("t", "3", isRetained: true)
            try await publisher.publish("t", "4", .atLeastOnce, id: 4)
            try await publisher.publish("t", "at most once")
            try await publisher.ping()
            #expect(trial.broker.statistics.heldBytes > 0)
            #expect(try await subscriber.nextPayload() == "at most once")
            try await trial.become(full: false)
            for payload in ["1", "2", "3", "4"] { #expect(try await subscriber.nextPayload() == payload) }
            let answers = [try await publisher.next(), try await publisher.next(), try await publisher.next()]
            #expect(
                answers == [
                    .puback(Acknowledgement(packetID: 1)), .pubrec(Acknowledgement(packetID: 2)),
                    .puback(Acknowledgement(packetID: 4)),
                ]
            )
            #expect(trial.broker.statistics.heldBytes == 0)
        }
    }

    @Test("The time that a PUBLISH waits counts for its expiry [MQTT-3.3.2-5], [MQTT-3.3.2-6]")
    func expiry() async throws {
        try await withFullStore {
            let subscriber = try await $0("subscriber", expiry: 60)
            try await subscriber.subscribe("t", .atLeastOnce)
            return subscriber
        } _: { trial, subscriber in
            let publisher = try await trial.connect()
            for (id, seconds): (UInt16, UInt32) in [(1, 10), (2, 30)] {
                var publish = Publish(topic: "t", payload: ByteBuffer(), qos: .atLeastOnce, packetID: id)
                publish.properties[integer: .messageExpiryInterval] = seconds
                try await publisher.send(.publish(publish))
            }
            try await publisher.ping()
            try await trial.connect.clock.advance(by: .seconds(12))
            try await trial.become(full: false)
            for id in UInt16(1)...2 {
                #expect(try await publisher.next() == .puback(Acknowledgement(packetID: id)))
            }
            let received = try await subscriber.next()
            guard case .publish(let publish) = received else {
                Issue.record("\(received)")
                return
            }
            #expect(publish.properties[integer: .messageExpiryInterval] == 18)
            try await subscriber.ping()
            #expect(trial.broker.statistics.dropped[.expired] == 1)
        }
    }

    @Test("What makes room goes on behind a PUBLISH that waits: PUBACK, PUBREL")
    func draining() async throws {
        try await withFullStore { connect in
            let client = try await connect.transport()
            var hello = Connect(version: .v5, clientID: "c", cleanStart: true)
            hello.properties[integer: .sessionExpiryInterval] = 60
            hello.properties[integer: .receiveMaximum] = 1
            try await client.send(.connect(hello))
            #expect(try await client.next().kind == .connack)
            try await client.subscribe("t", .atLeastOnce)
            let publisher = try await connect()
            for id in UInt16(1)...2 {
                try await publisher.publish("t", "\(id)", .atLeastOnce, id: id)
                #expect(try await publisher.next() == .puback(Acknowledgement(packetID: id)))
            }
            // One that the broker has, and whose PUBREL comes on the full disk.
            try await client.publish("u", "m", .exactlyOnce, id: 9)
            var kinds: [PacketKind] = []
            for _ in 0..<2 { kinds.append(try await client.next().kind) }
            #expect(Set(kinds) == [.publish, .pubrec])
            return client
        } _: { trial, client in
            try await client.publish("u", "held", .atLeastOnce, id: 1)
            // Once more what was received before: it is not new.
            try await client.publish("u", "m", .exactlyOnce, id: 9)
            #expect(try await client.next().kind == .pubrec)
            try await client.send(.pubrel(Acknowledgement(packetID: 9)))
            #expect(try await client.next() == .pubcomp(Acknowledgement(packetID: 9)))
            try await client.send(.puback(Acknowledgement(packetID: 1)))
            #expect(try await client.nextPayload() == "2")
            try await trial.become(full: false)
            #expect(try await client.next().kind == .puback)
        }
    }

    @Test("SUBSCRIBE of a session that is stored waits, and no UNSUBSCRIBE overtakes it; that of others goes on")
    func subscriptions() async throws {
        try await withFullStore {
            try await $0("stored", expiry: 60)
        } _: { trial, client in
            try await client.send(subscribe("t", id: 1))
            try await client.send(.unsubscribe(Unsubscribe(packetID: 2, filters: ["t"])))
            try await client.send(subscribe("u", id: 3))
            try await client.ping()
            let passing = try await trial.connect("passing")
            try await passing.subscribe("t")
            #expect(trial.broker.statistics.subscriptions == 1)
            try await trial.become(full: false)
            guard case .suback(let first) = try await client.next(),
                case .unsuback(let second) = try await client.next(),
                case .suback(let third) = try await client.next()
            else {
                Issue.record("other packets")
                return
            }
            #expect([first.packetID, second.packetID, third.packetID] == [1, 2, 3])
            #expect(second.reasonCodes == [.success])
        }
    }

    @Test(
        "CONNECT that begins to store a session waits, also for a will; that of a stored session and of others goes on"
    )
    func connects() async throws {
        let will = Will(topic: "w", payload: ByteBuffer(string: "m"))
        try await withFullStore {
            try await $0("stored", expiry: 60).close()
        } _: { trial, _ in
            let new = try await trial.connect.transport()
            try await new.sendConnect("new", expiry: 60)
            // Behind CONNECT everything waits.
            try await new.send(.pingreq)
            let willing = try await trial.connect.transport()
            try await willing.sendConnect("willing", will: will)
            let stored = try await trial.connect("stored", will: will, expiry: 60)
            try await stored.ping()
            _ = try await trial.connect("passing")
            #expect(new.received == 0 && willing.received == 0)
            try await trial.become(full: false)
            #expect(try await new.next().kind == .connack)
            #expect(try await new.next() == .pingresp)
            #expect(try await willing.next().kind == .connack)
            #expect(trial.broker.statistics.connects == 6)
        }
    }

    @Test("What waits for longer than the drain time is answered with 0x97")
    func overdue() async throws {
        try await withFullStore(drainTime: .milliseconds(200)) {
            try await $0("stored", expiry: 60)
        } _: { trial, client in
            let new = try await trial.connect.transport()
            try await new.sendConnect("new", expiry: 60)
            try await client.publish("t", "1", .atLeastOnce, id: 1)
            try await client.publish("t", "2", .exactlyOnce, id: 2)
            try await client.publish("t", "3", isRetained: true)
            try await client.send(subscribe("t", "u", id: 3))
            try await client.send(.unsubscribe(Unsubscribe(packetID: 4, filters: ["t"])))
            let quota = ReasonCode.quotaExceeded
            #expect(try await client.next() == .puback(Acknowledgement(packetID: 1, reasonCode: quota)))
            #expect(try await client.next() == .pubrec(Acknowledgement(packetID: 2, reasonCode: quota)))
            #expect(try await client.next() == .suback(Suback(packetID: 3, reasonCodes: [quota, quota])))
            #expect(try await client.next().kind == .unsuback)
            #expect(trial.broker.statistics.publishRefused == 3)
            guard case .connack(let connack)? = try await new.nextOrEnd() else {
                Issue.record("no CONNACK")
                return
            }
            #expect(connack.reasonCode == quota)
            #expect(try await new.nextOrEnd() == nil)
            // The identifier is free for another message.
            try await trial.become(full: false)
            try await client.publish("t", "again", .exactlyOnce, id: 2)
            let answer = Acknowledgement(packetID: 2, reasonCode: .noMatchingSubscribers)
            #expect(try await client.next() == .pubrec(answer))
        }
    }

    @Test("Before 5.0 there is no such answer to a PUBLISH: the connection is closed. SUBACK has 0x80, CONNACK 3")
    func overdueBefore5() async throws {
        try await withFullStore(drainTime: .milliseconds(200)) {
            (
                try await $0("publisher", version: .v3_1_1, expiry: 60),
                try await $0("subscriber", version: .v3_1_1, expiry: 60)
            )
        } _: { trial, clients in
            let (publisher, subscriber) = clients
            let new = try await trial.connect.transport()
            new.version = .v3_1_1
            try await new.sendConnect("new", expiry: 60)
            try await publisher.publish("t", "1", .atLeastOnce, id: 1)
            try await subscriber.send(subscribe("t", id: 3))
            #expect(try await publisher.nextOrEnd() == nil)
            #expect(try await subscriber.next() == .suback(Suback(packetID: 3, reasonCodes: [.unspecifiedError])))
            guard case .connack(let connack)? = try await new.nextOrEnd() else {
                Issue.record("no CONNACK")
                return
            }
            #expect(connack.reasonCode == .serverUnavailable)
            #expect(try await new.nextOrEnd() == nil)
        }
    }

    @Test("A topic alias that a PUBLISH which waits has defined holds for those behind it, also when it was refused")
    func aliases() async throws {
        func publish(_ topic: String, _ payload: String, _ qos: QoS, id: UInt16? = nil) -> Packet {
            var publish = Publish(topic: topic, payload: ByteBuffer(string: payload), qos: qos, packetID: id)
            publish.properties[integer: .topicAlias] = 1
            return .publish(publish)
        }
        try await withFullStore(drainTime: .milliseconds(200)) {
            let subscriber = try await $0()
            try await subscriber.subscribe("#")
            return subscriber
        } _: { trial, subscriber in
            let publisher = try await trial.connect()
            try await publisher.send(publish("t", "refused", .atLeastOnce, id: 1))
            try await publisher.send(publish("", "at most once", .atMostOnce))
            #expect(try await publisher.next() == .puback(Acknowledgement(packetID: 1, reasonCode: .quotaExceeded)))
            guard case .publish(let message) = try await subscriber.next() else {
                Issue.record("no PUBLISH")
                return
            }
            #expect(message.topic == "t" && String(buffer: message.payload) == "at most once")
        }
    }

    @Test("What is held of a connection is bounded: it is read no further, and nothing is lost")
    func bound() async throws {
        try await withFullStore {
            $0.limits.uncommittedBytesMax = 50_000
        } prepare: {
            let subscriber = try await $0("subscriber", expiry: 60)
            try await subscriber.subscribe("t", .atLeastOnce)
            return subscriber
        } _: { trial, subscriber in
            let publisher = try await trial.connect(version: .v3_1_1)
            let payload = String(repeating: "x", count: 2_000)
            for id in UInt16(1)...200 { try await publisher.publish("t", payload, .atLeastOnce, id: id) }
            while trial.broker.statistics.heldBytes < 50_000 { try await trial.other.ping() }
            for _ in 0..<20 { try await trial.other.ping() }
            #expect(trial.broker.statistics.heldBytes < 60_000)
            #expect(publisher.received == 1)
            try await trial.become(full: false)
            for id in UInt16(1)...200 {
                #expect(try await publisher.next() == .puback(Acknowledgement(packetID: id)))
                guard case .publish(let message) = try await subscriber.next(), let id = message.packetID else {
                    Issue.record("no PUBLISH")
                    return
                }
                try await subscriber.send(.puback(Acknowledgement(packetID: id)))
            }
        }
    }

    @Test("Where too much is held of all connections another PUBLISH is answered with 0x97 at once")
    func boundInAll() async throws {
        try await withFullStore {
            $0.limits.uncommittedBytesInAllMax = 5_000
        } prepare: { _ in
        } _: { trial, _ in
            let (first, second) = (try await trial.connect(), try await trial.connect())
            let payload = String(repeating: "x", count: 6_000)
            try await first.publish("t", payload, .atLeastOnce, id: 1)
            while trial.broker.statistics.heldBytes == 0 { try await trial.other.ping() }
            try await second.publish("t", payload, .atLeastOnce, id: 1)
            #expect(try await second.next() == .puback(Acknowledgement(packetID: 1, reasonCode: .quotaExceeded)))
            try await trial.become(full: false)
            #expect(try await first.next().kind == .puback)
        }
    }

    @Test("What is held of a connection goes with it, and is counted")
    func closing() async throws {
        try await withFullStore { _ in
        } _: { trial, _ in
            let publisher = try await trial.connect("publisher")
            try await publisher.publish("t", "1", .atLeastOnce, id: 1)
            try await publisher.publish("t", "2", isRetained: true)
            try await publisher.ping()
            _ = try await trial.connect("publisher")
            #expect(trial.broker.statistics.heldBytes == 0)
            #expect(trial.broker.statistics.publishRefused == 2)
            try await trial.become(full: false)
            try await trial.other.subscribe("t")
            try await trial.other.ping()
        }
    }

    @Test("That the store is full, has room again, or has failed is logged at once, and once")
    func log() async throws {
        let store = FullStore()
        let lines = LogLines()
        let logger = Logger(label: "test") { _ in lines.handler }
        var configuration = BrokerConfiguration()
        configuration.addresses = [.init(host: "127.0.0.1", port: 0)]
        let broker = MQTTBroker(configuration: configuration, store: store, logger: logger)
        try await withBroker(broker) { broker, connect in
            let other = try await connect()
            let publisher = try await connect()
            try await store.become(full: true, broker, other)
            try await publisher.publish("t", "m", .atLeastOnce, id: 1)
            for _ in 0..<20 { try await other.ping() }
            try await store.become(full: false, broker, other)
            #expect(try await publisher.next().kind == .puback)
            store.say { $0.lastFailure = "bytes that cannot be read" }
            while broker.storeStatistics?.lastFailure == nil { try await other.ping() }
            for _ in 0..<20 { try await other.ping() }
        }
        let said = lines.all.filter { $0.contains("store") }
        #expect(
            said == [
                "error the store is full: new messages, subscriptions and sessions wait until there is room",
                "notice the store has room again", "error the store has failed bytes that cannot be read",
            ]
        )
    }
}

/// One broker, its store, and a client that does nothing else.
private struct FullTrial {
    let store: FullStore
    let broker: MQTTBroker
    let connect: Connector
    let other: TestClient

    func become(full isFull: Bool) async throws { try await store.become(full: isFull, broker, other) }
}

/// What was logged.
private final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])

    var all: [String] { lines.withLock { $0 } }
    var handler: any LogHandler { Handler(lines: self) }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let reason = event.metadata?["reason"].map { " \($0)" } ?? ""
            lines.lines.withLock { $0.append("\(event.level) \(event.message)\(reason)") }
        }
    }
}

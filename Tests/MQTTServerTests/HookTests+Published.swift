import MQTTPackets
import MQTTServer
import MQTTStore
import MQTTStoreTesting
import MQTTTesting
import NIOCore
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct HookPublishedTests {
    @Test(
        "[MQTT-4.3.2-4] [MQTT-4.3.3-8] PUBACK and PUBREC wait for published, and receivers do not",
        arguments: HookPublishTests.deliveries
    )
    func waits(_ version: ProtocolVersion, _ qos: QoS) async throws {
        let (calls, door) = (Calls<(ClientInfo, Message)>(), Door())
        var hooks = BrokerHooks()
        hooks.published = { client, message in
            calls.record((client, message))
            await door.pass()
            return .acknowledge
        }
        try await withBroker(testBroker(threads: 1, hooks: hooks)) { _, connect in
            let watcher = try await connect("w")
            try await watcher.subscribe("t")
            let client = try await connect("c", version: version)
            try await client.publish("t", "m", qos, id: 5)
            try await client.send(.pingreq)
            #expect(try await watcher.nextPayload() == "m")
            let (publisher, message) = try await calls.next()
            #expect(publisher.id == "c")
            #expect(message.topic == "t")
            #expect(message.payloadString == "m")
            #expect(message.qos == qos)
            for _ in 0..<20 { try await watcher.ping() }
            #expect(client.received == 1)
            door.open()
            let answer = Acknowledgement(packetID: 5)
            #expect(try await client.next() == (qos == .atLeastOnce ? .puback(answer) : .pubrec(answer)))
            #expect(try await client.next() == .pingresp)
        }
    }

    @Test("a refusal is a reason code in 5.0 and a line in the log before", arguments: HookPublishTests.deliveries)
    func refuses(_ version: ProtocolVersion, _ qos: QoS) async throws {
        let log = HookLog()
        var hooks = BrokerHooks()
        hooks.published = { _, message in
            switch message.payloadString {
            case "refused": return .refuse(.quotaExceeded)
            case "throws": throw HookFault()
            default: return .acknowledge
            }
        }
        try await withBroker(testBroker(hooks: hooks, logger: log.logger)) { _, connect in
            let watcher = try await connect("w")
            try await watcher.subscribe("t")
            let client = try await connect("c", version: version)
            for (payload, reason) in [
                ("refused", ReasonCode.quotaExceeded), ("throws", .implementationSpecificError), ("taken", .success),
            ] {
                let answer = try await client.reason(publishing: "t", payload, qos, id: 5)
                #expect(answer == reason.inPuback(version))
                #expect(try await watcher.nextPayload() == payload)
                // In 5.0 a refusal has freed the identifier [MQTT-4.3.3-9].
                guard qos == .exactlyOnce, !answer.isError else { continue }
                try await client.send(.pubrel(Acknowledgement(packetID: 5)))
                #expect(try await client.next() == .pubcomp(Acknowledgement(packetID: 5)))
            }
            #expect(log.hooks.count == (version == .v5 ? 1 : 2))
        }
    }

    @Test("a hook that hangs refuses its message, and the next one goes on")
    func hangs() async throws {
        let (log, door) = (HookLog(), Door())
        var hooks = BrokerHooks()
        hooks.published = { _, message in
            if message.payloadString == "hangs" { await door.pass() }
            return .acknowledge
        }
        let broker = testBroker(hooks: hooks, logger: log.logger) { $0.hookTimeout = .milliseconds(50) }
        try await withBroker(broker) { _, connect in
            let client = try await connect("c")
            #expect(try await client.reason(publishing: "t", "hangs") == .implementationSpecificError)
            #expect(try await client.reason(publishing: "t", "goes on") == .noMatchingSubscribers)
            #expect(log.hooks == ["published"])
            door.open()
        }
    }

    @Test("messages of one client come in order, of clients side by side, at QoS 0 too, and not wills or $SYS")
    func order() async throws {
        let (calls, door) = (Calls<String>(), Door())
        var hooks = BrokerHooks()
        hooks.published = { client, message in
            calls.record(client.id + message.payloadString)
            if message.payloadString == "1" && client.id == "slow" { await door.pass() }
            return .acknowledge
        }
        let broker = testBroker(hooks: hooks) { $0.systemTopicsInterval = .milliseconds(10) }
        try await withBroker(broker) { broker, connect in
            let slow = try await connect("slow", will: Will(topic: "gone", payload: ByteBuffer(string: "will")))
            for number in 1...3 {
                try await slow.publish("t", "\(number)", QoS(rawValue: UInt8(number - 1)) ?? .atMostOnce, id: 9)
            }
            #expect(try await calls.next() == "slow1")
            let fast = try await connect("fast")
            try await fast.publish("t", "1")
            #expect(try await calls.next() == "fast1")
            // It has gone before the hook comes to the rest.
            try await slow.close()
            try await fast.ping()
            door.open()
            #expect(try await calls.next() == "slow2")
            #expect(try await calls.next() == "slow3")
            #expect(calls.all.count == 4)
        }
    }

    @Test("a publisher whose messages the hook does not take is read no further, and goes on later")
    func backPressure() async throws {
        let (taken, door) = (Calls<String>(), Door())
        var hooks = BrokerHooks()
        hooks.published = { _, message in
            await door.pass()
            taken.record(message.topic)
            return .acknowledge
        }
        let broker = testBroker(hooks: hooks) { $0.limits.uncommittedBytesMax = 64 << 10 }
        try await withBroker(broker) { broker, connect in
            let client = try await connect("c")
            let payload = String(repeating: "x", count: 8 << 10)
            for _ in 0..<100 { try await client.publish("t", payload) }
            let other = try await connect("other")
            for _ in 0..<20 { try await other.ping() }
            #expect(broker.statistics.publishReceived < 20)
            door.open()
            try await client.ping()
            #expect(broker.statistics.publishReceived == 100)
        }
        #expect(taken.all.count == 100)
    }

    @Test("the hook is called after the commit of the message")
    func afterCommit() async throws {
        let calls = Calls<String>()
        var hooks = BrokerHooks()
        hooks.published = { _, message in
            calls.record(message.payloadString)
            return .acknowledge
        }
        let store = HeldStore()
        try await withBroker(testBroker(threads: 1, store: store, hooks: hooks)) { _, connect in
            let other = try await connect()
            let client = try await connect()
            try await client.publish("t", "m", .atLeastOnce, id: 7, isRetained: true)
            let commit = try await store.next()
            for _ in 0..<20 { try await other.ping() }
            #expect(calls.all.isEmpty)
            #expect(client.received == 1)
            commit.release()
            #expect(try await calls.next() == "m")
            #expect(try await client.next().kind == .puback)
        }
    }

    @Test("a broker that is killed before its acknowledgement calls the hook again for what the client repeats")
    func killed() async throws {
        let store = KillableStore()
        let (calls, door) = (Calls<String>(), Door())
        var hooks = BrokerHooks()
        hooks.published = { _, message in
            calls.record(message.payloadString)
            await door.pass()
            return .acknowledge
        }
        var left = store
        try await withBroker(testBroker(threads: 1, store: store, hooks: hooks)) { _, connect in
            let sleeper = try await connect("sleeper", expiry: 600)
            try await sleeper.subscribe("t", .exactlyOnce)
            try await sleeper.leave()
            let client = try await connect("c", expiry: 600)
            try await client.publish("t", "m", .exactlyOnce, id: 7)
            #expect(try await calls.next() == "m")
            #expect(client.received == 1, "nothing is acknowledged yet")
            left = store.kill()
            door.open()
        }
        try await withBroker(testBroker(threads: 1, store: left, hooks: hooks)) { _, connect in
            let client = try await connect("c", expiry: 600)
            let payload = ByteBuffer(string: "m")
            let again = Publish(topic: "t", payload: payload, qos: .exactlyOnce, isDuplicate: true, packetID: 7)
            try await client.send(.publish(again))
            #expect(try await calls.next() == "m")
            #expect(try await client.next() == .pubrec(Acknowledgement(packetID: 7)))
            try await client.send(.pubrel(Acknowledgement(packetID: 7)))
            #expect(try await client.next().kind == .pubcomp)
            let sleeper = try await connect("sleeper", expiry: 600)
            #expect(try await sleeper.nextPayload() == "m")
            try await sleeper.ping()
            #expect(sleeper.received == 3, "it has the message once")
        }
    }
}

/// What a broker had committed when it was killed, for the next one.
private final class KillableStore: MessageStore {
    let isDurable = true
    private let contents: Mutex<StoreContents>
    private let isKilled = Atomic<Bool>(false)

    init(_ contents: StoreContents = StoreContents()) { self.contents = Mutex(contents) }

    /// Nothing is committed any more, whatever the broker goes on to do.
    func kill() -> KillableStore {
        isKilled.store(true, ordering: .sequentiallyConsistent)
        return KillableStore(contents.withLock { $0 })
    }

    func open() async throws -> StoredState { contents.withLock { $0.state } }

    func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]] {
        contents.withLock { contents in
            pages.map { Array(contents.messages(of: $0.incarnation, from: $0.number).prefix($0.count)) }
        }
    }

    func commit(_ changes: [StoreChange]) async throws {
        guard !isKilled.load(ordering: .sequentiallyConsistent) else { return }
        contents.withLock { $0.apply(changes) }
    }
}

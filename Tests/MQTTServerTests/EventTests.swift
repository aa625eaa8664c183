import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct EventTests {
    @Test("the life of a client, in order", arguments: [ProtocolVersion.v3_1_1, .v5])
    func life(_ version: ProtocolVersion) async throws {
        let broker = testBroker()
        let log = EventLog(broker)
        try await withBroker(broker) { _, connect in
            let client = try await connect("a", version: version)
            try await client.subscribe("t/#", .exactlyOnce)
            try await client.publish("t/1", "one", .atLeastOnce, id: 5)
            try await client.acknowledge(1)
            #expect(try await client.next().kind == .puback)
            try await client.publish("u", "nobody")
            try await client.send(.unsubscribe(Unsubscribe(packetID: 6, filters: ["t/#", "never"])))
            _ = try await client.next()
            try await client.ping()
            try await client.send(.disconnect(Disconnect()))
            #expect(try await client.nextOrEnd() == nil)
        }
        #expect(
            try await log.all() == [
                "connecting a", "connected a", "ready a", "subscribed a [\"t/#@2\"]", "published t/1=one@1 by a",
                "delivered t/1=one@1 to a", "published u=nobody@0 by a", "unsubscribed a [\"t/#\"]", "ping a",
                "disconnected a: client disconnected",
            ]
        )
    }

    @Test("a message of QoS 2 is delivered with PUBREC, and once")
    func exactlyOnce() async throws {
        let broker = testBroker()
        let log = EventLog(broker)
        try await withBroker(broker) { broker, connect in
            let client = try await connect("a")
            try await client.subscribe("t", .exactlyOnce)
            try await broker.publish("m", to: "t", qos: .exactlyOnce)
            guard case .publish(let publish) = try await client.next(), let id = publish.packetID else { return }
            for _ in 0..<2 {
                try await client.send(.pubrec(Acknowledgement(packetID: id)))
                #expect(try await client.next().kind == .pubrel)
            }
            try await client.send(.pubcomp(Acknowledgement(packetID: id)))
            try await client.ping()
        }
        let lines = try await log.all()
        #expect(lines.filter { $0.hasPrefix("delivered") } == ["delivered t=m@2 to a"])
        #expect(lines.contains("published t=m@2 by -"))
    }

    @Test("a client is ready when all that waited for it is sent, and is told as such once")
    func ready() async throws {
        let broker = testBroker()
        let log = EventLog(broker)
        try await withBroker(broker) { broker, connect in
            let first = try await connect("a", expiry: 60)
            try await first.subscribe("t", .atLeastOnce)
            try await first.close()
            let other = try await connect("b")
            for id in 1...150 {
                try await other.publish("t", "\(id)", .atLeastOnce, id: UInt16(id))
                _ = try await other.next()
            }
            let second = try await connect("a", expiry: 60)
            // 100 are in flight; more come with acknowledgements, and with new messages.
            try await broker.publish("new", to: "t", qos: .atLeastOnce)
            try await second.acknowledge(151)
            try await second.ping()
        }
        let lines = try await log.all().filter { $0.hasSuffix(" a") || $0.hasPrefix("delivered") }
        let connected = try #require(lines.lastIndex(of: "connected a"))
        let ready = try #require(lines.lastIndex(of: "ready a"))
        #expect(lines.count { $0 == "ready a" } == 2)
        // What was sent when it became ready was at most what is in flight ahead of the last acknowledgement.
        #expect(lines[connected..<ready].count { $0.hasPrefix("delivered") } >= 50)
        #expect(lines[ready...].contains("delivered t=150@1 to a"))
    }

    @Test("errors: before CONNECT, in CONNECT, and behind it")
    func errors() async throws {
        let broker = testBroker()
        let log = EventLog(broker)
        try await withBroker(broker) { _, connect in
            let stranger = try await connect.transport()
            try await stranger.send(ByteBuffer(string: "GET / HTTP/1.1\r\n\r\n"))
            #expect(try await stranger.nextOrEnd() == nil)
            let refused = try await connect.transport()
            try await refused.sendConnect("b", will: Will(topic: "$SYS/b", payload: ByteBuffer()))
            #expect(try await refused.next().kind == .connack)
            #expect(try await refused.nextOrEnd() == nil)
            let wrong = try await connect("a")
            try await wrong.send(.connect(Connect(version: .v5, clientID: "a")))
            #expect(try await wrong.disconnectReason() == .protocolError)
        }
        let lines = try await log.all()
        #expect(
            lines == [
                "connection error \"\": first packet is no CONNECT",
                "connecting b", "error b: refused: not authorized (0x87)", "connecting a", "connected a", "ready a",
                "error a: a second CONNECT", "disconnected a: a second CONNECT",
            ]
        )
    }

    @Test("taking over, the will, and a session that expires")
    func endings() async throws {
        let broker = testBroker()
        let log = EventLog(broker)
        try await withBroker(broker) { broker, connect in
            let events = broker.events
            let old = try await connect("a", will: Will(topic: "w", payload: ByteBuffer(string: "gone")))
            let new = try await connect("a", expiry: 1)
            #expect(try await old.disconnectReason() == .sessionTakenOver)
            try await new.close()
            try await events.wait("expiry") { if case .sessionExpired("a") = $0 { true } else { false } }
        }
        let lines = try await log.all()
        #expect(
            lines == [
                "connecting a", "connected a", "ready a", "connecting a", "taken over a",
                "disconnected a: session taken over", "published w=gone@0 by -", "will w=gone@0 of a", "connected a",
                "ready a", "disconnected a: connection lost", "expired a",
            ]
        )
    }

    @Test("keep alive that is not kept")
    func keepAlive() async throws {
        let broker = testBroker()
        let log = EventLog(broker)
        try await withBroker(broker) { _, connect in
            let client = try await connect.transport()
            try await client.send(.connect(Connect(version: .v5, clientID: "a", keepAlive: 1)))
            _ = try await client.next()
            #expect(try await client.disconnectReason() == .keepAliveTimeout)
        }
        let lines = try await log.all()
        #expect(lines.suffix(2) == ["keep alive a", "disconnected a: keep alive timeout (0x8D)"])
    }

    @Test("drops have their message, receiver and cause")
    func drops() async throws {
        let broker = testBroker { $0.limits.queuedMessagesMax = 1 }
        let log = EventLog(broker)
        try await withBroker(broker) { broker, connect in
            let first = try await connect("a", expiry: 60)
            try await first.subscribe("t", .atLeastOnce)
            let events = broker.events
            try await first.close()
            try await events.wait("the end of a") { if case .clientDisconnected = $0 { true } else { false } }
            try await broker.publish("0", to: "t")
            try await broker.publish("1", to: "t", qos: .atLeastOnce)
            await #expect(throws: HostError.quotaExceeded) {
                try await broker.publish("2", to: "t", qos: .atLeastOnce)
            }
            try await broker.endSession(of: "a")
        }
        #expect(
            try await log.all().filter { $0.hasPrefix("dropped") } == [
                "dropped t=0@0 for a: qos0-offline 1", "dropped t=2@1 for a: queue-full 1",
                "dropped - for a: session-ended 1",
            ]
        )
    }

    @Test("a reader that is too slow loses its oldest events and is told how many; another loses none")
    func losses() async throws {
        let broker = testBroker()
        let slow = broker.events(buffering: 10)
        let quick = broker.events(buffering: 1_000)
        try await withBroker(broker) { broker, _ in
            for number in 0..<100 { try await broker.publish("\(number)", to: "t") }
        }
        func lines(_ events: BrokerEvents) async throws -> [String] {
            try await within("the events") {
                var lines: [String] = []
                for await event in events { lines.append(event.line) }
                return lines
            }
        }
        let all = (0..<100).map { "published t=\($0)@0 by -" }
        #expect(try await lines(quick) == all)
        #expect(try await lines(slow) == ["lost 90"] + all.suffix(10))
    }

    @Test("with several loops each publisher's messages are told in order, and all of them")
    func order() async throws {
        let broker = testBroker(threads: 3)
        let log = EventLog(broker)
        try await withBroker(broker) { _, connect in
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                for name in ["a", "b", "c", "d"] {
                    tasks.addTask {
                        let client = try await connect(name)
                        for number in 0..<500 { try await client.publish(name, "\(number)") }
                        try await client.ping()
                    }
                }
                try await tasks.waitForAll()
            }
        }
        let lines = try await log.all()
        for name in ["a", "b", "c", "d"] {
            let told = lines.filter { $0.hasPrefix("published \(name)=") }
            #expect(told == (0..<500).map { "published \(name)=\($0)@0 by \(name)" })
        }
    }

    @Test("what host code does by itself is no client's: only its messages are told")
    func hostCode() async throws {
        let broker = testBroker()
        let log = EventLog(broker)
        try await withBroker(broker) { broker, _ in
            let messages = try await broker.subscribe(to: "t", qos: .atLeastOnce)
            try await broker.publish("m", to: "t", qos: .atLeastOnce)
            try await within("the message") { for await _ in messages { return } }
        }
        let lines = try await log.all()
        #expect(lines == ["published t=m@1 by -"])
    }

    @Test("events end when an address cannot be listened on, and there are none after the end")
    func end() async throws {
        try await withBroker(.live) { first, _ in
            let port = try #require(try await first.address().port)
            let second = testBroker(addresses: [.init(host: "127.0.0.1", port: port)])
            let log = EventLog(second)
            await #expect(throws: BrokerError.self) { try await second.run() }
            #expect(try await log.all() == [])
            #expect(try await EventLog(second).all() == [])
        }
    }

    @Test("messages about clients are told, the broker's figures are not")
    func ownMessages() async throws {
        let broker = testBroker {
            $0.clientTopics = .mosca
            $0.brokerID = "me"
            $0.systemTopicsInterval = .milliseconds(50)
        }
        let log = EventLog(broker)
        try await withBroker(broker) { _, connect in
            let client = try await connect("a")
            try await client.subscribe("$SYS/broker/version")
            _ = try await client.nextPayload()
        }
        let published = try await log.all().filter { $0.hasPrefix("published") }
        #expect(
            published == [
                "published $SYS/me/new/clients=a@0 by -",
                "published $SYS/me/new/subscribes={\"clientId\":\"a\",\"topic\":\"$SYS/broker/version\"}@0 by -",
                "published $SYS/me/disconnect/clients=a@0 by -",
            ]
        )
    }
}

import MQTTCore
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite("Retained messages that meet a limit", .timeLimit(.minutes(1))) struct LimitRetainedTests {
    @Test("what cannot be retained takes the topic's old retained message away", arguments: [false, true])
    func replacedByNothing(isHeard: Bool) async throws {
        try await withLimits {
            // Two messages of 309 bytes.
            $0.limits.retainedBytesMax = 800
        } _: { trial in
            let publisher = try await trial.connect()
            for topic in ["a", "b"] {
                let payload = topic.padded(to: 100)
                #expect(
                    try await publisher.reason(publishing: topic, payload, isRetained: true) == .noMatchingSubscribers
                )
            }
            let observer = try await trial.connect()
            if isHeard { try await observer.subscribe("a", .atMostOnce) }
            if isHeard { #expect(try await observer.nextPayload() == "a".padded(to: 100)) }
            let larger = "larger".padded(to: 500)
            #expect(
                try await publisher.reason(publishing: "a", larger, isRetained: true)
                    == (isHeard ? .success : .quotaExceeded)
            )
            if isHeard { #expect(try await observer.nextPayload() == larger) }
            #expect(trial.broker.statistics.retainedMessages == 1)
            #expect(trial.broker.statistics.dropped[.notRetained] == 1)
            try await trial.bystander.isServed()
            let late = try await trial.connect()
            try await late.subscribe("#")
            #expect(try await late.nextPayload() == "b".padded(to: 100))
            try await late.ping()
            // Its place is free.
            #expect(try await publisher.reason(publishing: "a", "small", isRetained: true) == .success)
            #expect(try await late.nextPayload() == "small")
        }
    }

    @Test(
        "a message that is retained is not answered 0x97, although every queue is full",
        arguments: [QoS.atLeastOnce, .exactlyOnce]
    )
    func retainedAndNotQueued(_ qos: QoS) async throws {
        try await withLimits {
            $0.limits.queuedMessagesMax = 1
        } _: { trial in
            try await trial.sleeper("sleeper", "t", .exactlyOnce)
            let publisher = try await trial.connect()
            #expect(try await publisher.reason(publishing: "t", "queued", qos, id: 1) == .success)
            #expect(try await publisher.reason(publishing: "t", "retained", qos, id: 2, isRetained: true) == .success)
            #expect(try await publisher.reason(publishing: "t", "lost", qos, id: 3) == .quotaExceeded)
            // It clears what was retained, and nobody gets it.
            #expect(try await publisher.reason(publishing: "t", "", qos, id: 4, isRetained: true) == .quotaExceeded)
            #expect(trial.broker.statistics.retainedMessages == 0)
            #expect(trial.broker.statistics.dropped[.queueFull] == 3)
            try await trial.bystander.isServed()
        }
    }

    @Test("expired retained messages go although nobody asks for them")
    func sweep() async throws {
        try await withLimits { _ in
        } _: { trial in
            let publisher = try await trial.connect()
            var burst = ByteBuffer()
            for number in 0..<1_200 {
                var publish = Publish(topic: "t/\(number)", payload: ByteBuffer(string: "m"), isRetained: true)
                // Every third stays.
                if number % 3 > 0 { publish.properties[integer: .messageExpiryInterval] = 1 }
                PacketEncoder(version: .v5).encode(.publish(publish), into: &burst)
            }
            try await publisher.send(burst)
            try await publisher.ping()
            let broker = trial.broker
            #expect(broker.statistics.retainedMessages == 1_200)
            try await trial.bystander.wait(for: "the sweep") { broker.statistics.retainedMessages <= 400 }
            #expect(broker.statistics.retainedMessages == 400)
            try await trial.bystander.isServed()
            let late = try await trial.connect()
            try await late.subscribe("t/+")
            for _ in 0..<400 { #expect(try await late.nextPayload() == "m") }
            try await late.ping()
        }
    }

    /// Publishes one retained message to each topic, with the topic for its payload.
    private func retain(_ topics: [String], _ trial: LimitTrial) async throws {
        // Of an older version: nothing limits how many it sends at once.
        let publisher = try await trial.connect(version: .v3_1_1)
        var burst = ByteBuffer()
        for (at, topic) in topics.enumerated() {
            let publish = Publish(
                topic: topic,
                payload: ByteBuffer(string: topic),
                qos: .atLeastOnce,
                isRetained: true,
                packetID: UInt16(at + 1)
            )
            PacketEncoder(version: .v3_1_1).encode(.publish(publish), into: &burst)
        }
        try await publisher.send(burst)
        for _ in topics { #expect(try await publisher.next().kind == .puback) }
        #expect(trial.broker.statistics.retainedMessages == topics.count)
    }

    private func subscribe(
        _ filters: [String],
        _ qos: QoS,
        _ handling: SubscriptionOptions.RetainHandling = .always
    ) -> Packet {
        let options = SubscriptionOptions(qos: qos, retainHandling: handling)
        return .subscribe(Subscribe(packetID: 1, filters: filters.map { Subscribe.Filter($0, options) }))
    }

    /// The next message's topic; a message at QoS 1 is acknowledged.
    private func take(_ publish: Publish, _ client: TestClient) async throws -> String {
        #expect(String(buffer: publish.payload) == publish.topic)
        if let id = publish.packetID { try await client.send(.puback(Acknowledgement(packetID: id))) }
        return publish.topic
    }

    @Test(
        "10,000 filters without wildcards in one SUBSCRIBE each get their retained message",
        arguments: [QoS.atMostOnce, .atLeastOnce]
    )
    func exactFilters(_ qos: QoS) async throws {
        try await withLimits { _ in
        } _: { trial in
            let topics = (0..<10_000).map { "e/\($0)" }
            try await retain(topics, trial)
            let client = try await trial.connect()
            for packet in [subscribe(topics, qos), .pingreq] { try await client.send(packet) }
            var left = Set(topics)
            var isPinged = false
            var suback: Suback?
            while !(left.isEmpty && isPinged) {
                switch try await client.next() {
                case .suback(let packet): suback = packet
                case .pingresp: isPinged = true
                case .publish(let publish): #expect(left.remove(try await take(publish, client)) != nil)
                case let packet: Issue.record("\(packet.kind)")
                }
            }
            #expect(suback?.reasonCodes == topics.map { _ in ReasonCode(rawValue: qos.rawValue) })
            try await client.ping()
            #expect(trial.broker.statistics.dropped.total == 0)
            try await trial.bystander.isServed()
        }
    }

    @Test("UNSUBSCRIBE ends what a subscription is owed of retained messages, and a new SUBSCRIBE renews it")
    func endAndRenew() async throws {
        try await withLimits {
            $0.limits.inFlightMax = 10
        } _: { trial in
            let topics = (100..<1_100).map { "e/\($0)" }
            try await retain(topics, trial)
            let client = try await trial.connect()
            try await client.send(subscribe(topics, .atLeastOnce))
            #expect(try await client.next().kind == .suback)
            var first: [Publish] = []
            for _ in 0..<10 { first.append(try await client.nextPublish()) }
            // The rest waits for the acknowledgements of these ten.
            try await client.unsubscribe("e/1000")
            let changes: [(String, SubscriptionOptions.RetainHandling)] = [
                ("e/1001", .always), ("e/1002", .never), ("e/1003", .ifNew), ("e/100", .always),
            ]
            for (filter, handling) in changes {
                try await client.send(subscribe([filter], .atLeastOnce, handling))
                #expect(try await client.next().kind == .suback)
            }
            // Ended, and begun anew.
            try await client.unsubscribe("e/1004")
            try await client.send(subscribe(["e/1004"], .atLeastOnce, .ifNew))
            #expect(try await client.next().kind == .suback)
            try await trial.bystander.isServed()

            var taken: [String] = []
            for publish in first { taken.append(try await take(publish, client)) }
            let gone: Set = ["e/1000", "e/1002", "e/1003"]
            let expected = (topics.filter { !gone.contains($0) } + ["e/100"]).sorted()
            while taken.count < expected.count { taken.append(try await take(client.nextPublish(), client)) }
            #expect(taken.sorted() == expected)
            try await client.ping()
            #expect(trial.broker.statistics.dropped.total == 0)
        }
    }

    @Test(
        "a client that owes itself more than 1,000 replays with wildcards is read from again, whatever its QoS",
        arguments: [QoS.atMostOnce, .atLeastOnce]
    )
    func wildFilters(_ qos: QoS) async throws {
        try await withLimits { _ in
        } _: { trial in
            let topics = (0..<1_500).map { "w/\($0)/t" }
            try await retain(topics, trial)
            let client = try await trial.connect()
            let packets = [
                subscribe((0..<1_500).map { "w/\($0)/+" }, qos), subscribe(["nothing/#"], qos), .pingreq,
            ]
            for packet in packets { try await client.send(packet) }
            var left = Set(topics)
            var (subacks, pings) = (0, 0)
            while !(left.isEmpty && pings == 1 && subacks == 2) {
                switch try await client.next() {
                case .suback: subacks += 1
                case .pingresp: pings += 1
                case .publish(let publish): #expect(left.remove(try await take(publish, client)) != nil)
                case let packet: Issue.record("\(packet.kind)")
                }
            }
            try await client.ping()
            #expect(trial.broker.statistics.dropped.total == 0)
            try await trial.bystander.isServed()
        }
    }

    @Test("a client that acknowledges nothing and subscribes on is refused at some point, and gets all it was granted")
    func wildFiltersUnacknowledged() async throws {
        try await withLimits {
            $0.limits.filtersMax = 100
            $0.limits.inFlightMax = 1
        } _: { trial in
            let numbers = 0..<2_000
            try await retain(numbers.map { "w/\($0)/t" }, trial)
            let client = try await trial.connect()
            var granted: Set<String> = []
            var first: Publish?
            for start in stride(from: 0, to: 2_000, by: 100) {
                try await client.send(subscribe((start..<start + 100).map { "w/\($0)/+" }, .atLeastOnce))
                var suback: Suback?
                while suback == nil || first == nil {
                    switch try await client.next() {
                    case .suback(let packet): suback = packet
                    case .publish(let publish) where first == nil: first = publish
                    case let packet: throw TimedOut(description: "\(packet.kind)")
                    }
                }
                for (at, reason) in try #require(suback).reasonCodes.enumerated() {
                    #expect(reason == .grantedQoS1 || reason == .quotaExceeded)
                    if reason == .grantedQoS1 { granted.insert("w/\(start + at)/t") }
                }
            }
            // 1,000, and as many as one packet has; what is queued is owed no more.
            #expect(granted.count >= 1_100 && granted.count < 1_400)
            try await trial.bystander.isServed()
            var taken: Set<String> = [try await take(try #require(first), client)]
            while taken.count < granted.count {
                #expect(taken.insert(try await take(client.nextPublish(), client)).inserted)
            }
            #expect(taken == granted)
            try await client.send(subscribe(["w/1999/+"], .atLeastOnce))
            #expect(try await client.next().kind == .suback)
            #expect(try await take(client.nextPublish(), client) == "w/1999/t")
            try await client.ping()
        }
    }

    @Test("a client that ends its own replays in the packet that began them is read from")
    func wildFiltersEnded() async throws {
        try await withLimits { _ in
        } _: { trial in
            try await retain(["w/1/t"], trial)
            let client = try await trial.connect()
            let filters = (0..<1_500).map { "w/\($0)/+" }
            var packet = Subscribe(packetID: 1, filters: filters.map { Subscribe.Filter($0) })
            packet.filters += filters.map { Subscribe.Filter($0, SubscriptionOptions(retainHandling: .never)) }
            try await client.send(.subscribe(packet))
            #expect(try await client.next().kind == .suback)
            try await client.ping()
            try await trial.bystander.isServed()
        }
    }
}

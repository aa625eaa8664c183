import MQTTCore
import MQTTPackets
import MQTTServer
import NIOCore
import Testing

@Suite("Queue policies over sockets", .timeLimit(.minutes(1))) struct LimitQueueTests {
    @Test(
        "drop-newest: a message that nobody can take is answered 0x97, and its packet identifier is free again",
        arguments: [QoS.atLeastOnce, .exactlyOnce]
    )
    func dropNewest(_ qos: QoS) async throws {
        try await withLimits {
            $0.limits.queuedMessagesMax = 2
            $0.queuePolicy = .dropNewest
        } _: { trial in
            try await trial.sleeper("sleeper", "t", .atLeastOnce)
            let publisher = try await trial.connect()
            for id in 1...UInt16(2) {
                #expect(try await publisher.reason(publishing: "t", "\(id)", qos, id: id) == .success)
            }
            #expect(try await publisher.reason(publishing: "t", "lost", qos, id: 3) == .quotaExceeded)
            if qos == .exactlyOnce {
                try await publisher.send(.pubrel(Acknowledgement(packetID: 3)))
                let unknown = Acknowledgement(packetID: 3, reasonCode: .packetIdentifierNotFound)
                #expect(try await publisher.next() == .pubcomp(unknown))
            }
            #expect(trial.broker.statistics.dropped[.queueFull] == 1)
            try await trial.bystander.isServed()
            let sleeper = try await trial.connect("sleeper", expiry: 600)
            #expect(try await sleeper.nextPayloads(2) == ["1", "2"])
            try await sleeper.ping()
            #expect(try await publisher.reason(publishing: "t", "taken", qos, id: 3) == .success)
            #expect(try await sleeper.nextPayload() == "taken")
        }
    }

    @Test("drop-newest: a message is answered success if one of its receivers can take it")
    func oneOfTwo() async throws {
        try await withLimits {
            $0.limits.queuedMessagesMax = 1
            $0.queuePolicy = .dropNewest
        } _: { trial in
            try await trial.sleeper("full", "t", .atLeastOnce)
            let free = try await trial.connect()
            try await free.subscribe("t", .atLeastOnce)
            let publisher = try await trial.connect()
            for number in 1...10 {
                #expect(try await publisher.reason(publishing: "t", "\(number)") == .success)
                #expect(try await free.nextPayloads(1) == ["\(number)"])
            }
            #expect(trial.broker.statistics.dropped[.queueFull] == 9)
            try await trial.bystander.isServed()
            let full = try await trial.connect("full", expiry: 600)
            #expect(try await full.nextPayloads(1) == ["1"])
            try await full.ping()
        }
    }

    @Test(
        "drop-oldest: a session that comes back gets the newest messages",
        arguments: [QoS.atLeastOnce, .exactlyOnce]
    )
    func dropOldest(_ qos: QoS) async throws {
        try await withLimits {
            $0.limits.queuedMessagesMax = 3
            $0.queuePolicy = .dropOldest
        } _: { trial in
            try await trial.sleeper("sleeper", "t", .atLeastOnce)
            let publisher = try await trial.connect()
            for id in 1...UInt16(10) {
                #expect(try await publisher.reason(publishing: "t", "\(id)", qos, id: id) == .success)
            }
            #expect(trial.broker.statistics.dropped[.queueFull] == 7)
            try await trial.bystander.isServed()
            let sleeper = try await trial.connect("sleeper", expiry: 600)
            #expect(try await sleeper.nextPayloads(3) == ["8", "9", "10"])
            try await sleeper.ping()
        }
    }

    @Test(
        "disconnect: a receiver with a full queue is ended, and its session keeps what was queued",
        arguments: [ProtocolVersion.v3_1_1, .v5]
    )
    func disconnect(_ version: ProtocolVersion) async throws {
        try await withLimits {
            $0.limits.queuedMessagesMax = 2
            $0.limits.inFlightMax = 1
            $0.queuePolicy = .disconnect
        } _: { trial in
            let receiver = try await trial.connect("receiver", version: version, expiry: 600)
            try await receiver.subscribe("t", .atLeastOnce)
            let publisher = try await trial.connect()
            for number in 1...3 { #expect(try await publisher.reason(publishing: "t", "\(number)") == .success) }
            #expect(try await receiver.nextPayload() == "1")
            #expect(try await trial.bystander.sees(silent: receiver))
            #expect(try await publisher.reason(publishing: "t", "lost") == .quotaExceeded)
            // It is ended with the next timers.
            let last = try await trial.clock.letTimePass { try await receiver.disconnectReason() }
            #expect(last == (version == .v5 ? .quotaExceeded : nil))
            #expect(receiver.isClosed)
            #expect(trial.broker.statistics.dropped[.queueFull] == 1)
            try await trial.bystander.isServed()
            let again = try await trial.connect("receiver", version: version, expiry: 600)
            #expect(try await again.nextPayloads(3) == ["1", "2", "3"])
            try await again.ping()
        }
    }

    @Test("expired messages make room in a full queue for new ones", arguments: QueuePolicy.allCases)
    func expiredMakeRoom(_ policy: QueuePolicy) async throws {
        try await withLimits {
            $0.limits.queuedMessagesMax = 3
            $0.queuePolicy = policy
        } _: { trial in
            try await trial.sleeper("sleeper", "t", .atLeastOnce)
            let publisher = try await trial.connect()
            for (payload, expiry) in [("expired", UInt32(1)), ("expired", 1), ("kept", 600)] {
                var publish = Publish(topic: "t", payload: ByteBuffer(string: payload), qos: .atLeastOnce, packetID: 1)
                publish.properties[integer: .messageExpiryInterval] = expiry
                try await publisher.send(.publish(publish))
                #expect(try await publisher.next() == .puback(Acknowledgement(packetID: 1)))
            }
            try await trial.clock.advance(by: .milliseconds(1_050))
            for number in 1...2 { #expect(try await publisher.reason(publishing: "t", "\(number)") == .success) }
            let broker = trial.broker
            #expect(broker.statistics.dropped[.expired] == 2)
            #expect(broker.statistics.dropped.total == 2)
            try await trial.bystander.isServed()
            let sleeper = try await trial.connect("sleeper", expiry: 600)
            #expect(try await sleeper.nextPayloads(3) == ["kept", "1", "2"])
            try await sleeper.ping()
        }
    }

    @Test("what an entry takes beside its message counts: 48 bytes, and its subscription identifiers")
    func entryBytes() async throws {
        try await withLimits { _ in
        } _: { trial in
            let client = try await trial.connect("c", expiry: 600)
            for identifier in UInt32(1)...3 {
                let filter = ["q/t", "q/+", "q/#"][Int(identifier) - 1]
                let options = SubscriptionOptions(qos: .atLeastOnce)
                var subscribe = Subscribe(packetID: 1, filters: [Subscribe.Filter(filter, options)])
                subscribe.properties = Properties([Property(.subscriptionIdentifier, .integer(identifier))])
                try await client.send(.subscribe(subscribe))
                #expect(try await client.next().kind == .suback)
            }
            try await client.leave()
            let publisher = try await trial.connect()
            #expect(try await publisher.reason(publishing: "q/t") == .success)
            // A message of four bytes takes 212.
            #expect(trial.broker.statistics.queuedBytes == 212 + 48 + 3 * 4)
            #expect(trial.broker.largestQueues().first?.bytes == 272)
            try await trial.bystander.isServed()
            let again = try await trial.connect("c", expiry: 600)
            #expect(try await again.nextPayloads(1) == ["m"])
            try await again.ping()
            #expect(trial.broker.statistics.queuedBytes == 0)
        }
    }

    @Test("what the broker says of itself takes no room from retained messages of clients")
    func ownMessages() async throws {
        try await withLimits {
            $0.systemTopicsInterval = .milliseconds(50)
            $0.limits.retainedMessagesMax = 2
        } _: { trial in
            let broker = trial.broker
            try await trial.bystander.wait(for: "messages below $SYS") { broker.statistics.retainedMessages > 2 }
            let publisher = try await trial.connect()
            for topic in ["a", "b"] {
                #expect(try await publisher.reason(publishing: topic, isRetained: true) == .noMatchingSubscribers)
            }
            #expect(try await publisher.reason(publishing: "c", isRetained: true) == .quotaExceeded)
            #expect(broker.statistics.dropped[.notRetained] == 1)
            try await trial.bystander.isServed()
        }
    }
}

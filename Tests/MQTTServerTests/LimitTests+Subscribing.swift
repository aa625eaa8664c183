import MQTTCore
import MQTTPackets
import MQTTServer
import NIOCore
import Testing

extension LimitTests {
    static let subscribing = [
        LimitCase("subscribe-bytes", 64, subscribeBytes),
        LimitCase("filters", 3, filters),
        LimitCase("topic-bytes", 16) { trial in
            let longest = String(repeating: "t", count: 16)
            // What a client writes counts, not only what is matched.
            let longestShared = "$share/g/" + String(repeating: "s", count: 7)
            try await topics(trial, [longest, longestShared], tooLong: [longest + "t", longestShared + "s"])
        },
        LimitCase("topic-levels", 3) { trial in
            try await topics(trial, ["//", "$share/g///"], tooLong: ["///", "$share/g////"])
            try await topics(trial, ["a/b/c", "$share/g/a/b/c"], tooLong: ["a/b/c/d", "$share/g/a/b/c/d"])
        },
        LimitCase("subscriptions", 2, subscriptions),
        LimitCase("tree-nodes", 4, treeNodes),
        // A filter of one byte holds 258, and each further byte two more.
        LimitCase("subscription-bytes", 520, subscriptionBytes),
        // The bystander's subscription holds 260 of them.
        LimitCase("subscription-bytes-in-all", 776, subscriptionBytesInAll),
        LimitCase("shared-subscriptions", 2, sharedSubscriptions),
    ]

    private static func subscribeBytes(_ trial: LimitTrial) async throws {
        func packets(_ version: ProtocolVersion, _ filter: String) -> [ByteBuffer] {
            [
                .subscribe(Subscribe(packetID: 1, filters: [Subscribe.Filter(filter)])),
                .unsubscribe(Unsubscribe(packetID: 1, filters: [filter])),
            ].map { (packet: Packet) in PacketEncoder(version: version).encode(packet) }
        }
        for version in ProtocolVersion.allCases {
            for at in 0..<2 {
                let client = try await trial.connect(version: version)
                let largest = String(repeating: "f", count: 65 - packets(version, "f")[at].readableBytes)
                let bytes = packets(version, largest)[at]
                #expect(bytes.readableBytes == 64)
                try await client.send(bytes)
                #expect(try await client.next().kind == [.suback, .unsuback][at])
                // It is refused for what its header says: none of the rest has to come.
                var tooLarge = packets(version, largest + "f")[at]
                try await client.send(tooLarge.take(2))
                if version == .v5 {
                    #expect(try await client.disconnectReason() == .packetTooLarge)
                } else {
                    #expect(try await client.nextOrEnd() == nil)
                }
                try await trial.bystander.isServed()
            }
        }
        // Packets of other kinds are not concerned.
        let client = try await trial.connect()
        #expect(try await client.reason(publishing: "t", "m".padded(to: 1_000)) == .noMatchingSubscribers)
    }

    private static func filters(_ trial: LimitTrial) async throws {
        let four = ["a", "b", "c", "d"]
        for version in ProtocolVersion.allCases {
            for isUnsubscribe in [false, true] {
                let client = try await trial.connect(version: version)
                #expect(try await client.reasons(subscribing: Array(four.prefix(3))).count == 3)
                let packet =
                    isUnsubscribe
                    ? Packet.unsubscribe(Unsubscribe(packetID: 1, filters: four))
                    : .subscribe(Subscribe(packetID: 1, filters: four.map { Subscribe.Filter($0) }))
                try await client.send(packet)
                if version == .v5 {
                    #expect(try await client.disconnectReason() == .quotaExceeded)
                } else {
                    #expect(try await client.nextOrEnd() == nil)
                }
                try await trial.bystander.isServed()
            }
        }
    }

    private static func topics(_ trial: LimitTrial, _ filters: [String], tooLong tooLongFilters: [String]) async throws
    {
        let client = try await trial.connect()
        #expect(try await client.reasons(subscribing: tooLongFilters) == [.topicFilterInvalid, .topicFilterInvalid])
        #expect(try await client.reasons(subscribing: filters) == [.success, .success])
        try await client.unsubscribe(filters[1])
        let (longest, tooLong) = (filters[0], tooLongFilters[0])
        let older = try await trial.connect(version: .v3_1_1)
        #expect(try await older.reasons(subscribing: [tooLong, longest]) == [.unspecifiedError, .success])

        let publisher = try await trial.connect()
        let refused = trial.broker.statistics.publishRefused
        #expect(try await publisher.reason(publishing: tooLong, "m", .atLeastOnce) == .topicNameInvalid)
        #expect(try await publisher.reason(publishing: tooLong, "m", .exactlyOnce) == .topicNameInvalid)
        try await publisher.publish(tooLong, "m")
        let olderPublisher = try await trial.connect(version: .v3_1_1)
        #expect(try await olderPublisher.reason(publishing: tooLong) == .success)
        try await publisher.ping()
        #expect(trial.broker.statistics.publishRefused == refused + 4)
        try await trial.bystander.isServed()

        let will = Will(topic: tooLong, payload: ByteBuffer())
        try await trial.expectRefused(Connect(version: .v5, clientID: "will", will: will), .topicNameInvalid)
        #expect(try await publisher.reason(publishing: longest, "fits", id: 2) == .success)
        for subscriber in [client, older] { #expect(try await subscriber.nextPayload() == "fits") }
        for client in [client, older] { try await client.leave() }
    }

    private static func subscriptions(_ trial: LimitTrial) async throws {
        let client = try await trial.connect("c")
        #expect(try await client.reasons(subscribing: ["a", "b", "c"]) == [.success, .success, .quotaExceeded])
        // One that is there already is no new one.
        #expect(try await client.reasons(subscribing: ["a"], .atLeastOnce) == [.grantedQoS1])
        try await trial.bystander.isServed()
        try await client.unsubscribe("b")
        #expect(try await client.reasons(subscribing: ["c", "b"]) == [.success, .quotaExceeded])
        try await client.publish("b", "refused")
        try await client.publish("c", "granted")
        #expect(try await client.nextPayload() == "granted")
        let older = try await trial.connect(version: .v3_1_1)
        #expect(try await older.reasons(subscribing: ["a", "b", "c"]) == [.success, .success, .unspecifiedError])
    }

    private static func treeNodes(_ trial: LimitTrial) async throws {
        let client = try await trial.connect("c")
        // Levels that another filter has as well count all the same.
        #expect(
            try await client.reasons(subscribing: ["a/b/c", "a/b", "d", "e", "a/b/c"])
                == [.success, .quotaExceeded, .success, .quotaExceeded, .success]
        )
        try await trial.bystander.isServed()
        let older = try await trial.connect(version: .v3_1_1)
        #expect(try await older.reasons(subscribing: ["a/b/c", "$share/g/a/b"]) == [.success, .unspecifiedError])
        #expect(try await older.reasons(subscribing: ["$share/g/a"]) == [.success])
        // Each gives back what it took, and no more.
        try await client.unsubscribe("a/b/c")
        #expect(
            try await client.reasons(subscribing: ["a/b/c/d", "a/b/c", "e"]) == [
                .quotaExceeded, .success, .quotaExceeded,
            ]
        )
        for _ in 0..<5 {
            try await client.unsubscribe("a/b/c")
            #expect(try await client.reasons(subscribing: ["a/b", "e", "f"]) == [.success, .success, .quotaExceeded])
            for filter in ["a/b", "e"] { try await client.unsubscribe(filter) }
            #expect(try await client.reasons(subscribing: ["a/b/c", "f"]) == [.success, .quotaExceeded])
        }
    }

    private static func subscriptionBytes(_ trial: LimitTrial) async throws {
        let client = try await trial.connect("c")
        #expect(
            try await client.reasons(subscribing: ["a", "cccc", "bb", "bb", "d"])
                == [.success, .quotaExceeded, .success, .success, .quotaExceeded]
        )
        try await trial.bystander.isServed()
        let older = try await trial.connect(version: .v3_1_1)
        #expect(try await older.reasons(subscribing: ["a", "ccc", "d"]) == [.success, .success, .unspecifiedError])
        try await client.unsubscribe("a")
        #expect(try await client.reasons(subscribing: ["ddd", "d"]) == [.quotaExceeded, .success])
        try await client.publish("ddd", "refused")
        try await client.publish("d", "granted")
        #expect(try await client.nextPayload() == "granted")
    }

    private static func subscriptionBytesInAll(_ trial: LimitTrial) async throws {
        let broker = trial.broker
        #expect(broker.statistics.subscriptionBytes == 260)
        let first = try await trial.connect("first", expiry: 600)
        let second = try await trial.connect(version: .v3_1_1)
        #expect(try await first.reasons(subscribing: ["a"]) == [.success])
        #expect(try await second.reasons(subscribing: ["a", "b"]) == [.success, .unspecifiedError])
        #expect(try await first.reasons(subscribing: ["b", "a"]) == [.quotaExceeded, .success])
        #expect(broker.statistics.subscriptionBytes == 776)
        try await trial.bystander.isServed()
        // A session without a connection holds what it held, and gives it back as it ends.
        try await first.leave()
        #expect(try await second.reasons(subscribing: ["b"]) == [.unspecifiedError])
        try await trial.connect("first").leave()
        #expect(broker.statistics.subscriptionBytes == 518)
        #expect(try await second.reasons(subscribing: ["b"]) == [.success])
        for filter in ["a", "b"] { try await second.unsubscribe(filter) }
        #expect(broker.statistics.subscriptionBytes == 260)
    }

    private static func sharedSubscriptions(_ trial: LimitTrial) async throws {
        let client = try await trial.connect("c")
        // The same filter in two groups is two of them.
        #expect(
            try await client.reasons(subscribing: ["$share/g/a", "$share/h/a", "$share/i/a", "$share/g/a", "a"])
                == [.success, .success, .quotaExceeded, .success, .success]
        )
        try await trial.bystander.isServed()
        #expect(trial.broker.statistics.sharedSubscriptions == 2)
        try await client.publish("a", "m")
        for _ in 0..<3 { #expect(try await client.nextPayload() == "m") }
        let older = try await trial.connect(version: .v3_1_1)
        let three = ["$share/g/a", "$share/g/b", "$share/g/c"]
        #expect(try await older.reasons(subscribing: three) == [.success, .success, .unspecifiedError])
        try await client.unsubscribe("a")
        #expect(try await client.reasons(subscribing: ["$share/i/a"]) == [.quotaExceeded])
        try await client.unsubscribe("$share/g/a")
        #expect(try await client.reasons(subscribing: ["$share/i/a", "$share/g/a"]) == [.success, .quotaExceeded])
    }
}

import MQTTCore
import MQTTPackets
import MQTTServer
import NIOCore
import Testing

extension LimitTests {
    static let subscribing = [
        LimitCase("filters", 3, filters),
        LimitCase("topic-bytes", 16) { trial in
            let longest = String(repeating: "t", count: 16)
            try await topics(trial, longest: longest, tooLong: longest + "t")
        },
        LimitCase("topic-levels", 3) { trial in
            try await topics(trial, longest: "//", tooLong: "///")
            try await topics(trial, longest: "a/b/c", tooLong: "a/b/c/d")
        },
        LimitCase("subscriptions", 2, subscriptions),
        LimitCase("tree-nodes", 4, treeNodes),
    ]

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

    private static func topics(_ trial: LimitTrial, longest: String, tooLong: String) async throws {
        let client = try await trial.connect()
        #expect(
            try await client.reasons(subscribing: [tooLong, longest, "$share/g/\(tooLong)", "$share/g/\(longest)"])
                == [.topicFilterInvalid, .success, .topicFilterInvalid, .success]
        )
        try await client.unsubscribe("$share/g/\(longest)")
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
        #expect(
            try await client.reasons(subscribing: ["a/b/c", "d/e", "d", "e", "a/b"])
                == [.success, .quotaExceeded, .success, .quotaExceeded, .success]
        )
        try await trial.bystander.isServed()
        // The levels that another has added cost nothing, and one's own come back.
        let older = try await trial.connect(version: .v3_1_1)
        #expect(
            try await older.reasons(subscribing: ["a/b/c/d", "e/f/g", "h"]) == [.success, .success, .unspecifiedError]
        )
        try await client.unsubscribe("d")
        #expect(try await client.reasons(subscribing: ["e/f/g", "i"]) == [.success, .success])
    }
}

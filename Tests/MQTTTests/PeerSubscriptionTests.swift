import MQTT
import MQTTTesting
import Testing

/// Filters and what they bring, with every server: see `PeerTests`.
@Suite(.timeLimit(.minutes(2))) struct PeerSubscriptionTests {
    private let root = uniqueName()

    private static let wildcards: [(filter: String, topics: [String])] = [
        ("", [""]),
        ("/#", ["", "/a", "/a/b", "//b", "/a/b/c"]),
        ("/+", ["/a"]),
        ("/+/b", ["/a/b", "//b"]),
        ("/a/#", ["/a", "/a/b", "/a/b/c"]),
        ("/+/+/#", ["/a/b", "//b", "/a/b/c"]),
        ("/b", []),
    ]

    @Test("a filter brings the topics that it matches, and no other", arguments: ProtocolVersion.allCases)
    func wildcards(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { client in
                for (filter, expected) in Self.wildcards {
                    let filters = [root + filter, "end-\(root)"].map { TopicSubscription($0, qos: .atLeastOnce) }
                    try await client.withSubscription(to: filters) { subscription in
                        for topic in ["", "/a", "/a/b", "//b", "/a/b/c"] {
                            try await client.publish(["[\(topic)]"], to: root + topic)
                        }
                        try await client.publish(["end"], to: "end-\(root)")
                        let payloads = await subscription.payloads(before: "end")
                        #expect(payloads == expected.map { "[\($0)]" }, "\(filter)")
                    }
                }
            }
        }
    }

    // With the limited server, which has few messages for everybody.
    @Test(
        "[MQTT-4.7.2-1] a topic that begins with $ comes to who names it, not with a wildcard in its place",
        arguments: ProtocolVersion.allCases
    )
    func dollar(_ version: ProtocolVersion) async throws {
        try await withServer(.limited) { [root] server in
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { client in
                let named = try await client.subscribe(to: "$test/\(root)/#", qos: .atLeastOnce)
                let wild = try await client.subscribe(to: ["#", "+/\(root)/#"].map { TopicSubscription($0) })
                try await client.publish(["hidden"], to: "$test/\(root)/a")
                try await client.publish(["seen"], to: "test/\(root)/a")
                #expect(await named.first(1).map(\.payloadString) == ["hidden"])
                for await message in wild where message.topic.contains(root) {
                    #expect(message.payloadString == "seen")
                    break
                }
            }
        }
    }

    @Test("in 5.0, where filters overlap, each sequence gets a message once")
    func overlapping() async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                var subscriptions: [MQTTSubscription] = []
                for filter in ["#", "+/b", "a/b", "a/b"] {
                    subscriptions.append(try await client.subscribe(to: "\(root)/\(filter)", qos: .exactlyOnce))
                }
                for qos in QoS.allCases { try await client.publish("\(qos)", to: "\(root)/a/b", qos: qos) }
                try await client.publish(["end"], to: "\(root)/a/b")
                for subscription in subscriptions {
                    #expect(await subscription.payloads(before: "end") == QoS.allCases.map { "\($0)" })
                }
            }
        }
    }

    // Mosquitto sends a copy for each filter, our own broker one.
    @Test(
        "before 5.0, where filters overlap, each sequence gets all copies that the server sends",
        arguments: [ProtocolVersion.v3_1, .v3_1_1]
    )
    func copies(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { client in
                let filters = ["\(root)/#", "\(root)/a"]
                var subscriptions: [MQTTSubscription] = []
                for filter in filters {
                    subscriptions.append(try await client.subscribe(to: filter, qos: .atLeastOnce))
                }
                let others = try await client.subscribe(to: "end-\(root)", qos: .atLeastOnce)
                try await client.publish(["m"], to: "\(root)/a")
                try await client.publish(["end"], to: "end-\(root)")
                // All copies of the message have come before it.
                #expect(await others.first(1).count == 1)
                var payloads: [[String]] = []
                for subscription in subscriptions {
                    try await subscription.unsubscribe()
                    payloads.append(await subscription.first(.max).map(\.payloadString))
                }
                #expect(payloads[0] == payloads[1])
                #expect((1...filters.count).contains(payloads[0].count) && Set(payloads[0]) == ["m"])
            }
        }
    }

    @Test(
        "[MQTT-3.8.4-5] several filters of one subscription are granted each its own QoS, and bring that at most",
        arguments: ProtocolVersion.allCases
    )
    func several(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { client in
                let filters = QoS.allCases.map { TopicSubscription("\(root)/\($0)", qos: $0) }
                let subscription = try await client.subscribe(to: filters)
                #expect(subscription.grants.map(\.filter) == filters.map(\.filter))
                #expect(subscription.grants.map(\.qos) == QoS.allCases)
                for filter in filters {
                    for qos in QoS.allCases {
                        try await client.publish("m", to: filter.filter, qos: qos)
                        let message = await subscription.first(1).first
                        #expect(message?.topic == filter.filter)
                        #expect(message?.qos == min(qos, filter.options.qos))
                    }
                }
            }
        }
    }

    @Test(
        "[MQTT-3.10.4-2] what was unsubscribed from brings nothing more, neither to its sequence nor to others",
        arguments: ProtocolVersion.allCases
    )
    func unsubscribed(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { client in
                let stray = client.unclaimedMessages()
                let left = try await client.subscribe(to: "\(root)/left", qos: .atLeastOnce)
                let ended = try await client.subscribe(
                    to: ["\(root)/one", "\(root)/other/#"].map { TopicSubscription($0, qos: .atLeastOnce) }
                )
                try await client.publish(["taken later"], to: "\(root)/one")
                try await client.publish(["m"], to: "\(root)/left")
                #expect(await left.first(1).count == 1)
                try await ended.unsubscribe()
                for topic in ["one", "other", "other/a"] {
                    let code = try await client.publish("missed", to: "\(root)/\(topic)", qos: .atLeastOnce)
                    if version == .v5 { #expect(code == .noMatchingSubscribers) }
                }
                try await client.publish(["end"], to: "\(root)/left")
                #expect(await left.first(1).map(\.payloadString) == ["end"])
                #expect(await ended.first(.max).map(\.payloadString) == ["taken later"])
                try await stray.unsubscribe()
                #expect(await stray.first(.max).isEmpty)
            }
        }
    }

    @Test("a subscription for the length of a body ends with it, and gives its value", arguments: [false, true])
    func forBody(_ throwing: Bool) async throws {
        struct Wrong: Error {}
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let result: Result<String?, any Error>
                do {
                    result = .success(
                        try await client.withSubscription(to: root, qos: .atLeastOnce) { subscription in
                            try await client.publish(["m"], to: root)
                            if throwing { throw Wrong() }
                            return await subscription.first(1).first?.payloadString
                        }
                    )
                } catch {
                    result = .failure(error)
                }
                if throwing {
                    #expect(throws: Wrong.self) { try result.get() }
                } else {
                    #expect(try result.get() == "m")
                }
                // The answer to what is sent behind UNSUBSCRIBE.
                _ = try await client.subscribe(to: "\(root)/other")
                #expect(try await client.publish("m", to: root, qos: .atLeastOnce) == .noMatchingSubscribers)
            }
        }
    }

    @Test("a shared subscription gives each message to one of its clients")
    func shared() async throws {
        let expected = (0..<200).map(String.init)
        try await withServer { [root] server in
            try await withClient(.test(server)) { one in
                try await withClient(.test(server)) { other in
                    let filters = ["$share/group/\(root)/+", "end-\(root)"].map {
                        TopicSubscription($0, qos: .atLeastOnce)
                    }
                    let (first, second) = (try await one.subscribe(to: filters), try await other.subscribe(to: filters))
                    try await MQTTClient.withConnection(.test(server), logger: quiet) { sender in
                        for payload in expected {
                            try await sender.publish(payload, to: "\(root)/\(payload)", qos: .atLeastOnce)
                        }
                        try await sender.publish(["end"], to: "end-\(root)")
                    }
                    let (mine, theirs) = (await first.payloads(before: "end"), await second.payloads(before: "end"))
                    #expect((mine + theirs).compactMap { Int($0) }.sorted().map(String.init) == expected)
                    #expect(!mine.isEmpty && !theirs.isEmpty)
                }
            }
        }
    }

    @Test("[MQTT-3.8.3-3] with No Local a client does not get what it has published itself")
    func noLocal() async throws {
        try await withServer { [root] server in
            try await withClient(.test(server)) { client in
                let options = SubscriptionOptions(qos: .atLeastOnce, noLocal: true)
                let subscription = try await client.subscribe(to: [TopicSubscription(root, options: options)])
                try await client.publish(["own"], to: root)
                try await withClient(.test(server)) { try await $0.publish(["another's"], to: root) }
                #expect(await subscription.first(1).map(\.payloadString) == ["another's"])
            }
        }
    }
}

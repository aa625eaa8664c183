import MQTT
import MQTTTesting
import Testing

/// Retained messages, with every server: see `PeerTests`.
@Suite(.timeLimit(.minutes(2))) struct PeerRetainedTests {
    private let root = uniqueName()

    @Test(
        "[MQTT-3.3.1-8] a retained message comes marked to who subscribes later, and unmarked to who has subscribed",
        arguments: ProtocolVersion.allCases
    )
    func retained(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { client in
                for qos in QoS.allCases {
                    let topic = "\(root)/\(qos)"
                    try await client.publish("kept", to: topic, qos: qos, retain: true)
                    try await client.withSubscription(to: topic, qos: .exactlyOnce) { subscription in
                        let kept = await subscription.first(1).first
                        #expect(kept?.payloadString == "kept" && kept?.isRetained == true && kept?.qos == qos)
                        try await client.publish("live", to: topic, qos: qos, retain: true)
                        let live = await subscription.first(1).first
                        #expect(live?.payloadString == "live" && live?.isRetained == false && live?.qos == qos)
                    }
                    try await client.publish("", to: topic, retain: true)
                }
            }
        }
    }

    @Test(
        "a topic has its newest retained message, and none once an empty one has come",
        arguments: ProtocolVersion.allCases
    )
    func cleared(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { client in
                func kept() async throws -> [String] {
                    try await client.withSubscription(to: "\(root)/#", qos: .atLeastOnce) { subscription in
                        try await client.publish(["end"], to: "\(root)/end")
                        return await subscription.payloads(before: "end")
                    }
                }
                for topic in ["a", "a/b", "c"] {
                    try await client.publish(["old", topic], to: "\(root)/\(topic)", retain: true)
                }
                #expect(Set(try await kept()) == ["a", "a/b", "c"])
                for topic in ["a", "c"] { try await client.publish([""], to: "\(root)/\(topic)", retain: true) }
                #expect(try await kept() == ["a/b"])
                try await client.publish([""], to: "\(root)/a/b", retain: true)
                #expect(try await kept().isEmpty)
            }
        }
    }

    @Test(
        "[MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] Retain Handling says when retained messages are sent",
        arguments: [SubscriptionOptions.RetainHandling.always, .ifNew, .never]
    )
    func handling(_ handling: SubscriptionOptions.RetainHandling) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                try await client.publish(["kept"], to: root, retain: true)
                let wanted = TopicSubscription(
                    root,
                    options: SubscriptionOptions(qos: .atLeastOnce, retainHandling: handling)
                )
                let first = try await client.subscribe(to: [wanted])
                if handling != .never { #expect(await first.first(1).map(\.payloadString) == ["kept"]) }
                // The server has the filter now.
                let second = try await client.subscribe(to: [wanted])
                try await client.publish(["end"], to: root)
                for subscription in [first, second] {
                    #expect(await subscription.payloads(before: "end") == (handling == .always ? ["kept"] : []))
                }
                try await client.publish([""], to: root, retain: true)
            }
        }
    }

    @Test(
        "[MQTT-3.3.1-12] [MQTT-3.3.1-13] Retain As Published keeps the flag of what is published",
        arguments: [false, true]
    )
    func asPublished(_ keepsFlag: Bool) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let options = SubscriptionOptions(qos: .atLeastOnce, retainAsPublished: keepsFlag)
                let subscription = try await client.subscribe(to: [TopicSubscription(root, options: options)])
                for isRetained in [true, false] { try await client.publish(["m"], to: root, retain: isRetained) }
                #expect(await subscription.first(2).map(\.isRetained) == [keepsFlag, false])
                try await client.publish([""], to: root, retain: true)
            }
        }
    }

    @Test("a retained message keeps its properties, and no more than what is left of its time")
    func properties() async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                var properties = Properties()
                properties[string: .contentType] = "text/plain"
                properties[integer: .messageExpiryInterval] = 1_000
                properties.appendUserProperty("a", "1")
                try await client.publish(
                    "long",
                    to: "\(root)/long",
                    qos: .atLeastOnce,
                    retain: true,
                    properties: properties
                )
                properties[integer: .messageExpiryInterval] = 1
                try await client.publish(
                    "short",
                    to: "\(root)/short",
                    qos: .atLeastOnce,
                    retain: true,
                    properties: properties
                )
                try await secondsPass(3, at: server)
                let subscription = try await client.subscribe(to: "\(root)/+", qos: .atLeastOnce)
                try await client.publish(["end"], to: "\(root)/end")
                let messages = await subscription.first(2)
                #expect(messages.map(\.payloadString) == ["long", "end"])
                let kept = messages.first?.properties
                #expect(kept?[string: .contentType] == "text/plain")
                #expect(kept?.userProperties.map(\.value) == ["1"])
                let left = kept?[integer: .messageExpiryInterval] ?? 0
                #expect(left > 0 && left < 1_000)
                try await client.publish([""], to: "\(root)/long", retain: true)
            }
        }
    }
}

import MQTT
import MQTTTesting
import Testing

/// What has to hold with every server: our own, or the one that `MQTT_TEST_SERVER` names.
@Suite(.timeLimit(.minutes(2))) struct PeerTests {
    /// Nobody else's topics.
    private let root = uniqueName()

    @Test("each QoS comes back to the client that published it", arguments: ProtocolVersion.allCases)
    func roundTrip(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { client in
                for qos in QoS.allCases {
                    let subscription = try await client.subscribe(to: "\(root)/+/c", qos: qos)
                    #expect(subscription.grants.map(\.qos) == [qos])
                    let code = try await client.publish("\(qos)", to: "\(root)/b/c", qos: qos)
                    #expect(!code.isError)
                    let message = await subscription.first(1).first
                    #expect(message?.topic == "\(root)/b/c")
                    #expect(message?.payloadString == "\(qos)")
                    #expect(message?.qos == qos)
                    try await subscription.unsubscribe()
                    #expect(await subscription.first(1).isEmpty)
                }
            }
        }
    }

    @Test("messages keep their order, and none is missing", arguments: QoS.allCases)
    func order(_ qos: QoS) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let subscription = try await client.subscribe(to: root, qos: qos)
                for number in 0..<3_000 {
                    try await client.enqueue(ByteBuffer(string: "\(number)"), to: root, qos: qos)
                }
                let payloads = await subscription.first(3_000).map(\.payloadString)
                #expect(payloads == (0..<3_000).map(String.init))
                try await client.flush()
            }
        }
    }

    @Test("properties go with the message, and subscription identifiers do not show")
    func properties() async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let subscription = try await client.subscribe(to: root, qos: .atLeastOnce)
                var properties = Properties()
                properties[string: .contentType] = "text/plain"
                properties[integer: .messageExpiryInterval] = 1_000
                properties.appendUserProperty("a", "1")
                try await client.publish("m", to: root, qos: .atLeastOnce, properties: properties)
                let message = await subscription.first(1).first
                #expect(message?.properties[string: .contentType] == "text/plain")
                #expect(message?.properties[integer: .messageExpiryInterval] ?? 0 > 0)
                #expect(message?.properties.userProperties.map(\.name) == ["a"])
                #expect(message?.properties[integer: .subscriptionIdentifier] == nil)
            }
        }
    }

    @Test("a large payload comes whole, and so does an empty one")
    func sizes() async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let subscription = try await client.subscribe(to: root, qos: .exactlyOnce)
                for count in [0, 1, 127, 128, 16_383, 16_384, 300_000, 1_000_000] {
                    let payload = ByteBuffer(repeating: UInt8(truncatingIfNeeded: count), count: count)
                    for qos in QoS.allCases { try await client.publish(payload, to: root, qos: qos) }
                    let got = await subscription.first(3).map(\.payload)
                    #expect(got.count == 3 && got.allSatisfy { $0 == payload }, "\(count) bytes")
                }
            }
        }
    }

    @Test(
        "a client that closes, or asks for it, leaves its will, and no other",
        arguments: ProtocolVersion.allCases,
        [false, true]
    )
    func will(_ version: ProtocolVersion, _ isAbrupt: Bool) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { witness in
                let wills = try await witness.subscribe(to: root, qos: .atLeastOnce)
                let will = Will(topic: root, payload: ByteBuffer(string: "gone"), qos: .atLeastOnce)
                for leavesIt in [false, true] {
                    let client = try MQTTClient(.test(server, "", version) { $0.will = will }, logger: quiet)
                    let running = Task { try await client.run() }
                    try await client.connected()
                    if !leavesIt {
                        client.disconnect()
                    } else if isAbrupt {
                        client.close()
                    } else {
                        client.disconnect(publishingWill: true)
                    }
                    try await running.value
                }
                try await witness.publish("last", to: root, qos: .atLeastOnce)
                #expect(await wills.first(2).map(\.payloadString) == ["gone", "last"])
            }
        }
    }
}

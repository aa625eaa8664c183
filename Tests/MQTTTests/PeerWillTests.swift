import MQTT
import MQTTTesting
import Synchronization
import Testing

/// Wills, with every server: see `PeerTests`.
@Suite(.timeLimit(.minutes(2))) struct PeerWillTests {
    private let root = uniqueName()

    private func will(_ payload: String, delay: UInt32 = 0) -> Will {
        var will = Will(topic: root, payload: ByteBuffer(string: payload), qos: .atLeastOnce)
        if delay > 0 { will.properties[integer: .willDelayInterval] = delay }
        return will
    }

    /// Who gets the wills.
    private func witnessed(
        by version: ProtocolVersion = .v5,
        _ body: @escaping @Sendable (ServerAddress, MQTTSubscription, MQTTClient) async throws -> Void
    ) async throws {
        try await withServer { [root] server in
            try await withClient(.test(server, "", version)) { witness in
                try await body(server, try await witness.subscribe(to: root, qos: .exactlyOnce), witness)
            }
        }
    }

    @Test("a will comes with its QoS", arguments: ProtocolVersion.allCases, QoS.allCases)
    func qos(_ version: ProtocolVersion, _ qos: QoS) async throws {
        try await witnessed(by: version) { server, wills, _ in
            var will = will("gone")
            will.qos = qos
            let leaving = MQTTClient.Configuration.test(server, "", version) { [will] in $0.will = will }
            try await MQTTClient.withConnection(leaving, logger: quiet) { $0.close() }
            let message = await wills.first(1).first
            #expect(message?.payloadString == "gone" && message?.qos == qos && message?.isRetained == false)
        }
    }

    @Test("[MQTT-3.1.2-17] a retained will is there for who subscribes later", arguments: ProtocolVersion.allCases)
    func retained(_ version: ProtocolVersion) async throws {
        try await witnessed(by: version) { server, wills, witness in
            var will = will("gone")
            will.isRetained = true
            let leaving = MQTTClient.Configuration.test(server, "", version) { [will] in $0.will = will }
            try await MQTTClient.withConnection(leaving, logger: quiet) { $0.close() }
            #expect(await wills.first(1).map(\.isRetained) == [false])
            try await withClient(.test(server, "", version)) { later in
                let kept = try await later.subscribe(to: will.topic, qos: .atLeastOnce)
                let message = await kept.first(1).first
                #expect(message?.payloadString == "gone" && message?.isRetained == true)
            }
            try await witness.publish([""], to: will.topic, retain: true)
        }
    }

    @Test("properties of a will come with it, and its delay does not")
    func properties() async throws {
        try await witnessed { server, wills, _ in
            var will = will("gone")
            will.properties[integer: .payloadFormatIndicator] = 1
            will.properties[integer: .messageExpiryInterval] = 1_000
            will.properties[string: .contentType] = "text/plain"
            will.properties[string: .responseTopic] = "answers"
            will.properties[binary: .correlationData] = ByteBuffer(bytes: [0, 1, 255])
            for value in ["1", "2"] { will.properties.appendUserProperty("a", value) }
            let expected = will.properties
            will.properties[integer: .willDelayInterval] = 0
            let leaving = MQTTClient.Configuration.test(server) { [will] in $0.will = will }
            try await MQTTClient.withConnection(leaving, logger: quiet) { $0.close() }
            let got = await wills.first(1).first?.properties ?? Properties()
            #expect((1...1_000).contains(got[integer: .messageExpiryInterval] ?? 0))
            #expect(got.elements.count == expected.elements.count)
            #expect(got[integer: .payloadFormatIndicator] == 1)
            #expect(got[string: .contentType] == "text/plain")
            #expect(got[string: .responseTopic] == "answers")
            #expect(got[binary: .correlationData] == ByteBuffer(bytes: [0, 1, 255]))
            #expect(got.userProperties.map(\.value) == ["1", "2"])
        }
    }

    @Test(
        "[MQTT-3.1.3-9] a will with a delay comes after it, unless its client comes back in time",
        arguments: [false, true]
    )
    func delayed(_ comesBack: Bool) async throws {
        try await witnessed { server, wills, witness in
            let name = uniqueName()
            let leaving = MQTTClient.Configuration.test(server, name) {
                $0.will = will("gone", delay: 2)
                $0.sessionExpiry = .after(.seconds(600))
            }
            try await MQTTClient.withConnection(leaving, logger: quiet) { $0.close() }
            try await witness.publish(["left"], to: root)
            if comesBack {
                let back = MQTTClient.Configuration.test(server, name).lasting
                try await MQTTClient.withConnection(back, logger: quiet) { client in
                    #expect(try await client.connected().sessionPresent)
                    try await secondsPass(4, at: server)
                    try client.disconnect(properties: endingSession)
                }
                try await witness.publish(["last"], to: root)
            }
            #expect(await wills.first(2).map(\.payloadString) == ["left", comesBack ? "last" : "gone"])
        }
    }

    // Mosquitto waits for the delay all the same.
    @Test(
        "[MQTT-3.1.2-8] a will does not wait for longer than the session lives",
        .enabled(if: !PeerServer.open.isForeign)
    )
    func sessionEnds() async throws {
        try await witnessed { server, wills, _ in
            let leaving = MQTTClient.Configuration.test(server) { $0.will = will("gone", delay: 3_600) }
            try await MQTTClient.withConnection(leaving, logger: quiet) { $0.close() }
            #expect(await wills.first(1).map(\.payloadString) == ["gone"])
        }
    }

    @Test("each attempt to connect brings the will that it was prepared with")
    func prepared() async throws {
        try await witnessed { server, wills, _ in
            let link = try await PeerLink(to: server)
            let attempts = Atomic(0)
            let configuration = MQTTClient.Configuration.test(link.address) {
                $0.prepareConnection = { $0.will = will("\(attempts.add(1, ordering: .relaxed).newValue)") }
            }
            try await withClient(configuration) { client in
                let events = client.events
                try await client.connected()
                for number in 1...3 {
                    link.cut()
                    #expect(await wills.first(1).map(\.payloadString) == ["\(number)"])
                    await events.reconnection()
                }
            }
        }
    }
}

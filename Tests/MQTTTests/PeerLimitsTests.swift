import MQTT
import MQTTTesting
import Testing

/// What a server or a client says that it takes, with a server that takes little: see `PeerServer`.
@Suite(.timeLimit(.minutes(2))) struct PeerLimitsTests {
    private let root = uniqueName()

    @Test("what the server has said that it does not take is refused without asking it")
    func refused() async throws {
        try await withServer(.limited) { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let said = try await client.connected().properties
                #expect(said[integer: .maximumPacketSize] == 2_000)
                for qos in [QoS.atMostOnce, .atLeastOnce] {
                    await #expect(throws: MQTTError.publishRefused(.packetTooLarge)) {
                        try await client.publish(ByteBuffer(repeating: 0, count: 2_000), to: root, qos: qos)
                    }
                }
                let subscription = try await client.subscribe(to: root, qos: .atLeastOnce)
                // The topic and eight bytes around it.
                let count = 2_000 - root.utf8.count - 8
                await #expect(throws: MQTTError.publishRefused(.packetTooLarge)) {
                    try await client.publish(ByteBuffer(repeating: 0, count: count + 1), to: root, qos: .atLeastOnce)
                }
                let largest = ByteBuffer(repeating: 0, count: count)
                try await client.publish(largest, to: root, qos: .atLeastOnce)
                #expect(await subscription.first(1).map(\.payload) == [largest])
            }
        }
    }

    // Our own broker has QoS 2 and retained messages always.
    @Test(
        "[MQTT-3.2.2-11] [MQTT-3.2.2-14] a server without QoS 2 or retained messages is not sent them",
        .enabled(if: PeerServer.limited.isForeign)
    )
    func withoutFeatures() async throws {
        try await withServer(.limited) { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let said = try await client.connected().properties
                #expect(said[integer: .maximumQoS] == 1 && said[integer: .retainAvailable] == 0)
                await #expect(throws: MQTTError.publishRefused(.qosNotSupported)) {
                    try await client.publish("m", to: root, qos: .exactlyOnce)
                }
                for qos in [QoS.atMostOnce, .atLeastOnce] {
                    await #expect(throws: MQTTError.publishRefused(.retainNotSupported)) {
                        try await client.publish("m", to: root, qos: qos, retain: true)
                    }
                }
                let subscription = try await client.subscribe(to: root, qos: .exactlyOnce)
                #expect(subscription.grants.map(\.qos) == [.atLeastOnce])
                try await client.publish(["m"], to: root)
                #expect(await subscription.first(1).map(\.payloadString) == ["m"])
            }
        }
    }

    @Test("[MQTT-3.3.4-7] no more messages are under way than the server's Receive Maximum, and all arrive")
    func receiveMaximum() async throws {
        try await withServer(.limited) { [root] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let events = client.events
                let said = try await client.connected().properties
                #expect(said[integer: .receiveMaximum] == 5)
                // QoS 2 is under way for longer.
                let qos = said[integer: .maximumQoS] == nil ? QoS.exactlyOnce : .atLeastOnce
                let subscription = try await client.subscribe(to: root, qos: qos)
                for number in 0..<500 {
                    try await client.enqueue(ByteBuffer(string: "\(number)"), to: root, qos: qos)
                }
                #expect(await subscription.first(500).map(\.payloadString) == (0..<500).map(String.init))
                try await client.flush()
                client.disconnect()
                // The server would have ended the connection.
                for await case .disconnected(let error) in events { Issue.record("\(error)") }
            }
        }
    }

    @Test("[MQTT-3.3.2-9] no more topics have aliases than the server's Topic Alias Maximum, and none is mixed up")
    func aliases() async throws {
        try await withServer(.limited) { [root] server in
            let topics = (0..<100).map { "\(root)/\($0 % 30)" }
            let configuration = MQTTClient.Configuration.test(server) { $0.automaticTopicAliasesMax = 65_535 }
            try await MQTTClient.withConnection(configuration, logger: quiet) { client in
                #expect(try await client.connected().properties[integer: .topicAliasMaximum] == 10)
                let subscription = try await client.subscribe(to: "\(root)/+", qos: .atLeastOnce)
                for topic in topics { try await client.publish("m", to: topic) }
                #expect(await subscription.first(topics.count).map(\.topic) == topics)
            }
        }
    }

    @Test("[MQTT-3.2.2-21] [MQTT-3.1.2-22] a client keeps the server's Keep Alive in place of its own")
    func serverKeepAlive() async throws {
        try await withServer(.limited) { server in
            let configuration = MQTTClient.Configuration.test(server) { $0.keepAlive = .seconds(3_600) }
            try await MQTTClient.withConnection(configuration, logger: quiet) { client in
                let events = client.events
                let seconds = try #require(try await client.connected().properties[integer: .serverKeepAlive])
                // A silence of one and a half is the end.
                try await secondsPass(2 * seconds, at: server)
                client.disconnect()
                for await case .disconnected(let error) in events { Issue.record("\(error)") }
            }
        }
    }

    @Test("[MQTT-3.1.2-24] the client is not sent packets that it has said are too large for it")
    func packetBytesMax() async throws {
        try await withServer { [root] server in
            try await withClient(.test(server) { $0.packetBytesMax = 1_000 }) { receiver in
                let events = receiver.events
                let subscription = try await receiver.subscribe(to: root, qos: .exactlyOnce)
                try await withClient(.test(server)) { sender in
                    for qos in QoS.allCases {
                        for count in [100, 2_000, 200] {
                            try await sender.publish(ByteBuffer(repeating: 0, count: count), to: root, qos: qos)
                        }
                    }
                }
                let messages = await subscription.first(6)
                // Each QoS keeps an order of its own.
                for qos in QoS.allCases {
                    #expect(messages.filter { $0.qos == qos }.map(\.payload.readableBytes) == [100, 200])
                }
                receiver.disconnect()
                for await case .disconnected(let error) in events { Issue.record("\(error)") }
            }
        }
    }

    @Test("[MQTT-3.2.2-22] without an identifier a client is given one by the server")
    func assignedIdentifier() async throws {
        try await withServer(.limited) { server in
            try await withClient(.test(server)) { one in
                try await withClient(.test(server)) { other in
                    let identifiers = [try await one.connected(), try await other.connected()].map {
                        $0.properties[string: .assignedClientIdentifier]
                    }
                    #expect(Set(identifiers.compactMap(\.self)).count == 2)
                    #expect(try await one.connected().clientID == identifiers[0])
                }
            }
        }
    }
}

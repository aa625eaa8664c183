import MQTT
import MQTTTesting
import Testing

/// Connections that begin, last and end, with every server: see `PeerTests`.
@Suite(.timeLimit(.minutes(2))) struct PeerConnectionTests {
    private let root = uniqueName()

    @Test("flush returns once all that was handed over has reached its guarantee", arguments: ProtocolVersion.allCases)
    func flush(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            try await MQTTClient.withConnection(.test(server, "", version), logger: quiet) { client in
                let subscription = try await client.subscribe(to: root, qos: .exactlyOnce)
                let events = client.events
                var ids: [PublishID] = []
                for number in 0..<30 {
                    let qos = QoS.allCases[number % 3]
                    ids.append(try await client.enqueue(ByteBuffer(string: "\(number)"), to: root, qos: qos))
                }
                try await client.flush()
                client.disconnect()
                var published: Set<PublishID> = []
                for await event in events {
                    if case .published(let id) = event { published.insert(id) }
                    if case .publishFailed(_, let error) = event { Issue.record("\(error)") }
                }
                #expect(published == Set(ids))
                withExtendedLifetime(subscription) {}
            }
        }
    }

    @Test("what was handed over before the client ends is sent", arguments: ProtocolVersion.allCases)
    func sentBeforeTheEnd(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            try await withClient(.test(server, "", version)) { receiver in
                let subscription = try await receiver.subscribe(to: root, qos: .atMostOnce)
                try await withClient(.test(server, "", version)) { sender in
                    try await sender.connected()
                    for number in 0..<20 { try await sender.publish("\(number)", to: root) }
                }
                #expect(await subscription.first(20).map(\.payloadString) == (0..<20).map(String.init))
            }
        }
    }

    @Test("a message that is removed before it was sent never comes; one that was sent cannot be")
    func removed() async throws {
        try await withServer { [root] server in
            try await withClient(.test(server)) { receiver in
                let subscription = try await receiver.subscribe(to: root, qos: .exactlyOnce)
                let sender = try MQTTClient(.test(server), logger: quiet)
                let events = sender.events
                var ids: [PublishID] = []
                for payload in ["0", "1", "2"] {
                    for qos in QoS.allCases {
                        ids.append(try await sender.enqueue(ByteBuffer(string: payload), to: root, qos: qos))
                    }
                }
                let unwanted = Array(ids[3..<6])
                for id in unwanted { sender.removePublish(id) }
                let running = Task { try await sender.run() }
                try await sender.flush()
                for id in ids { sender.removePublish(id) }
                sender.disconnect()
                try await running.value
                #expect(await subscription.first(6).map(\.payloadString).sorted() == ["0", "0", "0", "2", "2", "2"])
                var failed: [PublishID] = []
                for await case .publishFailed(let id, let error) in events {
                    #expect(error == .removed)
                    failed.append(id)
                }
                #expect(Set(failed) == Set(unwanted) && failed.count == unwanted.count)
            }
        }
    }

    @Test(
        "[MQTT-3.1.2-20] a client that has nothing to say pings, and stays connected",
        arguments: ProtocolVersion.allCases
    )
    func keepAlive(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            let link = try await PeerLink(to: server)
            try await withClient(.test(link.address, "", version) { $0.keepAlive = .seconds(3) }) { client in
                let events = client.events
                let subscription = try await client.subscribe(to: root, qos: .atLeastOnce)
                let before = link.bytesToClient
                // Longer than the server waits for a silent client, and time for two pings.
                try await secondsPass(7, at: server)
                // Two bytes each.
                #expect(link.bytesToClient - before >= 4)
                try await client.publish(["m"], to: root)
                #expect(await subscription.first(1).map(\.payloadString) == ["m"])
                client.disconnect()
                for await case .disconnected(let error) in events { Issue.record("\(error)") }
            }
        }
    }

    @Test("a connection that breaks is made again, and its subscriptions with it", arguments: ProtocolVersion.allCases)
    func again(_ version: ProtocolVersion) async throws {
        try await withServer { [root] server in
            let link = try await PeerLink(to: server)
            try await withClient(.test(link.address, "", version)) { client in
                let subscription = try await client.subscribe(to: root, qos: .exactlyOnce)
                let events = client.events
                for number in 0..<5 {
                    link.cut()
                    await events.reconnection()
                    // The session is a new one: the filter is asked for before anything else is.
                    #expect(try await !client.connected().sessionPresent)
                    try await client.publish("\(number)", to: root, qos: .exactlyOnce)
                    #expect(await subscription.first(1).map(\.payloadString) == ["\(number)"])
                }
            }
        }
    }

    /// A client that pauses for as long as nobody tells it otherwise, once its connection is cut.
    private func withPausing(
        _ body: @escaping @Sendable (MQTTClient, MQTTSubscription) async throws -> Void
    ) async throws {
        try await withServer { [root] server in
            let link = try await PeerLink(to: server)
            var configuration = MQTTClient.Configuration.test(link.address).lasting
            configuration.reconnect.delay = .seconds(3_600)
            configuration.reconnect.delayMax = .seconds(3_600)
            try await withClient(configuration) { client in
                let subscription = try await client.subscribe(to: root, qos: .exactlyOnce)
                let events = client.events
                link.cut()
                for await case .reconnecting in events { break }
                #expect(client.connectionState == .disconnected)
                try await body(client, subscription)
                try client.disconnect(properties: endingSession)
            }
        }
    }

    @Test("after a broken connection the next one is made at once where the program asks for it")
    func reconnect() async throws {
        try await withPausing { [root] client, subscription in
            async let publishing: Void = client.publish(["meanwhile"], to: root)
            client.reconnect()
            #expect(await subscription.first(1).map(\.payloadString) == ["meanwhile"])
            try await publishing
        }
    }

    @Test("a message that waits for the connection to come back can be removed")
    func removedInPause() async throws {
        try await withPausing { [root] client, subscription in
            let events = client.events
            for qos in QoS.allCases {
                for payload in ["unwanted", "\(qos)"] {
                    let id = try await client.enqueue(ByteBuffer(string: payload), to: root, qos: qos)
                    guard payload == "unwanted" else { continue }
                    client.removePublish(id)
                    for await case .publishFailed(let removed, let error) in events {
                        #expect(removed == id && error == .removed)
                        break
                    }
                }
            }
            client.reconnect()
            let payloads = await subscription.first(QoS.allCases.count).map(\.payloadString)
            #expect(Set(payloads) == Set(QoS.allCases.map { "\($0)" }))
        }
    }
}

import MQTT
import MQTTTesting
import Testing

/// Sessions that outlive their connections, with every server: see `PeerTests`.
@Suite(.timeLimit(.minutes(2))) struct PeerSessionTests {
    private let root = uniqueName()

    /// How a session is asked for that lasts.
    private static let lasting: [(ProtocolVersion, MQTTClient.SessionExpiry)] = [
        (.v3_1, .withConnection), (.v3_1_1, .withConnection), (.v5, .never), (.v5, .after(.seconds(600))),
    ]

    private func configuration(
        _ server: ServerAddress,
        _ version: ProtocolVersion = .v5,
        _ expiry: MQTTClient.SessionExpiry
    ) -> MQTTClient.Configuration {
        // 3.1 has no longer names.
        .test(server, String(root.suffix(20)), version) {
            $0.cleanStart = false
            $0.sessionExpiry = expiry
        }
    }

    /// Subscribes, and leaves.
    private func subscribe(
        _ configuration: MQTTClient.Configuration,
        _ properties: Properties = Properties()
    ) async throws {
        try await withClient(configuration) { client in
            let filters = QoS.allCases.map { TopicSubscription("\(root)/\($0)", qos: $0) }
            let subscription = try await client.subscribe(to: filters)
            try client.disconnect(properties: properties)
            #expect(await subscription.first(1).isEmpty)
        }
    }

    /// Whether the server has the session; it is not to be found again.
    private func isPresent(_ configuration: MQTTClient.Configuration) async throws -> Bool {
        try await MQTTClient.withConnection(configuration, logger: quiet) { client in
            let isPresent = try await client.connected().sessionPresent
            try client.disconnect(properties: endingSession)
            return isPresent
        }
    }

    @Test("what is published while a client is away waits for its next run, in order", arguments: lasting)
    func resumed(_ version: ProtocolVersion, _ expiry: MQTTClient.SessionExpiry) async throws {
        try await withServer { [root] server in
            let configuration = configuration(server, version, expiry)
            try await subscribe(configuration)
            try await withClient(.test(server)) { sender in
                for number in 0..<20 {
                    let qos = number % 2 == 0 ? QoS.atLeastOnce : .exactlyOnce
                    try await sender.publish("\(number)", to: "\(root)/\(qos)", qos: qos)
                }
            }
            let client = try MQTTClient(configuration, logger: quiet)
            let messages = client.unclaimedMessages()
            let running = Task { try await client.run() }
            let kept = await messages.first(20)
            #expect(kept.map(\.payloadString) == (0..<20).map(String.init))
            #expect(kept.map(\.qos) == (0..<20).map { $0 % 2 == 0 ? .atLeastOnce : .exactlyOnce })
            #expect(kept.allSatisfy { !$0.isDuplicate && !$0.isRetained })
            // 3.1 does not say so.
            if version > .v3_1 { #expect(try await client.connected().sessionPresent) }
            client.disconnect()
            try await running.value
            try await forgotten(configuration)
        }
    }

    /// A clean start ends what was there.
    private func forgotten(_ configuration: MQTTClient.Configuration) async throws {
        var configuration = configuration
        configuration.cleanStart = true
        let client = try MQTTClient(configuration, logger: quiet)
        let messages = client.unclaimedMessages()
        let running = Task { try await client.run() }
        #expect(try await !client.connected().sessionPresent)
        let subscription = try await client.subscribe(to: "\(root)/end", qos: .atLeastOnce)
        try await client.publish(["missed"], to: "\(root)/\(QoS.atLeastOnce)")
        try await client.publish(["end"], to: "\(root)/end")
        #expect(await subscription.first(1).count == 1)
        try await messages.unsubscribe()
        #expect(await messages.first(.max).isEmpty)
        try client.disconnect(properties: configuration.version == .v5 ? endingSession : Properties())
        try await running.value
    }

    @Test("subscriptions of an earlier run are found again by their filters, and what has waited comes to them")
    func claimed() async throws {
        try await withServer { [root] server in
            let configuration = configuration(server, .v5, .never)
            try await subscribe(configuration)
            let client = try MQTTClient(configuration, logger: quiet)
            let messages = client.unclaimedMessages()
            let running = Task { try await client.run() }
            let topic = "\(root)/\(QoS.exactlyOnce)"
            let subscription = try await client.subscribe(to: topic, qos: .exactlyOnce)
            try await client.publish("m", to: topic, qos: .exactlyOnce)
            #expect(await subscription.first(1).map(\.payloadString) == ["m"])
            try await messages.unsubscribe()
            #expect(await messages.first(1).isEmpty)
            try client.disconnect(properties: endingSession)
            try await running.value
        }
    }

    @Test("a session ends with its connection unless it was asked to last")
    func withConnection() async throws {
        try await withServer { server in
            let configuration = configuration(server, .v5, .withConnection)
            try await subscribe(configuration)
            #expect(try await !isPresent(configuration))
        }
    }

    @Test("[MQTT-3.1.2-23] a session ends so many seconds after its connection, and not before")
    func expires() async throws {
        try await withServer { server in
            let short = configuration(server, .v5, .after(.seconds(1)))
            let long = MQTTClient.Configuration.test(server, uniqueName()) {
                $0.cleanStart = false
                $0.sessionExpiry = .after(.seconds(600))
            }
            for configuration in [short, long] { try await subscribe(configuration) }
            try await secondsPass(8, at: server)
            #expect(try await !isPresent(short))
            #expect(try await isPresent(long))
        }
    }

    @Test("DISCONNECT can give the session another time to live", arguments: [0, 600] as [UInt32])
    func otherExpiry(_ seconds: UInt32) async throws {
        try await withServer { server in
            let configuration = configuration(server, .v5, .after(.seconds(seconds == 0 ? 600 : 1)))
            var properties = Properties()
            properties[integer: .sessionExpiryInterval] = seconds
            try await subscribe(configuration, properties)
            if seconds > 0 { try await secondsPass(8, at: server) }
            #expect(try await isPresent(configuration) == (seconds > 0))
        }
    }

    // Mosquitto closes the connection without saying why; the client would make it again.
    @Test("[MQTT-3.1.4-3] another client with the identifier takes the session over: run() throws so")
    func takenOver() async throws {
        try await withServer { server in
            var configuration = configuration(server, .v5, .never)
            if PeerServer.open.isForeign { configuration.reconnect = .never }
            let client = try MQTTClient(configuration, logger: quiet)
            let running = Task { try await client.run() }
            try await client.connected()
            #expect(try await isPresent(configuration))
            let error = await #expect(throws: MQTTError.self) { try await running.value }
            switch error {
            case .disconnected(.sessionTakenOver, _)?: #expect(!PeerServer.open.isForeign)
            case .connectionLost?: #expect(PeerServer.open.isForeign)
            default: Issue.record("\(String(describing: error))")
            }
            #expect(client.connectionState == .closed)
        }
    }

    @Test("[MQTT-3.2.2-16] the identifier that the server assigns is kept, and the session with it")
    func assigned() async throws {
        try await withServer { [root] server in
            let link = try await PeerLink(to: server)
            try await withClient(.test(link.address).lasting) { client in
                let first = try await client.connected()
                #expect(!first.clientID.isEmpty && !first.sessionPresent)
                let subscription = try await client.subscribe(to: root, qos: .atLeastOnce)
                let events = client.events
                link.cut()
                await events.reconnection()
                let second = try await client.connected()
                #expect(second.clientID == first.clientID && second.sessionPresent)
                try await client.publish(["m"], to: root)
                #expect(await subscription.first(1).map(\.payloadString) == ["m"])
                try client.disconnect(properties: endingSession)
            }
        }
    }

    @Test(
        "[MQTT-4.3.2-1] [MQTT-4.3.3-1] over a link that is cut: QoS 1 at least once, QoS 2 exactly once, in order",
        arguments: ProtocolVersion.allCases,
        [QoS.atLeastOnce, .exactlyOnce]
    )
    func cut(_ version: ProtocolVersion, _ qos: QoS) async throws {
        let expected = (0..<500).map(String.init)
        try await withServer { [root] server in
            let link = try await PeerLink(to: server)
            let name = String(root.suffix(20))
            try await withClient(.test(link.address, name + "/r", version).lasting) { receiver in
                let subscription = try await receiver.subscribe(to: root, qos: qos)
                try await withClient(.test(link.address, name + "/s", version).lasting) { sender in
                    let publishing = Task {
                        for payload in expected { try await sender.publish(payload, to: root, qos: qos) }
                        try await sender.publish("end", to: root, qos: qos)
                    }
                    var seen: [String] = []
                    for await message in subscription {
                        if message.payloadString == "end" { break }
                        seen.append(message.payloadString)
                        if seen.count % 100 == 50 { link.cut() }
                    }
                    try await publishing.value
                    var known: Set<String> = []
                    let distinct = seen.filter { known.insert($0).inserted }
                    #expect(distinct == expected)
                    if qos == .exactlyOnce { #expect(seen.count == expected.count) }
                    if version == .v5 { try sender.disconnect(properties: endingSession) }
                }
                if version == .v5 { try receiver.disconnect(properties: endingSession) }
            }
        }
    }
}

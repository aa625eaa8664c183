import MQTT
import MQTTPackets
import MQTTTesting
import Testing

@Suite(.timeLimit(.minutes(2))) struct ConnectTests {
    /// The CONNECT of a client.
    private func connect(
        _ version: ProtocolVersion = .v5,
        _ change: (inout MQTTClient.Configuration) -> Void
    ) async throws -> Connect {
        let server = try await FakeServer(version)
        var connect: Connect?
        try await withClient(.test(server.address, "", version, change)) { _ in
            connect = try await server.connection().accept()
        }
        return try #require(connect)
    }

    @Test("CONNECT says what the configuration does")
    func everything() async throws {
        var will = Will(topic: "w", payload: ByteBuffer(string: "gone"), qos: .exactlyOnce, isRetained: true)
        will.properties[integer: .willDelayInterval] = 5
        let connect = try await connect { [will] in
            $0.clientID = "me"
            $0.cleanStart = false
            $0.sessionExpiry = .after(.seconds(100))
            $0.keepAlive = .seconds(7)
            $0.userName = "u"
            $0.password = ByteBuffer(string: "p")
            $0.will = will
            $0.connectProperties.appendUserProperty("a", "b")
            $0.receiveMaximum = 9
            $0.packetBytesMax = 1_000
            $0.topicAliasesMax = 3
            $0.requestsResponseInformation = true
        }
        var expected = Connect(version: .v5, clientID: "me", cleanStart: false, keepAlive: 7, will: will)
        expected.userName = "u"
        expected.password = ByteBuffer(string: "p")
        expected.properties.appendUserProperty("a", "b")
        expected.properties[integer: .sessionExpiryInterval] = 100
        expected.properties[integer: .receiveMaximum] = 9
        expected.properties[integer: .maximumPacketSize] = 1_000
        expected.properties[integer: .topicAliasMaximum] = 3
        expected.properties[integer: .requestResponseInformation] = 1
        #expect(connect == expected)
    }

    @Test(
        "[MQTT-3.1.3-7] before 5.0 a client without an identifier makes one up",
        arguments: [ProtocolVersion.v3_1, .v3_1_1]
    )
    func madeUp(_ version: ProtocolVersion) async throws {
        let connect = try await connect(version) { _ in }
        #expect((1...23).contains(connect.clientID.utf8.count))
        #expect(connect.version == version)
    }

    @Test("credentials of the URL are sent, unless the configuration or the attempt has others")
    func credentials() async throws {
        let server = try await FakeServer()
        for (configured, prepared) in [(nil, nil), ("c", nil), ("c", "p")] as [(String?, String?)] {
            var address = server.address
            address.userName = "u"
            address.password = "s"
            let configuration = MQTTClient.Configuration.test(address) {
                $0.userName = configured
                if let prepared { $0.prepareConnection = { $0.userName = prepared } }
            }
            try await withClient(configuration) { _ in
                let connect = try await server.connection().accept()
                #expect(connect.userName == prepared ?? configured ?? "u")
                #expect(connect.password == ByteBuffer(string: "s"))
            }
        }
    }

    @Test("what the server has said that it does not do is not asked of it")
    func limits() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            let connection = try await server.connection()
            var properties = Properties()
            properties[integer: .maximumQoS] = 1
            properties[integer: .retainAvailable] = 0
            properties[integer: .maximumPacketSize] = 200
            properties[integer: .wildcardSubscriptionAvailable] = 0
            properties[integer: .sharedSubscriptionAvailable] = 0
            properties[integer: .subscriptionIdentifierAvailable] = 0
            try await connection.accept(properties)
            try await client.connected()
            await #expect(throws: MQTTError.publishRefused(.qosNotSupported)) {
                try await client.publish("m", to: "t", qos: .exactlyOnce)
            }
            await #expect(throws: MQTTError.publishRefused(.retainNotSupported)) {
                try await client.publish("m", to: "t", qos: .atLeastOnce, retain: true)
            }
            await #expect(throws: MQTTError.publishRefused(.packetTooLarge)) {
                try await client.publish(ByteBuffer(repeating: 0, count: 200), to: "t", qos: .atLeastOnce)
            }
            await #expect(throws: MQTTError.publishRefused(.retainNotSupported)) {
                try await client.publish("m", to: "t", retain: true)
            }
            await #expect(throws: MQTTError.publishRefused(.packetTooLarge)) {
                try await client.publish(ByteBuffer(repeating: 0, count: 200), to: "t")
            }
            // 9 bytes around the payload, and not one to spare.
            try await client.enqueue(ByteBuffer(repeating: 0, count: 191), to: "t", qos: .atLeastOnce)
            let largest = try await connection.publish()
            #expect(PacketEncoder(version: .v5).packetBytes(largest) == 200)
            connection.send(.puback(Acknowledgement(packetID: largest.packetID ?? 0)))
            var contentType = Properties()
            contentType[string: .contentType] = "text/plain"
            await #expect(throws: MQTTError.self) {
                _ = try await client.subscribe(to: [TopicSubscription("a")], properties: contentType)
            }
            for (filter, code) in [
                ("a/+", ReasonCode.wildcardSubscriptionsNotSupported), ("$share/g/a", .sharedSubscriptionsNotSupported),
            ] {
                let error = await #expect(throws: MQTTError.self) { _ = try await client.subscribe(to: filter) }
                #expect(error?.reasonCode == code)
            }
            let subscribing = Task { try await client.subscribe(to: "a") }
            guard case .subscribe(let subscribe)? = try await connection.next() else {
                throw TimedOut(description: "SUBSCRIBE")
            }
            #expect(subscribe.properties.isEmpty)
            connection.send(.suback(Suback(packetID: subscribe.packetID, reasonCodes: [.success])))
            _ = try await subscribing.value
        }
    }

    @Test("[MQTT-3.2.2-21] the server's Keep Alive takes the place of the client's")
    func serverKeepAlive() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address) { $0.keepAlive = .seconds(3_600) }) { _ in
            let connection = try await server.connection()
            var properties = Properties()
            properties[integer: .serverKeepAlive] = 1
            try await connection.accept(properties)
            #expect(try await connection.next() == .pingreq)
        }
    }

    @Test("[MQTT-3.3.2-12] topics get aliases by themselves, up to what the server allows, on each connection anew")
    func aliases() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address) { $0.automaticTopicAliasesMax = 10 }) { client in
            var properties = Properties()
            properties[integer: .topicAliasMaximum] = 1
            for _ in 0..<2 {
                let connection = try await server.connection()
                try await connection.accept(properties)
                for _ in 0..<2 { try await client.publish("m", to: "topic") }
                let first = try await connection.publish()
                #expect(first.topic == "topic" && first.properties[integer: .topicAlias] == 1)
                let second = try await connection.publish()
                #expect(second.topic.isEmpty && second.properties[integer: .topicAlias] == 1)
                connection.close()
                while case .connected = client.connectionState { await Task.yield() }
            }
            let plain = try await server.connection()
            try await plain.accept()
            try await client.publish("m", to: "topic")
            #expect(try await plain.publish() == Publish(topic: "topic", payload: ByteBuffer(string: "m")))
        }
    }

    @Test("messages of a session that was subscribed before are there for who asks")
    func unclaimed() async throws {
        try await withBroker { server in
            let lasting = MQTTClient.Configuration.test(server, "lasting") {
                $0.cleanStart = false
                $0.sessionExpiry = .never
            }
            try await MQTTClient.withConnection(lasting, logger: quiet) { client in
                let subscription = try await client.subscribe(to: "old", qos: .atLeastOnce)
                client.close()
                #expect(await subscription.first(1).isEmpty)
            }
            try await MQTTClient.withConnection(.test(server), logger: quiet) { other in
                try await other.publish("kept", to: "old", qos: .atLeastOnce)
            }
            let client = try MQTTClient(lasting, logger: quiet)
            let messages = client.unclaimedMessages()
            let running = Task { try await client.run() }
            #expect(await messages.first(1).map(\.payloadString) == ["kept"])
            #expect(try await client.connected().sessionPresent)
            client.disconnect()
            try await running.value
        }
    }
}

/// Sends what it was sent, reversed.
private struct Mirror: MQTTAuthenticator {
    struct Wrong: Error {}

    var method: String { "mirror" }

    func initialData() -> ByteBuffer? { ByteBuffer(string: "hello") }

    func respond(to challenge: ByteBuffer?) throws -> ByteBuffer? {
        guard let challenge, challenge.readableBytes > 0 else { throw Wrong() }
        return ByteBuffer(bytes: challenge.readableBytesView.reversed())
    }

    func succeeded(with data: ByteBuffer?) throws {
        guard data == ByteBuffer(string: "welcome") else { throw Wrong() }
    }
}

@Suite(.timeLimit(.minutes(2))) struct AuthenticationTests {
    private func properties(_ data: String) -> Properties {
        var properties = Properties()
        properties[string: .authenticationMethod] = "mirror"
        properties[binary: .authenticationData] = ByteBuffer(string: data)
        return properties
    }

    /// Challenges, and says what came back.
    private func challenge(_ connection: FakeServer.Connection, _ data: String) async throws -> Auth? {
        connection.send(.auth(Auth(reasonCode: .continueAuthentication, properties: properties(data))))
        guard case .auth(let auth)? = try await connection.next() else { return nil }
        return auth
    }

    @Test("[MQTT-4.12.0-3] [MQTT-4.12.1-1] an exchange before CONNACK, and another on the living connection")
    func exchange() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address) { $0.authenticator = Mirror() }) { client in
            let events = client.events
            let connection = try await server.connection()
            guard case .connect(let connect)? = try await connection.next() else {
                throw TimedOut(description: "CONNECT")
            }
            #expect(connect.properties[string: .authenticationMethod] == "mirror")
            #expect(connect.properties[binary: .authenticationData] == ByteBuffer(string: "hello"))
            let answer = try await challenge(connection, "abc")
            #expect(answer == Auth(reasonCode: .continueAuthentication, properties: properties("cba")))
            let accepted = Connack(sessionPresent: false, reasonCode: .success, properties: properties("welcome"))
            connection.send(.connack(accepted))
            try await client.connected()
            try await client.reauthenticate()
            #expect(
                try await connection.next() == .auth(Auth(reasonCode: .reAuthenticate, properties: properties("hello")))
            )
            #expect(try await challenge(connection, "xy")?.properties == properties("yx"))
            connection.send(.auth(Auth(reasonCode: .success, properties: properties("welcome"))))
            for await case .reauthenticated in events { break }
        }
    }

    @Test("a server whose last data are wrong is left, and so is one with another method")
    func wrongServer() async throws {
        for isMethodWrong in [false, true] {
            let server = try await FakeServer()
            let configuration = MQTTClient.Configuration.test(server.address) {
                $0.authenticator = Mirror()
                $0.reconnect = .never
            }
            let client = try MQTTClient(configuration, logger: quiet)
            let running = Task { try await client.run() }
            let connection = try await server.connection()
            if isMethodWrong {
                var properties = properties("a")
                properties[string: .authenticationMethod] = "other"
                guard case .connect? = try await connection.next() else { throw TimedOut(description: "CONNECT") }
                connection.send(.auth(Auth(reasonCode: .continueAuthentication, properties: properties)))
            } else {
                try await connection.accept(properties("wrong"))
                #expect(try await connection.next()?.kind == .disconnect)
            }
            #expect(try await connection.next() == nil)
            connection.close()
            await #expect(throws: MQTTError.self) { try await running.value }
        }
    }

    @Test("what there are fields for is theirs to say, and not connectProperties'")
    func precedence() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.topicAliasesMax = 0
            $0.sessionExpiry = .withConnection
            $0.requestsResponseInformation = false
            $0.connectProperties[integer: .topicAliasMaximum] = 5
            $0.connectProperties[integer: .sessionExpiryInterval] = 100
            $0.connectProperties[integer: .requestResponseInformation] = 1
            $0.connectProperties[integer: .maximumPacketSize] = 100
        }
        try await withClient(configuration) { _ in
            let properties = try await server.connection().accept().properties
            #expect(properties[integer: .maximumPacketSize] == nil)
            #expect(properties[integer: .topicAliasMaximum] ?? 0 == 0)
            #expect(properties[integer: .sessionExpiryInterval] ?? 0 == 0)
            #expect(properties[integer: .requestResponseInformation] ?? 0 == 0)
        }
    }
}

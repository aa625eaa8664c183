import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct HookAuthenticationTests {
    /// Accepts who answers the challenge "2+2" with "4"; the second step knows from the first who it is.
    private static let hooks: BrokerHooks = {
        var hooks = BrokerHooks()
        hooks.enhancedAuthentication = { _, request in
            guard request.method == "SUM" else { return .rejected(.badAuthenticationMethod) }
            let said = request.data.map { String(buffer: $0) } ?? ""
            guard let name = request.state as? String else {
                if said == "throws" { throw HookFault() }
                return .challenge(ByteBuffer(string: "2+2"), state: said)
            }
            guard said == "4" else { return .rejected(.notAuthorized) }
            let data = ByteBuffer(string: request.isAgain ? "again" : "done")
            return .accepted(data: data, username: name, attributes: ["by": request.method])
        }
        return hooks
    }()

    private func connect(method: String? = "SUM", _ data: String = "ann") -> Connect {
        var connect = Connect(version: .v5, clientID: "c")
        connect.properties[string: .authenticationMethod] = method
        if method != nil { connect.properties[binary: .authenticationData] = ByteBuffer(string: data) }
        return connect
    }

    private func auth(
        _ reason: ReasonCode,
        _ data: String?,
        method: String = "SUM"
    ) -> Packet {
        var properties = Properties()
        properties[string: .authenticationMethod] = method
        if let data { properties[binary: .authenticationData] = ByteBuffer(string: data) }
        return .auth(Auth(reasonCode: reason, properties: properties))
    }

    @Test("[MQTT-4.12.0-2] [MQTT-4.12.0-5] an exchange of AUTH packets ends in CONNACK with method and data")
    func accepted() async throws {
        let clients = Calls<ClientInfo>()
        var hooks = Self.hooks
        hooks.authorizePublish = { client, _ in
            clients.record(client)
            return .allow
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let client = try await connect.transport()
            try await client.send(.connect(self.connect()))
            #expect(try await client.next() == auth(.continueAuthentication, "2+2"))
            try await client.send(auth(.continueAuthentication, "4"))
            guard case .connack(let connack) = try await client.next() else { throw HookFault() }
            #expect(connack.reasonCode == .success)
            #expect(connack.properties[string: .authenticationMethod] == "SUM")
            #expect(connack.properties[binary: .authenticationData] == ByteBuffer(string: "done"))
            try await client.publish("t", "m")
            let seen = try await clients.next()
            #expect(seen.username == "ann")
            #expect(seen.attributes == ["by": "SUM"])
        }
    }

    @Test("[MQTT-4.12.0-4] a wrong answer, a method that is not known and a hook that throws refuse the client")
    func rejected() async throws {
        let log = HookLog()
        try await withBroker(testBroker(hooks: Self.hooks, logger: log.logger)) { _, connect in
            let client = try await connect.transport()
            try await client.send(.connect(self.connect()))
            #expect(try await client.next().kind == .auth)
            try await client.send(auth(.continueAuthentication, "5"))
            #expect(try await client.next() == .connack(Connack(sessionPresent: false, reasonCode: .notAuthorized)))
            #expect(try await client.nextOrEnd() == nil)
            #expect(try await connect.refusal(self.connect(method: "OTHER")) == .badAuthenticationMethod)
            #expect(try await connect.refusal(self.connect("throws")) == .serverUnavailable)
            #expect(log.hooks == ["enhancedAuthentication"])
        }
    }

    @Test("[MQTT-4.12.0-1] without the hook a CONNECT with a method is refused, also where there are others")
    func withoutHook() async throws {
        var hooks = BrokerHooks()
        hooks.authenticate = { _, _ in .accepted }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            #expect(try await connect.refusal(self.connect()) == .badAuthenticationMethod)
            let client = try await connect("c")
            try await client.send(auth(.reAuthenticate, nil))
            #expect(try await client.disconnectReason() == .protocolError)
        }
    }

    @Test("[MQTT-3.1.2-30] before CONNACK the client sends AUTH or DISCONNECT, of its method, and nothing else")
    func beforeConnack() async throws {
        try await withBroker(testBroker(hooks: Self.hooks)) { broker, connect in
            func begun() async throws -> TestClient {
                let client = try await connect.transport()
                try await client.send(.connect(self.connect()))
                #expect(try await client.next().kind == .auth)
                return client
            }
            let publisher = try await begun()
            try await publisher.publish("t", "m")
            #expect(try await publisher.nextOrEnd() == nil)
            #expect(broker.statistics.publishReceived == 0)
            let leaver = try await begun()
            try await leaver.leave()
            for (packet, reason) in [
                (auth(.continueAuthentication, "4", method: "OTHER"), ReasonCode.badAuthenticationMethod),
                (auth(.reAuthenticate, "4"), .protocolError),
            ] {
                let client = try await begun()
                try await client.send(packet)
                #expect(try await client.next() == .connack(Connack(sessionPresent: false, reasonCode: reason)))
                #expect(try await client.nextOrEnd() == nil)
            }
        }
    }

    @Test("a connected client authenticates itself again, while other packets flow")
    func again() async throws {
        let names = Calls<String?>()
        var hooks = Self.hooks
        hooks.authorizePublish = { client, _ in
            names.record(client.username)
            return .allow
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let client = try await self.connected(connect)
            try await client.send(auth(.reAuthenticate, "ben"))
            #expect(try await client.next() == auth(.continueAuthentication, "2+2"))
            try await client.publish("t", "m")
            #expect(try await names.next() == "ann")
            try await client.ping()
            try await client.send(auth(.continueAuthentication, "4"))
            try await client.publish("t", "m")
            #expect(try await client.next() == auth(.success, "again"))
            #expect(try await names.next() == "ben")
        }
    }

    private func connected(_ connect: Connector) async throws -> TestClient {
        let client = try await connect.transport()
        try await client.send(.connect(self.connect()))
        #expect(try await client.next().kind == .auth)
        try await client.send(auth(.continueAuthentication, "4"))
        #expect(try await client.next().kind == .connack)
        return client
    }

    @Test("[MQTT-4.12.1-1] [MQTT-4.12.1-2] another method, AUTH out of turn or a wrong answer end the connection")
    func againRejected() async throws {
        try await withBroker(testBroker(hooks: Self.hooks)) { _, connect in
            for (packet, reason) in [
                (auth(.reAuthenticate, nil, method: "OTHER"), ReasonCode.badAuthenticationMethod),
                (auth(.continueAuthentication, "4"), .protocolError), (auth(.success, "4"), .protocolError),
                (auth(.reAuthenticate, "throws"), .implementationSpecificError),
            ] {
                let client = try await self.connected(connect)
                try await client.send(packet)
                #expect(try await client.disconnectReason() == reason)
            }
            let client = try await self.connected(connect)
            try await client.send(auth(.reAuthenticate, "ben"))
            #expect(try await client.next().kind == .auth)
            try await client.send(auth(.continueAuthentication, "5"))
            #expect(try await client.disconnectReason() == .notAuthorized)
            // One that came without a method cannot begin [MQTT-4.12.0-7].
            let plain = try await connect("plain")
            try await plain.send(auth(.reAuthenticate, nil))
            #expect(try await plain.disconnectReason() == .protocolError)
        }
    }
}

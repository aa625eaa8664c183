import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite(.timeLimit(.minutes(1))) struct HookConnectTests {
    @Test("preConnect sees the CONNECT and the address, and lets it go on", arguments: hookVersions)
    func preConnect(_ version: ProtocolVersion) async throws {
        let calls = Calls<ConnectRequest>()
        var hooks = BrokerHooks()
        hooks.preConnect = { request in
            calls.record(request)
            return .proceed
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let will = Will(topic: "gone", payload: ByteBuffer(string: "w"))
            var packet = Connect(version: version, clientID: "c", keepAlive: 7, will: will, userName: "u")
            if version == .v5 { packet.properties.appendUserProperty("name", "value") }
            let (client, connack) = try await connect.connack(packet)
            #expect(connack.reasonCode == .success)
            try await client.ping()
            let request = try await calls.next()
            #expect(request.client.id == "c")
            #expect(request.client.version == version)
            #expect(request.client.username == "u")
            #expect(request.client.address.hasPrefix("127.0.0.1:"))
            #expect(request.keepAlive == 7)
            #expect(request.cleanStart)
            #expect(request.will == will)
            #expect(request.properties == packet.properties)
        }
    }

    @Test("preConnect refuses with a reason, before anybody looks at the password", arguments: hookVersions)
    func refused(_ version: ProtocolVersion) async throws {
        let calls = Calls<String>()
        var hooks = BrokerHooks()
        hooks.preConnect = { _ in .refuse(.connectionRateExceeded) }
        hooks.authenticate = { client, _ in
            calls.record(client.id)
            return .accepted
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let reason = try await connect.refusal(Connect(version: version, clientID: "c", userName: "u"))
            #expect(try reason == ReasonCode.connectionRateExceeded.inConnack(version))
            #expect(calls.all.isEmpty)
        }
    }

    @Test("authenticate gets user name and password, and accepts or rejects", arguments: hookVersions)
    func authenticate(_ version: ProtocolVersion) async throws {
        var hooks = BrokerHooks()
        hooks.authenticate = { _, credentials in
            guard let credentials else { return .rejected(.notAuthorized) }
            return credentials.username == "u" && credentials.password == "secret"
                ? .accepted : .rejected(.badUserNameOrPassword)
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            var packet = Connect(version: version, clientID: "c", userName: "u", password: ByteBuffer(string: "secret"))
            let (client, connack) = try await connect.connack(packet)
            #expect(connack.reasonCode == .success)
            try await client.leave()
            packet.password = ByteBuffer(string: "guess")
            #expect(try await connect.refusal(packet) == .badUserNameOrPassword)
            #expect(try await connect.refusal(Connect(version: version, clientID: "c")) == .notAuthorized)
        }
    }

    @Test("what authenticate says of a client is what other hooks see", arguments: hookVersions)
    func attributes(_ version: ProtocolVersion) async throws {
        let clients = Calls<ClientInfo>()
        var hooks = BrokerHooks()
        hooks.authenticate = { _, _ in .accepted(username: "device-7", attributes: ["tenant": "a"]) }
        hooks.authorizePublish = { client, _ in
            clients.record(client)
            return .allow
        }
        hooks.authorizeSubscribe = { client, _ in
            clients.record(client)
            return .allow
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let client = try await connect("", version: version)
            try await client.publish("t", "m")
            try await client.subscribe("t")
            for _ in 0..<2 {
                let seen = try await clients.next()
                #expect(seen.username == "device-7")
                #expect(seen.attributes == ["tenant": "a"])
                #expect(!seen.id.isEmpty, "an assigned client identifier is known")
                #expect(seen.version == version)
            }
        }
    }

    @Test("[MQTT-3.2.2-16] the identifier that hooks see is the one that CONNACK assigns, another for each client")
    func assignedClientID() async throws {
        let clients = Calls<String>()
        let door = Door()
        var hooks = BrokerHooks()
        hooks.authenticate = { client, _ in
            clients.record(client.id)
            await door.pass()
            return .accepted
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let connecting = [try await connect.transport(), try await connect.transport()]
            var seen: [String] = []
            for client in connecting {
                try await client.sendConnect("")
                seen.append(try await clients.next())
            }
            door.open()
            var assigned: [String?] = []
            for client in connecting {
                guard case .connack(let connack) = try await client.next() else { throw HookFault() }
                assigned.append(connack.properties[string: .assignedClientIdentifier])
            }
            #expect(assigned == seen)
            #expect(seen[0] != seen[1])
        }
    }

    @Test("a hook of CONNECT that throws or hangs refuses the client, and is in the log", arguments: hookVersions)
    func faults(_ version: ProtocolVersion) async throws {
        let (log, door) = (HookLog(), Door())
        var hooks = BrokerHooks()
        hooks.preConnect = { request in
            if request.client.id == "throws" { throw HookFault() }
            return .proceed
        }
        hooks.authenticate = { _, _ in
            await door.pass()
            return .accepted
        }
        let broker = testBroker(hooks: hooks, logger: log.logger) { $0.hookTimeout = .milliseconds(50) }
        try await withBroker(broker) { _, connect in
            let reason = try ReasonCode.serverUnavailable.inConnack(version)
            #expect(try await connect.refusal(Connect(version: version, clientID: "throws")) == reason)
            #expect(try await connect.refusal(Connect(version: version, clientID: "hangs")) == reason)
            #expect(log.hooks == ["preConnect", "authenticate"])
            #expect(log.reasons.first == HookFault().description)
            // The late answer is nobody's.
            door.open()
            #expect(try await connect("again", version: version).version == version)
        }
    }

    @Test("what a client sends behind CONNECT waits for the hook, in order, and one that goes cancels it")
    func pipelined() async throws {
        let (calls, gone, door) = (Calls<String>(), Calls<String>(), Door())
        var hooks = BrokerHooks()
        hooks.authenticate = { client, _ in
            calls.record(client.id)
            if client.id == "leaves" {
                await Door.passWhenCancelled()
                gone.record(client.id)
            }
            await door.pass()
            return .accepted
        }
        try await withBroker(testBroker(hooks: hooks)) { _, connect in
            let client = try await connect.transport()
            var bytes = PacketEncoder(version: .v5).encode(.connect(Connect(version: .v5, clientID: "c")))
            let filters = [Subscribe.Filter("t", SubscriptionOptions(qos: .atLeastOnce))]
            for packet: Packet in [
                .subscribe(Subscribe(packetID: 1, filters: filters)),
                .publish(Publish(topic: "t", payload: ByteBuffer(string: "m"), qos: .atLeastOnce, packetID: 2)),
                .pingreq,
            ] {
                PacketEncoder(version: .v5).encode(packet, into: &bytes)
            }
            try await client.send(bytes)
            _ = try await calls.next()
            let other = try await connect.transport()
            try await other.sendConnect("leaves")
            _ = try await calls.next()
            try await other.close()
            #expect(try await gone.next() == "leaves")
            #expect(client.received == 0)
            door.open()
            var kinds: [PacketKind] = []
            for _ in 0..<5 { kinds.append(try await client.next().kind) }
            #expect(kinds == [.connack, .suback, .publish, .puback, .pingresp])
        }
    }

    @Test("a client that waits for its hook is still taken over, and the connect timeout holds")
    func takeover() async throws {
        let (calls, door) = (Calls<String>(), Door())
        var hooks = BrokerHooks()
        hooks.authorizeSubscribe = { _, request in
            calls.record(request.filter)
            await door.pass()
            return .allow
        }
        hooks.authenticate = { client, _ in
            if client.id == "late" { await door.pass() }
            return .accepted
        }
        let broker = testBroker(hooks: hooks) { $0.connectTimeout = .seconds(3) }
        try await withBroker(broker) { _, connect in
            let first = try await connect("c")
            try await first.send(.subscribe(Subscribe(packetID: 1, filters: [Subscribe.Filter("t")])))
            _ = try await calls.next()
            let second = try await connect("c")
            #expect(try await first.disconnectReason() == .sessionTakenOver)
            door.open()
            try await second.ping()
            #expect(second.received == 2)
        }
        let slow = Door()
        hooks.authenticate = { _, _ in
            await slow.pass()
            return .accepted
        }
        let another = testBroker(hooks: hooks) { $0.connectTimeout = .seconds(3) }
        try await withBroker(another) { _, connect in
            let late = try await connect.transport()
            try await late.sendConnect("late")
            #expect(try await late.nextOrEnd() == nil)
            slow.open()
        }
    }
}

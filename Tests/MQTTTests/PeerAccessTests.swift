import MQTT
import MQTTServer
import MQTTTesting
import Testing

/// Who may do what, with a server that knows its users: see `PeerServer`.
@Suite(.timeLimit(.minutes(2))) struct PeerAccessTests {
    private let root = uniqueName()

    private func alice(
        _ server: ServerAddress,
        _ version: ProtocolVersion = .v5,
        password: String = "right"
    ) -> MQTTClient.Configuration {
        .test(server, "", version) {
            $0.userName = "alice"
            $0.password = ByteBuffer(string: password)
        }
    }

    @Test("user name and password let a client in, given by the configuration, the URL or the attempt")
    func accepted() async throws {
        try await withServer(.guarded) { server in
            var url = server
            (url.userName, url.password) = ("alice", "right")
            let prepared = MQTTClient.Configuration.test(server) {
                $0.prepareConnection = { attempt in
                    attempt.userName = "alice"
                    attempt.password = ByteBuffer(string: "right")
                }
            }
            for configuration in [alice(server), .test(url), prepared]
                + ProtocolVersion.allCases.map({ alice(server, $0) })
            {
                try await MQTTClient.withConnection(configuration, logger: quiet) { try await $0.connected() }
            }
        }
    }

    @Test("wrong credentials, or none, are refused for good", arguments: ProtocolVersion.allCases)
    func refused(_ version: ProtocolVersion) async throws {
        try await withServer(.guarded) { server in
            var other = alice(server, version)
            other.userName = "bob"
            for configuration in [alice(server, version, password: "wrong"), other, .test(server, "", version)] {
                let client = try MQTTClient(configuration, logger: quiet)
                let error = await #expect(throws: MQTTError.self) { try await client.run() }
                guard case .refused(let code, _)? = error else {
                    Issue.record("\(String(describing: error))")
                    continue
                }
                #expect([.notAuthorized, .badUserNameOrPassword].contains(code))
            }
        }
    }

    @Test("a refused client that is told to try again gets in once it is who it is to be")
    func retried() async throws {
        try await withServer(.guarded) { server in
            var configuration = alice(server)
            configuration.reconnect.retriesRefusals = true
            configuration.prepareConnection = { attempt in
                if attempt.number < 3 { attempt.password = ByteBuffer(string: "wrong") }
            }
            let client = try MQTTClient(configuration, logger: quiet)
            let events = client.events
            let running = Task { try await client.run() }
            try await client.connected()
            client.disconnect()
            try await running.value
            var refusals = 0
            for await case .disconnected(.refused) in events { refusals += 1 }
            #expect(refusals == 2)
        }
    }

    @Test("a message that may not be published throws the server's reason, and the connection goes on")
    func publish() async throws {
        try await withServer(.guarded) { [root] server in
            try await MQTTClient.withConnection(alice(server), logger: quiet) { client in
                let events = client.events
                let subscription = try await client.subscribe(to: "open/\(root)", qos: .exactlyOnce)
                for qos in [QoS.atLeastOnce, .exactlyOnce] {
                    await #expect(throws: MQTTError.publishRefused(.notAuthorized)) {
                        try await client.publish("m", to: "closed/\(root)", qos: qos)
                    }
                    let id = try await client.enqueue(ByteBuffer(string: "m"), to: "closed/\(root)", qos: qos)
                    try await client.publish("\(qos)", to: "open/\(root)", qos: qos)
                    #expect(await subscription.first(1).map(\.payloadString) == ["\(qos)"])
                    try await client.flush()
                    for await case .publishFailed(let failed, let error) in events {
                        #expect(failed == id && error == .publishRefused(.notAuthorized))
                        break
                    }
                }
            }
        }
    }

    @Test(
        "before 5.0 a message that may not be published is acknowledged all the same",
        arguments: [ProtocolVersion.v3_1, .v3_1_1],
        QoS.allCases
    )
    func publishUntold(_ version: ProtocolVersion, _ qos: QoS) async throws {
        try await withServer(.guarded) { [root] server in
            try await MQTTClient.withConnection(alice(server, version), logger: quiet) { client in
                let subscription = try await client.subscribe(to: "open/\(root)", qos: .exactlyOnce)
                #expect(try await client.publish("m", to: "closed/\(root)", qos: qos) == .success)
                try await client.publish("end", to: "open/\(root)", qos: qos)
                #expect(await subscription.first(1).map(\.payloadString) == ["end"])
            }
        }
    }

    // 3.1 has no answer that refuses.
    @Test(
        "a filter that may not be subscribed to throws what the server says to each",
        arguments: [ProtocolVersion.v3_1_1, .v5]
    )
    func subscribe(_ version: ProtocolVersion) async throws {
        try await withServer(.guarded) { [root] server in
            try await MQTTClient.withConnection(alice(server, version), logger: quiet) { client in
                let filters = ["open/\(root)", "closed/\(root)"]
                let error = await #expect(throws: MQTTError.self) {
                    _ = try await client.subscribe(to: filters.map { TopicSubscription($0, qos: .atLeastOnce) })
                }
                guard case .subscriptionRefused(let grants)? = error else {
                    Issue.record("\(String(describing: error))")
                    return
                }
                #expect(grants.map(\.filter) == filters)
                #expect(grants.map(\.qos) == [.atLeastOnce, nil])
                #expect(grants[1].reasonCode == (version == .v5 ? .notAuthorized : .unspecifiedError))
                // None of it is left: a publish finds nobody.
                let code = try await client.publish("m", to: filters[0], qos: .atLeastOnce)
                #expect(code == (version == .v5 ? .noMatchingSubscribers : .success))
            }
        }
    }

    @Test("a will that may not be published does not come")
    func will() async throws {
        try await withServer(.guarded) { [root] server in
            try await withClient(alice(server)) { witness in
                let subscription = try await witness.subscribe(to: "open/\(root)", qos: .atLeastOnce)
                for topic in ["closed", "open"] {
                    var leaving = alice(server)
                    leaving.will = Will(
                        topic: "\(topic)/\(root)",
                        payload: ByteBuffer(string: topic),
                        qos: .atLeastOnce
                    )
                    let client = try MQTTClient(leaving, logger: quiet)
                    let running = Task { try await client.run() }
                    // A server may refuse such a client.
                    _ = try? await client.connected()
                    client.close()
                    _ = await running.result
                }
                #expect(await subscription.first(1).map(\.payloadString) == ["open"])
            }
        }
    }
}

/// Reverses what it is told.
private struct Mirror: MQTTAuthenticator {
    struct Wrong: Error {}

    var method: String { "mirror" }
    func initialData() -> ByteBuffer? { ByteBuffer(string: "hello") }
    func respond(to challenge: ByteBuffer?) throws -> ByteBuffer? {
        guard let challenge else { throw Wrong() }
        return ByteBuffer(bytes: challenge.readableBytesView.reversed())
    }
    func succeeded(with data: ByteBuffer?) throws {
        guard data == ByteBuffer(string: "welcome") else { throw Wrong() }
    }
}

/// What mosquitto has only with a plugin that Debian does not have, or not at all: with our own broker alone.
@Suite(.timeLimit(.minutes(2))) struct PeerHookTests {
    private func withBroker(
        _ hooks: BrokerHooks,
        _ body: @escaping @Sendable (ServerAddress) async throws -> Void
    ) async throws {
        try await MQTTTests.withBroker(testBroker(hooks: hooks), body)
    }

    @Test("an exchange of AUTH packets lets a client in, and again while it is connected")
    func authentication() async throws {
        var hooks = BrokerHooks()
        hooks.enhancedAuthentication = { _, request in
            guard request.state == nil else {
                let isRight = request.data == ByteBuffer(string: "cba")
                return isRight ? .accepted(data: ByteBuffer(string: "welcome")) : .rejected(.notAuthorized)
            }
            return .challenge(ByteBuffer(string: "abc"), state: true)
        }
        try await withBroker(hooks) { server in
            let configuration = MQTTClient.Configuration.test(server) { $0.authenticator = Mirror() }
            try await MQTTClient.withConnection(configuration, logger: quiet) { client in
                let events = client.events
                try await client.reauthenticate()
                for await case .reauthenticated in events { break }
                try await client.publish(["m"], to: "t")
            }
        }
    }

    @Test("a client whose answer is wrong is refused")
    func wrongAnswer() async throws {
        var hooks = BrokerHooks()
        hooks.enhancedAuthentication = { _, request in
            request.state == nil ? .challenge(ByteBuffer(string: "a"), state: true) : .rejected(.notAuthorized)
        }
        try await withBroker(hooks) { server in
            let client = try MQTTClient(.test(server) { $0.authenticator = Mirror() }, logger: quiet)
            let error = await #expect(throws: MQTTError.self) { try await client.run() }
            #expect(error?.reasonCode == .notAuthorized)
        }
    }

    @Test(
        "a server that does not know the version of the protocol refuses it for good",
        arguments: ProtocolVersion.allCases
    )
    func unsupportedVersion(_ version: ProtocolVersion) async throws {
        var hooks = BrokerHooks()
        hooks.preConnect = { _ in .refuse(.unsupportedProtocolVersion) }
        try await withBroker(hooks) { server in
            let client = try MQTTClient(.test(server, "", version), logger: quiet)
            let error = await #expect(throws: MQTTError.self) { try await client.run() }
            guard case .refused(.unsupportedProtocolVersion, _)? = error else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
    }
}

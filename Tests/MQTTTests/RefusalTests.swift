import MQTT
import MQTTPackets
import MQTTTesting
import Testing

@Suite(.timeLimit(.minutes(2))) struct RefusalTests {
    private static let passing: [ReasonCode] = [
        .unspecifiedError, .implementationSpecificError, .serverUnavailable, .serverBusy, .quotaExceeded,
        .useAnotherServer, .serverMoved, .connectionRateExceeded,
    ]
    private static let lasting: [ReasonCode] = [
        .malformedPacket, .protocolError, .unsupportedProtocolVersion, .clientIdentifierNotValid,
        .badUserNameOrPassword, .notAuthorized, .banned, .badAuthenticationMethod, .topicNameInvalid, .packetTooLarge,
        .payloadFormatInvalid, .retainNotSupported, .qosNotSupported,
    ]

    /// A client that is refused once, and accepted if it comes again.
    private func comesAgain(_ code: ReasonCode, _ version: ProtocolVersion, retries: Bool) async throws {
        let server = try await FakeServer(version)
        let configuration = MQTTClient.Configuration.test(server.address, "c", version) {
            $0.reconnect.retriesRefusals = retries
        }
        try await withClient(configuration) { client in
            try await server.connection().refuse(code)
            try await server.connection().accept()
            try await client.connected()
        }
    }

    @Test(
        "a refusal that may pass is followed by another attempt, whatever the policy says of refusals",
        arguments: passing
    )
    func passes(_ code: ReasonCode) async throws {
        for retries in [false, true] { try await comesAgain(code, .v5, retries: retries) }
    }

    @Test(
        "before 5.0 a server that is unavailable is one that may come back",
        arguments: [ProtocolVersion.v3_1, .v3_1_1]
    )
    func unavailable(_ version: ProtocolVersion) async throws {
        try await comesAgain(.serverUnavailable, version, retries: false)
    }

    @Test(
        "a refusal for good ends run() with the server's code and reasons, unless refusals are to be tried again",
        arguments: lasting
    )
    func lasts(_ code: ReasonCode) async throws {
        try await comesAgain(code, .v5, retries: true)
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let running = Task { try await client.run() }
        var properties = Properties()
        properties[string: .reasonString] = "for good"
        try await server.connection().refuse(code, properties)
        await #expect(throws: MQTTError.refused(code, properties)) { try await running.value }
    }

    @Test("attempts are counted in a row: a connection that was made begins the count anew")
    func inARow() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address) { $0.reconnect.attemptsMax = 2 }, logger: quiet)
        let running = Task { try await client.run() }
        try await server.connection().refuse(.serverBusy)
        let made = try await server.connection()
        try await made.accept()
        made.close()
        for _ in 0..<2 { try await server.connection().refuse(.serverBusy) }
        await #expect(throws: MQTTError.refused(.serverBusy, Properties())) { try await running.value }
    }

    @Test("without reconnection a refusal that may pass ends run() too")
    func never() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.reconnect = .never
            $0.reconnect.retriesRefusals = true
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let running = Task { try await client.run() }
        try await server.connection().refuse(.serverBusy)
        await #expect(throws: MQTTError.refused(.serverBusy, Properties())) { try await running.value }
    }
}

@Suite(.timeLimit(.minutes(2))) struct ReferenceTests {
    /// How a server sends a client elsewhere.
    enum Way: CaseIterable, Sendable {
        case connack
        case disconnect
    }

    private func send(
        _ server: FakeServer,
        _ way: Way,
        _ code: ReasonCode,
        _ properties: Properties
    ) async throws {
        let connection = try await server.connection()
        guard way == .disconnect else {
            try await connection.refuse(code, properties)
            return
        }
        try await connection.accept()
        connection.send(.disconnect(Disconnect(reasonCode: code, properties: properties)))
    }

    private func configuration(_ tried: TriedServers, _ servers: FakeServer...) -> MQTTClient.Configuration {
        .test(servers[0].address) {
            $0.servers = servers.map(\.address)
            $0.environment.transport = tried.transport
        }
    }

    @Test(
        "[MQTT-4.11.0-1] a server that sends the client elsewhere, in CONNACK or in DISCONNECT, is obeyed for one attempt",
        arguments: Way.allCases,
        [ReasonCode.useAnotherServer, .serverMoved]
    )
    func followed(_ way: Way, _ code: ReasonCode) async throws {
        let (first, second, elsewhere) = (try await FakeServer(), try await FakeServer(), try await FakeServer())
        let tried = TriedServers()
        try await withClient(configuration(tried, first, second)) { _ in
            try await send(first, way, code, elsewhere.reference)
            try await elsewhere.connection().refuse(.serverBusy)
            try await second.connection().accept()
        }
        #expect(tried.all == [first, elsewhere, second].map(\.address))
    }

    @Test("a client that is not to follow takes the next server of its own list", arguments: Way.allCases)
    func notFollowed(_ way: Way) async throws {
        let (first, second, elsewhere) = (try await FakeServer(), try await FakeServer(), try await FakeServer())
        let tried = TriedServers()
        var configuration = configuration(tried, first, second)
        configuration.followsServerReference = false
        try await withClient(configuration) { _ in
            try await send(first, way, .useAnotherServer, elsewhere.reference)
            try await second.connection().accept()
        }
        #expect(tried.all == [first, second].map(\.address))
    }

    @Test("of several servers that are named the first is tried; a reference that names none is none")
    func several() async throws {
        let (first, second, elsewhere) = (try await FakeServer(), try await FakeServer(), try await FakeServer())
        let tried = TriedServers()
        try await withClient(configuration(tried, first, second)) { _ in
            var several = Properties()
            several[string: .serverReference] = "127.0.0.1:\(elsewhere.address.port) 127.0.0.1:1"
            try await send(first, .connack, .useAnotherServer, several)
            var none = Properties()
            none[string: .serverReference] = "127.0.0.1:no"
            try await send(elsewhere, .connack, .useAnotherServer, none)
            try await second.connection().accept()
        }
        #expect(tried.all == [first, elsewhere, second].map(\.address))
    }

    @Test("withConnection goes where the only server sends it")
    func reference() async throws {
        let (old, new) = (try await FakeServer(), try await FakeServer())
        let configuration = MQTTClient.Configuration.test(old.address)
        let connecting = Task {
            try await MQTTClient.withConnection(configuration, logger: quiet) { try await $0.connected().server }
        }
        try await old.connection().refuse(.useAnotherServer, new.reference)
        let answering = Task { try await new.connection().accept() }
        #expect(try await connecting.value == new.address)
        answering.cancel()
    }
}

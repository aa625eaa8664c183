import Foundation
import MQTT
import MQTTServer
import MQTTTesting
import NIOCore

/// A broker over sockets, for a client that is told of it by its address.
func withBroker(
    _ broker: MQTTBroker = testBroker(),
    _ body: @escaping @Sendable (ServerAddress) async throws -> Void
) async throws {
    try await withBroker(broker) { _, connect in
        let server = ServerAddress(host: "127.0.0.1", port: connect.address.port ?? 0)
        try await within("the test") { try await body(server) }
    }
}

/// A server that `MQTT_TEST_SERVER` or another variable names by its URL; without it a broker of our own.
enum PeerServer: String {
    /// Everybody may do everything.
    case open = "MQTT_TEST_SERVER"
    /// It takes packets of 2,000 bytes, 5 unacknowledged messages and 10 topic aliases, and has a Keep Alive of its own.
    case limited = "MQTT_TEST_LIMITED_SERVER"
    /// It knows `alice`, whose password is `right`, and who may publish and subscribe below `open` alone.
    case guarded = "MQTT_TEST_GUARDED_SERVER"

    private static let variables = ProcessInfo.processInfo.environment

    /// Whether it is not our own.
    var isForeign: Bool { Self.variables[rawValue] != nil }

    fileprivate func address() throws -> ServerAddress? { try Self.variables[rawValue].map { try ServerAddress($0) } }

    fileprivate func broker() -> MQTTBroker {
        testBroker(threads: 1, hooks: self == .guarded ? Self.guards : BrokerHooks()) {
            $0.systemTopicsInterval = .zero
            guard self == .limited else { return }
            $0.limits.packetBytesMax = 2_000
            $0.limits.receiveMaximum = 5
            $0.limits.topicAliasMaximum = 10
            $0.keepAliveMax = 1
        }
    }

    private static var guards: BrokerHooks {
        var hooks = BrokerHooks()
        hooks.authenticate = { _, credentials in
            let isKnown = credentials?.username == "alice" && credentials?.password == "right"
            return isKnown ? .accepted : .rejected(.notAuthorized)
        }
        hooks.authorizePublish = { _, request in request.topic.hasPrefix("open/") ? .allow : .deny() }
        hooks.authorizeSubscribe = { _, request in request.filter.hasPrefix("open/") ? .allow : .deny() }
        return hooks
    }
}

/// A server for as long as `body` takes.
func withServer(
    _ server: PeerServer = .open,
    _ body: @escaping @Sendable (ServerAddress) async throws -> Void
) async throws {
    guard let address = try server.address() else { return try await withBroker(server.broker(), body) }
    try await within("the test") { try await body(address) }
}

/// A name that nobody else has: a server may be shared by tests that run side by side.
func uniqueName() -> String { "test-" + String(UInt64.random(in: 0 ... .max), radix: 36) }

extension MQTTClient.Configuration {
    /// A client whose second attempt follows at once.
    static func test(
        _ server: ServerAddress,
        _ clientID: String = "",
        _ version: ProtocolVersion = .v5,
        _ change: (inout Self) -> Void = { _ in }
    ) -> Self {
        var configuration = Self(server: server)
        configuration.version = version
        configuration.clientID = clientID
        configuration.connectTimeout = .seconds(20)
        configuration.reconnect.delay = .milliseconds(1)
        configuration.reconnect.delayMax = .milliseconds(20)
        change(&configuration)
        return configuration
    }
}

extension MQTTClient.Configuration {
    /// The same with a session that outlives its connections.
    var lasting: Self {
        var configuration = self
        configuration.cleanStart = false
        configuration.sessionExpiry = .never
        return configuration
    }
}

/// A client that runs for as long as `body` does.
func withClient(
    _ configuration: MQTTClient.Configuration,
    _ body: (MQTTClient) async throws -> Void
) async throws {
    let client = try MQTTClient(configuration, logger: quiet)
    let running = Task { try await client.run() }
    do {
        try await body(client)
    } catch {
        client.close()
        _ = await running.result
        throw error
    }
    client.disconnect()
    try await running.value
}

extension AsyncSequence where Failure == Never {
    /// The next elements; fewer where the sequence ends.
    func first(_ count: Int) async -> [Element] {
        var elements: [Element] = []
        for await element in self {
            elements.append(element)
            if elements.count == count { break }
        }
        return elements
    }
}

extension MQTTSubscription {
    /// The payloads that come before the one that ends them.
    func payloads(before last: String) async -> [String] {
        var payloads: [String] = []
        for await message in self {
            if message.payloadString == last { break }
            payloads.append(message.payloadString)
        }
        return payloads
    }
}

extension MQTTClient {
    /// Awaits the guarantee of QoS 1.
    func publish(_ payloads: [String], to topic: String, retain: Bool = false) async throws {
        for payload in payloads { try await publish(payload, to: topic, qos: .atLeastOnce, retain: retain) }
    }
}

/// Of DISCONNECT, for a session that nobody is to find again.
let endingSession: Properties = {
    var properties = Properties()
    properties[integer: .sessionExpiryInterval] = 0
    return properties
}()

extension AsyncStream<MQTTClient.Event> {
    /// Returns once a connection was lost and another was made.
    func reconnection() async {
        for await case .disconnected in self { break }
        for await case .connected in self { break }
    }
}

/// Returns once more than so many seconds have passed at the server, as the delay of a will tells.
func secondsPass(_ seconds: UInt32, at server: ServerAddress) async throws {
    let topic = uniqueName()
    try await MQTTClient.withConnection(.test(server), logger: quiet) { witness in
        let wills = try await witness.subscribe(to: topic, qos: .atLeastOnce)
        var will = Will(topic: topic, payload: ByteBuffer(), qos: .atLeastOnce)
        will.properties[integer: .willDelayInterval] = seconds
        let leaving = MQTTClient.Configuration.test(server) { [will] in
            $0.will = will
            $0.sessionExpiry = .after(.seconds(seconds + 60))
        }
        try await MQTTClient.withConnection(leaving, logger: quiet) { $0.close() }
        _ = await wills.first(1)
    }
}

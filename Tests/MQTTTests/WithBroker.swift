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

/// The server that `MQTT_TEST_SERVER` names by its URL; without it a broker of our own.
func withServer(_ body: @escaping @Sendable (ServerAddress) async throws -> Void) async throws {
    guard let url = ProcessInfo.processInfo.environment["MQTT_TEST_SERVER"] else {
        return try await withBroker(testBroker(threads: 1) { $0.systemTopicsInterval = .zero }, body)
    }
    let server = try ServerAddress(url)
    try await within("the test") { try await body(server) }
}

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

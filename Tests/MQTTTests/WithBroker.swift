import Foundation
import Logging
import MQTT
import MQTTServer
import NIOCore

/// Something did not happen in time.
struct TimedOut: Error, CustomStringConvertible {
    let description: String
}

/// What `body` gives, or an error when it takes longer; `body` need not know of cancellation.
func within<Value: Sendable>(
    _ what: String,
    _ limit: Duration = .seconds(30),
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    let (values, continuation) = AsyncThrowingStream.makeStream(of: Value.self)
    let work = Task {
        do {
            continuation.yield(try await body())
        } catch {
            continuation.finish(throwing: error)
        }
    }
    let timer = Task {
        try await Task.sleep(for: limit)
        continuation.finish(throwing: TimedOut(description: "\(what) took longer than \(limit)"))
    }
    defer {
        work.cancel()
        timer.cancel()
    }
    for try await value in values { return value }
    throw CancellationError()
}

/// A logger that says nothing.
let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

func testBroker(port: Int = 0, configure: (inout BrokerConfiguration) -> Void = { _ in }) -> MQTTBroker {
    var configuration = BrokerConfiguration()
    configuration.addresses = [.init(host: "127.0.0.1", port: port)]
    configuration.threads = 1
    configuration.systemTopicsInterval = .zero
    configure(&configuration)
    return MQTTBroker(configuration: configuration, logger: quiet)
}

/// A broker that runs for as long as `body` does, over real sockets.
func withBroker(
    _ broker: MQTTBroker = testBroker(),
    _ body: @escaping @Sendable (ServerAddress) async throws -> Void
) async throws {
    let running = Task { try await broker.run() }
    do {
        let port = try await broker.boundAddresses.first?.port ?? 0
        try await within("the test") { try await body(ServerAddress(host: "127.0.0.1", port: port)) }
    } catch {
        running.cancel()
        _ = await running.result
        throw error
    }
    running.cancel()
    try await within("run() after it was cancelled") { try await running.value }
}

/// The server that `MQTT_TEST_SERVER` names by its URL; without it a broker of our own.
func withServer(_ body: @escaping @Sendable (ServerAddress) async throws -> Void) async throws {
    guard let url = ProcessInfo.processInfo.environment["MQTT_TEST_SERVER"] else {
        return try await withBroker(testBroker(), body)
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

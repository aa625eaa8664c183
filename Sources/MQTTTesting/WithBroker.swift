import Logging
import MQTTServer
import MQTTStore
import NIOCore

/// A broker that runs for as long as `body` does; its `run()` is to return in time.
///
/// ```swift
/// try await withBroker { broker, connect in
///     let subscriber = try await connect("subscriber")
///     try await subscriber.subscribe("t")
///     let publisher = try await connect.client("publisher")
///     try await publisher.publish("21.5", to: "t", qos: .atLeastOnce)
///     #expect(try await subscriber.nextPayload() == "21.5")
/// }
/// ```
///
/// - Parameters:
///   - world: `.live` runs the same test over real sockets and in real time.
///   - threads: event loops. In memory they share one thread.
///   - store: what the broker keeps messages in.
///   - hooks: what clients may do; everything unless given.
///   - logger: what the broker logs to; nothing is logged unless given.
///   - configure: changes the configuration, which listens at one port of loopback.
///   - body: the test, with the broker and a way to make clients and links.
public func withBroker(
    _ world: TestWorld = .inMemory,
    threads: Int = 2,
    store: any MessageStore = VolatileStore(),
    hooks: BrokerHooks = BrokerHooks(),
    logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
    configure: (inout BrokerConfiguration) -> Void = { _ in },
    _ body: (MQTTBroker, Connector) async throws -> Void
) async throws {
    var configuration = testConfiguration(threads: threads)
    configure(&configuration)
    let surroundings = Surroundings(world)
    configuration.environment = surroundings.broker
    let broker = MQTTBroker(configuration: configuration, store: store, hooks: hooks, logger: logger)
    try await run(broker, in: surroundings, body)
}

/// The same with a broker that is made already, over sockets.
package func withBroker(
    _ broker: MQTTBroker,
    _ body: (MQTTBroker, Connector) async throws -> Void
) async throws {
    try await run(broker, in: Surroundings(.live), body)
}

private func run(
    _ broker: MQTTBroker,
    in surroundings: Surroundings,
    _ body: (MQTTBroker, Connector) async throws -> Void
) async throws {
    let running = Task(executorPreference: surroundings.executor) { try await broker.run() }
    defer { surroundings.end() }
    let connector: Connector
    do {
        connector = Connector(surroundings, try await broker.address())
    } catch {
        running.cancel()
        throw error
    }
    do {
        try await body(broker, connector)
    } catch {
        await connector.end()
        running.cancel()
        // The test has failed already; whether the broker ends well besides is not asked.
        _ = try? await surroundings.clock.letTimePass(upTo: .seconds(60)) { await running.result }
        await connector.endLinks()
        throw error
    }
    await connector.end()
    running.cancel()
    try await surroundings.clock.letTimePass(upTo: .seconds(60)) { try await running.value }
    await connector.endLinks()
}

func testConfiguration(threads: Int) -> BrokerConfiguration {
    var configuration = BrokerConfiguration()
    configuration.addresses = [.init(host: "127.0.0.1", port: 0)]
    configuration.threads = threads
    return configuration
}

/// A broker on a port that the system chose.
package func testBroker(
    threads: Int = 2,
    store: any MessageStore = VolatileStore(),
    addresses: [BrokerConfiguration.Address] = [.init(host: "127.0.0.1", port: 0)],
    hooks: BrokerHooks = BrokerHooks(),
    logger: Logger = quiet,
    configure: (inout BrokerConfiguration) -> Void = { _ in }
) -> MQTTBroker {
    var configuration = testConfiguration(threads: threads)
    configuration.addresses = addresses
    configure(&configuration)
    return MQTTBroker(configuration: configuration, store: store, hooks: hooks, logger: logger)
}

extension MQTTBroker {
    /// The first address that it listens on.
    package func address() async throws -> SocketAddress {
        let addresses = try await within("listening") { try await self.boundAddresses }
        guard let first = addresses.first else { throw TestingError(description: "the broker listens nowhere") }
        return first
    }
}

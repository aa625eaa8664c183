import Logging
import MQTTPackets
import MQTTServer
import MQTTStore
import NIOCore

/// Something did not happen in time.
struct TimedOut: Error, CustomStringConvertible {
    let description: String
}

/// What `body` gives, or an error when it takes longer; `body` need not know of cancellation.
func within<Value: Sendable>(
    _ what: String,
    _ limit: Duration = .seconds(10),
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

/// Makes connections to a broker.
struct Connector: Sendable {
    let address: SocketAddress

    /// A client that has sent nothing yet.
    func transport(receiveBytes: Int? = nil) async throws -> TestClient {
        try await TestClient(address, receiveBytes: receiveBytes)
    }

    /// A client whose CONNECT was accepted.
    func callAsFunction(
        _ clientID: String = "",
        version: ProtocolVersion = .v5,
        will: Will? = nil,
        expiry: UInt32 = 0,
        receiveBytes: Int? = nil
    ) async throws -> TestClient {
        let client = try await transport(receiveBytes: receiveBytes)
        client.version = version
        try await client.sendConnect(clientID, will: will, expiry: expiry)
        guard case .connack(let connack) = try await client.next(), connack.reasonCode == .success else {
            throw TimedOut(description: "no CONNACK")
        }
        return client
    }
}

/// A broker on a port that the system chose.
func testBroker(
    threads: Int = 2,
    store: any MessageStore = VolatileStore(),
    addresses: [BrokerConfiguration.Address] = [.init(host: "127.0.0.1", port: 0)],
    hooks: BrokerHooks = BrokerHooks(),
    logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
    configure: (inout BrokerConfiguration) -> Void = { _ in }
) -> MQTTBroker {
    var configuration = BrokerConfiguration()
    configuration.addresses = addresses
    configuration.threads = threads
    configure(&configuration)
    return MQTTBroker(configuration: configuration, store: store, hooks: hooks, logger: logger)
}

extension MQTTBroker {
    /// The first address that it listens on.
    func address() async throws -> SocketAddress {
        let addresses = try await within("listening", .seconds(5)) { try await self.boundAddresses }
        guard let first = addresses.first else { throw TimedOut(description: "no address") }
        return first
    }
}

/// A broker that runs for as long as `body` does, over real sockets; its `run()` is to return in time.
func withBroker(
    _ broker: MQTTBroker = testBroker(),
    _ body: (MQTTBroker, Connector) async throws -> Void
) async throws {
    let running = Task { try await broker.run() }
    do {
        try await body(broker, Connector(address: try await broker.address()))
    } catch {
        running.cancel()
        throw error
    }
    running.cancel()
    try await within("run() after it was cancelled") { try await running.value }
}

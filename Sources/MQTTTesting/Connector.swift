import Logging
import MQTT
import MQTTPackets
import NIOCore
import Synchronization

/// Makes connections to a broker under test.
public struct Connector: Sendable {
    /// The time of the test.
    public var clock: TestClock { surroundings.clock }
    /// Where the broker listens; in memory nobody else can connect there.
    package let address: SocketAddress
    private let surroundings: Surroundings
    private let clients = RunningClients()

    init(_ surroundings: Surroundings, _ address: SocketAddress) {
        self.surroundings = surroundings
        self.address = address
    }

    /// To a broker that somebody else runs, over sockets.
    package init(address: SocketAddress) { self.init(Surroundings(.live), address) }

    /// A way to the broker for one client, which nobody has connected over yet.
    public func link(_ name: String = "the link") async throws -> Link {
        let link = try await Link(surroundings, to: address, name: name)
        clients.add(link)
        return link
    }

    private func way(_ link: Link?, _ name: String) async throws -> Link {
        if let link { return link }
        return try await self.link(name)
    }

    // MARK: Packet by packet

    /// A client that has sent nothing yet.
    public func transport(over link: Link? = nil) async throws -> TestClient {
        try await TestClient(way(link, "a test client"))
    }

    /// A client whose CONNECT was accepted. Without a keep alive, in seconds, no silence ends it.
    public func callAsFunction(
        _ clientID: String = "",
        version: ProtocolVersion = .v5,
        will: Will? = nil,
        expiry: UInt32 = 0,
        keepAlive: UInt16 = 0,
        over link: Link? = nil
    ) async throws -> TestClient {
        let client = try await transport(over: link)
        client.version = version
        try await client.sendConnect(clientID, will: will, expiry: expiry, keepAlive: keepAlive)
        guard case .connack(let connack) = try await client.next(), connack.reasonCode == .success else {
            throw client.unexpected("CONNACK with success")
        }
        return client
    }

    // MARK: The library's client

    /// An `MQTTClient` that runs until the test ends; it may be connected or not yet.
    public func client(
        _ clientID: String = "",
        over link: Link? = nil,
        configure: (inout MQTTClient.Configuration) -> Void = { _ in }
    ) async throws -> MQTTClient {
        var configuration = try await way(link, clientID).configuration(clientID: clientID)
        configure(&configuration)
        let client = try MQTTClient(configuration, logger: quiet)
        clients.run(client)
        return client
    }

    /// Ends the clients that were run.
    func end() async {
        for (client, running) in clients.takeClients() {
            client.disconnect()
            // How it ends is its own matter.
            _ = try? await clock.letTimePass(upTo: .seconds(60)) { await running.result }
        }
    }

    /// Nobody connects any more.
    func endLinks() async {
        // A link that is over already has nothing left to end.
        for link in clients.takeLinks() { try? await link.end() }
    }
}

/// A logger that says nothing.
package let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// What ends with the test.
private final class RunningClients: Sendable {
    private struct State {
        var clients: [(MQTTClient, Task<Void, any Error>)] = []
        var links: [Link] = []
    }

    private let state = Mutex(State())

    func add(_ link: Link) { state.withLock { $0.links.append(link) } }

    func run(_ client: MQTTClient) {
        let running = Task { try await client.run() }
        state.withLock { $0.clients.append((client, running)) }
    }

    func takeClients() -> [(MQTTClient, Task<Void, any Error>)] {
        state.withLock { state in
            defer { state.clients = [] }
            return state.clients
        }
    }

    func takeLinks() -> [Link] {
        state.withLock { state in
            defer { state.links = [] }
            return state.links
        }
    }
}

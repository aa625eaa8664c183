import MQTT
import MQTTPackets
import MQTTTransport
import NIOCore

/// The way between one client and the broker, over which connections come and go. It does to them what the test says, and
/// writes down their packets.
public final class Link: Sendable {
    /// Where a client that is to use this link connects to: only live, in memory `configuration` leads over it.
    public let address: ServerAddress
    /// By whom it is named in errors.
    public let name: String
    let socketAddress: SocketAddress
    private let surroundings: Surroundings
    private let listener: Listener
    private let state: NIOLoopBoundBox<LinkState>
    private let record: TranscriptRecord

    init(_ surroundings: Surroundings, to broker: SocketAddress, name: String) async throws {
        let loop = surroundings.makeLoop()
        let record = TranscriptRecord()
        let state = try await loop.submit {
            NIOLoopBoundBox(LinkState(surroundings, broker, loop, record), eventLoop: loop)
        }.get()
        self.surroundings = surroundings
        self.name = name
        self.record = record
        self.state = state
        listener = try await surroundings.listen(loop) { client in state.value.accept(client) }
        guard let address = listener.address, let host = address.ipAddress, let port = address.port else {
            throw TestingError(description: "the link listens nowhere")
        }
        socketAddress = address
        self.address = ServerAddress(host: host, port: port)
    }

    // MARK: Clients

    /// What makes an `MQTTClient` connect over this link. In memory it also lives in the test's time, and leaves nothing
    /// of its reconnect delays to chance.
    public func configuration(clientID: String = "") -> MQTTClient.Configuration {
        var configuration = MQTTClient.Configuration(server: address)
        configuration.clientID = clientID
        guard surroundings.clock.time != nil else { return configuration }
        let (surroundings, address) = (surroundings, socketAddress)
        configuration.environment.transport = ClientTransport { _, loop, _, initialize in
            surroundings.dial(address, loop, initialize)
        }
        configuration.environment.eventLoop = surroundings.makeLoop()
        configuration.environment.random = { 0 }
        configuration.environment.executor = surroundings.executor
        return configuration
    }

    /// A channel of the caller's own.
    package func dial(
        _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) async throws -> any Channel {
        let connecting = surroundings.dial(socketAddress, surroundings.makeLoop(), initialize)
        return try await within("connecting") { try await connecting.get() }
    }

    // MARK: Faults

    private func change(_ body: @escaping @Sendable (LinkState) throws -> Void) async throws {
        let state = state
        try await state.eventLoop.submit { try body(state.value) }.get()
    }

    /// Ends the connection abruptly, once so many more bytes have gone through in one direction: in the middle of a packet
    /// where they end there. Without a number it ends at once, and throws where there is none; with one it may be the
    /// next connection's.
    public func cut(after bytes: Int = 0, _ direction: LinkDirection = .toBroker) async throws {
        precondition(bytes >= 0, "bytes that went through do not return")
        try await change { try $0.cut(after: bytes, direction) }
    }

    /// Keeps each byte for a while, by the test's clock; zero ends that for what comes then. Nil is both directions.
    public func delay(_ time: Duration, _ direction: LinkDirection? = nil) async throws {
        try await change { state in for way in Self.directions(direction) { state.delays[way] = time } }
    }

    /// Loses all that comes, the end of the connection too: the connection is half open. This holds for the connection
    /// that there is, or for the next one. Nil is both directions.
    public func drop(_ direction: LinkDirection? = nil) async throws {
        try await change { $0.lose(Self.directions(direction)) }
    }

    /// Refuses the next connections, without a number all until `accept()`. Live they are closed as soon as they are made.
    public func refuse(_ connections: Int = .max) async throws { try await change { $0.refusals = connections } }

    /// Refuses no more.
    public func accept() async throws { try await refuse(0) }

    /// Takes nothing from one end, whose output piles up: by default the client is one that does not read.
    ///
    /// Live the system's buffers take some hundreds of kilobytes before that shows, in memory 64 KiB for each end.
    public func stall(_ direction: LinkDirection = .toClient) async throws {
        try await change { $0.stall([direction]) }
    }

    /// Ends all stalling.
    public func resume() async throws { try await change { $0.resume() } }

    private static func directions(_ direction: LinkDirection?) -> [LinkDirection] {
        direction.map { [$0] } ?? LinkDirection.allCases
    }

    // MARK: What has happened

    /// All that has gone over the link so far.
    public var transcript: Transcript { record.transcript }

    /// The next packet of a kind, behind the last one that was found so; others are passed over. It may have come before.
    ///
    /// - Parameters:
    ///   - kind: the packet's.
    ///   - direction: the way that it goes; nil is either.
    ///   - limit: in the machine's time, which goes on while the test's stands still. Beyond it the error's text has the
    ///     transcript.
    @discardableResult
    public func next(
        _ kind: PacketKind,
        _ direction: LinkDirection? = nil,
        within limit: Duration = .seconds(30)
    ) async throws -> TranscriptEntry {
        try await next("\(kind)".uppercased(), limit) { entry in
            guard case .packet(kind, let way) = entry.event else { return false }
            return direction == nil || way == direction
        }
    }

    /// The next connection, likewise.
    public func nextConnection(within limit: Duration = .seconds(30)) async throws {
        _ = try await next("connection", limit) { $0.event == .connected }
    }

    /// The next end of a connection, likewise.
    public func nextEnd(within limit: Duration = .seconds(30)) async throws {
        _ = try await next("end of a connection", limit) { $0.event == .closed }
    }

    private func next(
        _ what: String,
        _ limit: Duration,
        _ matches: @escaping @Sendable (TranscriptEntry) -> Bool
    ) async throws -> TranscriptEntry {
        do {
            return try await within(what, limit) { [record] in try await record.next(matches) }
        } catch let error as TestingError {
            throw TestingError(description: "\(error.description). The transcript of \(name):\n\(transcript)")
        }
    }

    /// Nobody connects any more.
    func end() async throws {
        await listener.close()
        try await change { $0.closeAll() }
    }
}

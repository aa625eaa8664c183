import ArgumentParser
import MQTTPackets
import MQTTSessions
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// What `pub` and `sub` have in common: whom to talk to, and as whom.
struct ConnectionOptions: ParsableArguments {
    @Option(name: [.customShort("h"), .long], help: "The broker's host.")
    var host: String = "localhost"

    @Option(name: .shortAndLong, help: "The broker's port.")
    var port: Int = 1883

    @Option(name: [.customShort("i"), .customLong("id")], help: "The client identifier; made up unless given.")
    var id: String?

    @Option(name: [.customShort("V"), .customLong("protocol-version")], help: "3.1, 3.1.1 or 5.")
    var version: ProtocolVersion = .v5

    @Option(name: [.customShort("u"), .long], help: "The user name.")
    var username: String?

    @Option(name: [.customShort("P"), .customLong("pw")], help: "The password.")
    var password: String?

    @Option(name: .shortAndLong, help: "Keep alive in seconds.")
    var keepalive: UInt16 = 60

    func validate() throws {
        guard (1...65_535).contains(port) else { throw ValidationError("-p is a port from 1 to 65535.") }
        for text in [id, username, password].compactMap({ $0 }) where text.utf8.count > 65_535 {
            throw ValidationError("An identifier, a user name or a password has at most 65535 bytes.")
        }
        if password != nil && username == nil && version < .v5 {
            throw ValidationError("A password without a user name needs MQTT 5.")
        }
    }

    var connect: Connect {
        Connect(
            version: version,
            clientID: id ?? "apus-" + String(UInt32.random(in: .min ... .max), radix: 36),
            keepAlive: keepalive,
            userName: username,
            password: password.map { ByteBuffer(string: $0) }
        )
    }
}

extension ProtocolVersion: ExpressibleByArgument {
    /// The versions as mosquitto's clients name them.
    public init?(argument: String) {
        switch argument {
        case "3", "3.1", "31", "mqttv31": self = .v3_1
        case "4", "3.1.1", "311", "mqttv311": self = .v3_1_1
        case "5", "5.0", "mqttv5": self = .v5
        default: return nil
        }
    }
}

/// One connection to a broker: packets in and out, and the client's session between them.
struct Connection: ~Copyable {
    private(set) var session: ClientSession
    private var decoder: PacketDecoder
    private var received = ByteBuffer()
    private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>

    /// Connects, and hands the connection to `body` once the broker has accepted it.
    static func with(
        _ options: ConnectionOptions,
        _ body: @escaping @Sendable (inout Connection) async throws -> Void
    ) async throws {
        let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
        do {
            channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .connect(host: options.host, port: options.port) { channel in
                    channel.eventLoop.makeCompletedFuture { try NIOAsyncChannel(wrappingChannelSynchronously: channel) }
                }
        } catch {
            throw CommandFailure("cannot connect to \(options.host) port \(options.port): \(describe(error))")
        }
        try await channel.executeThenClose { inbound, outbound in
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                if options.keepalive > 0 {
                    let interval = Duration.seconds(Double(options.keepalive) / 2)
                    tasks.addTask { try await keepAlive(outbound, every: interval) }
                }
                var connection = Connection(options.connect, inbound.makeAsyncIterator(), outbound)
                try await connection.begin()
                try await body(&connection)
                connection.session.disconnect()
                try await connection.flush()
                tasks.cancelAll()
            }
        }
    }

    /// What the system said, without the layers around it.
    private static func describe(_ error: any Error) -> String {
        guard let error = error as? NIOConnectionError else { return "\(error)" }
        if let refusal = error.connectionErrors.first?.error as? IOError {
            return String(cString: strerror(refusal.errnoCode)).lowercased()
        }
        return "\(error.dnsAError ?? error.dnsAAAAError ?? error)"
    }

    private static func keepAlive(
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>,
        every interval: Duration
    ) async throws {
        while true {
            do { try await Task.sleep(for: interval) } catch { return }
            try await outbound.write(PacketEncoder(version: .v5).encode(.pingreq))
        }
    }

    private init(
        _ connect: Connect,
        _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) {
        session = ClientSession(connect: connect)
        decoder = PacketDecoder(version: connect.version)
        self.inbound = inbound
        self.outbound = outbound
    }

    private mutating func begin() async throws {
        session.connectionBegan()
        try await flush()
        guard case .connected(let connack)? = try await next() else {
            throw CommandFailure("the broker closed the connection before it accepted it")
        }
        guard connack.reasonCode == .success else {
            throw CommandFailure("the broker refused the connection: \(connack.reasonCode)")
        }
    }

    mutating func publish(_ publish: Publish) async throws -> UInt64? {
        let number = session.publish(publish)
        try await flush()
        return number
    }

    mutating func subscribe(_ filters: [Subscribe.Filter]) async throws {
        _ = session.subscribe(filters)
        try await flush()
    }

    /// The next thing that happened; nil once the broker has closed the connection.
    mutating func next() async throws -> ClientSession.Event? {
        while true {
            do {
                while let packet = try decoder.next(&received) {
                    let event = try session.received(packet)
                    try await flush()
                    if case .disconnected(let disconnect)? = event {
                        throw CommandFailure("the broker closed the connection: \(disconnect.reasonCode)")
                    }
                    if let event { return event }
                }
            } catch let error as DecodingError {
                throw CommandFailure("the broker does not speak \(session.version): \(error.explanation)")
            }
            guard var bytes = try await inbound.next() else { return nil }
            received.writeBuffer(&bytes)
        }
    }

    private mutating func flush() async throws {
        guard session.output.readableBytes > 0 else { return }
        let output = session.output
        session.output = ByteBuffer()
        try await outbound.write(output)
    }
}

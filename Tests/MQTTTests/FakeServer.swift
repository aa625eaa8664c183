import MQTT
import MQTTPackets
import MQTTTesting
import NIOCore
import NIOPosix

/// A server that a test plays by hand, packet by packet or byte by byte.
final class FakeServer: Sendable {
    /// One connection that a client has made.
    final class Connection: Sendable {
        private let channel: any Channel
        private let packets: AsyncThrowingStream<Packet, any Error>
        let version: ProtocolVersion

        init(_ channel: any Channel, _ packets: AsyncThrowingStream<Packet, any Error>, _ version: ProtocolVersion) {
            self.channel = channel
            self.packets = packets
            self.version = version
        }

        /// The next packet; nil where the client has closed.
        func next() async throws -> Packet? {
            let packets = packets
            return try await within("the client's next packet") {
                for try await packet in packets { return packet }
                return nil
            }
        }

        func send(_ packet: Packet) { send(PacketEncoder(version: version).encode(packet)) }

        func send(_ bytes: ByteBuffer) { channel.writeAndFlush(bytes, promise: nil) }

        func close() { channel.close(promise: nil) }

        /// Takes CONNECT, and answers it.
        @discardableResult
        func accept(_ properties: Properties = Properties(), sessionPresent: Bool = false) async throws -> Connect {
            guard case .connect(let connect)? = try await next() else { throw TimedOut(description: "no CONNECT") }
            let reasonCode = ReasonCode.success
            send(.connack(Connack(sessionPresent: sessionPresent, reasonCode: reasonCode, properties: properties)))
            return connect
        }

        /// The next packet, which is a PUBLISH.
        func publish() async throws -> Publish {
            guard case .publish(let publish)? = try await next() else { throw TimedOut(description: "no PUBLISH") }
            return publish
        }
    }

    private let channel: any Channel
    private let connections: AsyncStream<Connection>

    init(_ version: ProtocolVersion = .v5) async throws {
        let (connections, continuation) = AsyncStream.makeStream(of: Connection.self)
        self.connections = connections
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let (packets, inbox) = AsyncThrowingStream.makeStream(of: Packet.self)
                    try channel.pipeline.syncOperations.addHandler(PacketsHandler(inbox))
                    continuation.yield(Connection(channel, packets, version))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    deinit { channel.close(promise: nil) }

    var address: ServerAddress { ServerAddress(host: "127.0.0.1", port: channel.localAddress?.port ?? 0) }

    /// The next connection that a client makes.
    func connection() async throws -> Connection {
        let connections = connections
        return try await within("the next connection") {
            for await connection in connections { return connection }
            throw CancellationError()
        }
    }
}

private final class PacketsHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let inbox: AsyncThrowingStream<Packet, any Error>.Continuation
    private var decoder = PacketDecoder(version: nil)
    private var rest = ByteBuffer()

    init(_ inbox: AsyncThrowingStream<Packet, any Error>.Continuation) { self.inbox = inbox }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        rest.writeBuffer(&bytes)
        do {
            while let packet = try decoder.next(&rest) { inbox.yield(packet) }
        } catch {
            inbox.finish(throwing: error)
        }
    }

    func channelInactive(context: ChannelHandlerContext) { inbox.finish() }

    /// The end of a connection, like any other.
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

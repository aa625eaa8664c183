import MQTT
import NIOCore
import NIOPosix
import Synchronization

/// A way to a server that can be cut, and that counts what goes over it.
final class PeerLink: Sendable {
    private struct State {
        var channels: [any Channel] = []
        var bytesToServer = 0
        var bytesToClient = 0
    }

    private final class Counts: Sendable {
        let state = Mutex(State())
    }

    private let counts = Counts()
    private let listener: any Channel

    init(to server: ServerAddress) async throws {
        listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { [counts] client in
                counts.state.withLock { $0.channels.append(client) }
                return ClientBootstrap(group: client.eventLoop)
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture {
                            let forwarder = Forwarder(to: client) { count in
                                counts.state.withLock { $0.bytesToClient += count }
                            }
                            try channel.pipeline.syncOperations.addHandler(forwarder)
                        }
                    }
                    .connect(host: server.host, port: server.port)
                    .flatMapThrowing { channel in
                        let forwarder = Forwarder(to: channel) { count in
                            counts.state.withLock { $0.bytesToServer += count }
                        }
                        try client.pipeline.syncOperations.addHandler(forwarder)
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
    }

    deinit { listener.close(promise: nil) }

    /// Where it begins.
    var address: ServerAddress { ServerAddress(host: "127.0.0.1", port: listener.localAddress?.port ?? 0) }

    var bytesToServer: Int { counts.state.withLock { $0.bytesToServer } }
    var bytesToClient: Int { counts.state.withLock { $0.bytesToClient } }

    /// Breaks all connections; new ones can be made.
    func cut() {
        let channels = counts.state.withLock { state in
            defer { state.channels = [] }
            return state.channels
        }
        for channel in channels { channel.close(promise: nil) }
    }
}

/// Hands on what comes, and the end.
private final class Forwarder: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let other: any Channel
    private let count: (Int) -> Void

    init(to other: any Channel, count: @escaping (Int) -> Void) {
        self.other = other
        self.count = count
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        count(bytes.readableBytes)
        other.writeAndFlush(bytes, promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

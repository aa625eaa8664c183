import NIOCore
import NIOPosix

/// What a server listens on.
package struct Listener: Sendable {
    /// Connections that the system keeps while they wait to be accepted: enough for a reconnect storm.
    private static let backlog: Int32 = 4_096

    package let address: SocketAddress?
    private let end: @Sendable () async -> Void

    /// Listens at an address until it is told to end.
    package init(address: SocketAddress?, end: @escaping @Sendable () async -> Void) {
        self.address = address
        self.end = end
    }

    /// Binds to a TCP address and hands every connection to `initialize`, on the connection's event loop.
    package static func bind(
        host: String,
        port: Int,
        group: any EventLoopGroup,
        initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) async throws -> Listener {
        let channel = try await ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.maxMessagesPerRead, value: 64)
            .childChannelInitializer { child in
                do {
                    try configure(child)
                    return initialize(child)
                } catch {
                    return child.eventLoop.makeFailedFuture(error)
                }
            }
            .bind(host: host, port: port)
            .get()
        return Listener(address: channel.localAddress) {
            // It may have been closed by an error already; there is nothing else to do about it.
            try? await channel.close()
        }
    }

    /// Set here and not through the bootstrap, which boxes each option and makes futures for it, for each connection.
    /// TCP_NODELAY is what the bootstrap sets by itself.
    private static func configure(_ channel: any Channel) throws {
        guard let options = channel.syncOptions else { throw ChannelError.inappropriateOperationForState }
        // One read a turn, and small buffers for connections that are silent.
        try options.setOption(.maxMessagesPerRead, value: 1)
        try options.setOption(
            .recvAllocator,
            value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 1_024, maximum: 65_536)
        )
        try options.setOption(.writeBufferWaterMark, value: .init(low: 32 << 10, high: 128 << 10))
    }

    package func close() async { await end() }
}

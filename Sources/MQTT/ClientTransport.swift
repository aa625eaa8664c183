import NIOCore
import NIOPosix

/// Makes the channels that a client's packets go through. Bytes of MQTT are what `initialize` sees, whatever is below.
struct ClientTransport: Sendable {
    /// Resolves the name, tries each address, and adds what `initialize` adds before anything is read.
    let connect:
        @Sendable (
            _ server: ServerAddress, _ eventLoop: any EventLoop, _ timeout: TimeAmount,
            _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
        ) -> EventLoopFuture<any Channel>

    static let tcp = ClientTransport { server, eventLoop, timeout, initialize in
        ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 256, initial: 256, maximum: 65_536)
            )
            .channelOption(.writeBufferWaterMark, value: .init(low: 64 << 10, high: 256 << 10))
            .channelInitializer(initialize)
            .connect(host: server.host, port: server.port)
    }
}

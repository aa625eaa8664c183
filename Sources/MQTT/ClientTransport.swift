import NIOCore
import NIOPosix

/// Makes the channels that a client's packets go through. Bytes of MQTT are what `initialize` sees, whatever is below.
package struct ClientTransport: Sendable {
    /// Resolves the name, tries each address, and adds what `initialize` adds before anything is read.
    package let connect:
        @Sendable (
            _ server: ServerAddress, _ eventLoop: any EventLoop, _ timeout: TimeAmount,
            _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
        ) -> EventLoopFuture<any Channel>

    /// Another one.
    package init(
        connect:
            @escaping @Sendable (
                _ server: ServerAddress, _ eventLoop: any EventLoop, _ timeout: TimeAmount,
                _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
            ) -> EventLoopFuture<any Channel>
    ) {
        self.connect = connect
    }

    /// Over sockets.
    package static let tcp = ClientTransport { server, eventLoop, timeout, initialize in
        bootstrap(eventLoop, timeout, initialize).connect(host: server.host, port: server.port)
    }

    /// The same from an address of this machine.
    package static func tcp(from address: SocketAddress) -> ClientTransport {
        ClientTransport { server, eventLoop, timeout, initialize in
            bootstrap(eventLoop, timeout, initialize).bind(to: address).connect(host: server.host, port: server.port)
        }
    }

    /// Over a Unix domain socket, whatever the server's address is.
    package static func unix(path: String) -> ClientTransport {
        ClientTransport { _, eventLoop, timeout, initialize in
            bootstrap(eventLoop, timeout, initialize).connect(unixDomainSocketPath: path)
        }
    }

    private static func bootstrap(
        _ eventLoop: any EventLoop,
        _ timeout: TimeAmount,
        _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> ClientBootstrap {
        ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 256, initial: 256, maximum: 65_536)
            )
            .channelOption(.writeBufferWaterMark, value: .init(low: 64 << 10, high: 256 << 10))
            .channelInitializer(initialize)
    }
}

/// What a client has of the world around it, for tests to replace.
package struct ClientEnvironment: Sendable {
    /// What its packets go through.
    package var transport = ClientTransport.tcp
    /// Where the client lives, whose timers and clock it follows; nil is one of the group that it was given.
    package var eventLoop: (any EventLoop)?
    /// From 0 to 1: how much of a delay's jitter is taken off.
    package var random: @Sendable () -> Double = { Double.random(in: 0...1) }
    /// Milliseconds since 1970.
    package var wallClock: @Sendable () -> Int64 = WallClock.now
    /// Where `run()` goes on; nil is anywhere.
    package var executor: (any TaskExecutor)?

    /// This machine's.
    package init() {}
}

import MQTTTransport
import NIOCore
import NIOPosix

/// What a broker has of the world around it: event loops, clocks, and where connections come from. Tests have another
/// world than this machine.
package struct BrokerEnvironment: Sendable {
    /// Nanoseconds of a clock that never goes back. The loops' timers follow the same clock.
    package var uptime: @Sendable () -> UInt64
    /// Milliseconds since 1970.
    package var wallClock: @Sendable () -> Int64
    /// As many event loops, which end with their group.
    package var makeLoops: @Sendable (_ count: Int) -> any EventLoopGroup
    /// Hands every connection to `initialize`, on the connection's loop, which is one of the group.
    package var listen:
        @Sendable (
            _ host: String, _ port: Int, _ group: any EventLoopGroup,
            _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
        ) async throws -> Listener
    /// Where commits to a store without an executor of its own are made; nil is anywhere.
    package var executor: (any TaskExecutor)?

    /// Another world.
    package init(
        uptime: @escaping @Sendable () -> UInt64,
        wallClock: @escaping @Sendable () -> Int64,
        makeLoops: @escaping @Sendable (_ count: Int) -> any EventLoopGroup,
        listen:
            @escaping @Sendable (
                _ host: String, _ port: Int, _ group: any EventLoopGroup,
                _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
            ) async throws -> Listener,
        executor: (any TaskExecutor)? = nil
    ) {
        self.uptime = uptime
        self.wallClock = wallClock
        self.makeLoops = makeLoops
        self.listen = listen
        self.executor = executor
    }

    /// Threads, sockets and clocks of this machine.
    package static let system = BrokerEnvironment(
        uptime: { NIODeadline.now().uptimeNanoseconds },
        wallClock: WallClock.now,
        makeLoops: { MultiThreadedEventLoopGroup(numberOfThreads: $0) },
        listen: { host, port, group, initialize in
            try await Listener.bind(host: host, port: port, group: group, initialize: initialize)
        }
    )
}

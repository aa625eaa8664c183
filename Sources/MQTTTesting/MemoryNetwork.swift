import MQTTTransport
import NIOCore
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// Addresses that are listened at and connected to, without sockets.
final class MemoryNetwork: Sendable {
    private struct Listening: Sendable {
        let group: any EventLoopGroup
        let initialize: @Sendable (any Channel) -> EventLoopFuture<Void>
    }

    private struct State {
        var listening: [SocketAddress: Listening] = [:]
        /// The first that the system would choose.
        var nextPort = 49_152
        var connections = 0
    }

    private let state = Mutex(State())

    /// Port 0 is one that nobody else has.
    func listen(
        _ host: String,
        _ port: Int,
        _ group: any EventLoopGroup,
        _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) throws -> Listener {
        let address = try state.withLock { state in
            if port == 0 { state.nextPort += 1 }
            let address = try SocketAddress(ipAddress: host, port: port == 0 ? state.nextPort : port)
            guard state.listening[address] == nil else {
                throw IOError(errnoCode: EADDRINUSE, reason: "listen in memory")
            }
            state.listening[address] = Listening(group: group, initialize: initialize)
            return address
        }
        return Listener(address: address) {
            _ = self.state.withLock { $0.listening.removeValue(forKey: address) }
        }
    }

    /// Connects to a listener: `initialize` adds handlers to this end, on its loop, before anything is read.
    func connect(
        to address: SocketAddress,
        on eventLoop: any EventLoop,
        _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) -> EventLoopFuture<any Channel> {
        let (listening, number) = state.withLock { state in
            state.connections += 1
            return (state.listening[address], state.connections)
        }
        guard let listening else {
            return eventLoop.makeFailedFuture(IOError(errnoCode: ECONNREFUSED, reason: "connect in memory"))
        }
        // Each loop in its turn.
        let loops = Array(listening.group.makeIterator())
        let loop = loops[number % loops.count]
        let local = try? SocketAddress(ipAddress: "127.0.0.1", port: 1_024 + number % 48_000)
        return Self.connect((eventLoop, local, initialize), (loop, address, listening.initialize))
    }

    typealias End = (
        loop: any EventLoop, address: SocketAddress?,
        initialize: @Sendable (any Channel) -> EventLoopFuture<Void>
    )

    /// A pipe, both ends of which are ready to go; gives the first.
    static func connect(_ one: End, _ other: End) -> EventLoopFuture<any Channel> {
        one.loop.flatSubmit {
            let (first, second) = MemoryChannel.pair((one.loop, one.address), (other.loop, other.address))
            return one.initialize(first).and(other.initialize(second)).flatMapThrowing { _ in
                first.core.activate()
                second.core.activate()
                return first
            }
            .flatMapErrorThrowing { error in
                first.close(promise: nil)
                second.close(promise: nil)
                throw error
            }
        }
    }
}

import Logging
import MQTTCore
import MQTTStore
import MQTTTransport
import NIOCore
import NIOPosix
import ServiceLifecycle
import Synchronization

/// An MQTT broker for 3.1, 3.1.1 and 5.0.
///
/// ```swift
/// let broker = MQTTBroker()
/// try await broker.run()
/// ```
public final class MQTTBroker: Service {
    private let configuration: BrokerConfiguration
    private let store: any MessageStore
    private let logger: Logger
    private let listening = ListeningState()

    /// A broker that keeps what it acknowledges in `store`, and logs to `logger`. Nothing happens before `run()`.
    public init(
        configuration: BrokerConfiguration = BrokerConfiguration(),
        store: any MessageStore = VolatileStore(),
        logger: Logger = Logger(label: "apus")
    ) {
        let limits = configuration.limits
        precondition((1...65_535).contains(limits.receiveMaximum), "Receive Maximum is from 1 to 65,535")
        precondition((1...268_435_460).contains(limits.packetBytesMax), "a packet has at most 268,435,460 bytes")
        precondition(
            configuration.responseInformation?.utf8.count ?? 0 <= 65_535,
            "a string has at most 65,535 bytes"
        )
        self.configuration = configuration
        self.store = store
        self.logger = logger
    }

    /// The addresses that the broker listens on, once it does. Throws what `run()` threw if it never came so far.
    public var boundAddresses: [SocketAddress] {
        get async throws { try await listening.addresses }
    }

    /// Listens and serves until the task is cancelled or a graceful shutdown is asked for; then tells 5.0 clients why
    /// (0x8B), closes all connections within three seconds and returns.
    ///
    /// Throws where an address cannot be listened on, or where the store fails. It can be called once.
    public func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, configuration.threads ?? System.coreCount))
        do {
            try await serve(on: group)
        } catch {
            listening.fail(error)
            try await group.shutdownGracefully()
            throw error
        }
        try await group.shutdownGracefully()
    }

    private func serve(on group: MultiThreadedEventLoopGroup) async throws {
        let loops = Array(group.makeIterator())
        let core = SharedCore(coreConfiguration(loops: loops.count))
        let committer = Committer(core: core, store: store)
        let peers = try await makeDrivers(loops, core, committer)
        let listeners = try await bind(group, peers)
        listening.succeed(listeners.compactMap(\.address))
        do {
            try await waitForEnd(committer, peers)
        } catch is CancellationError {
            // Cancelling the task is one of the two ways to end the broker.
        }
        await stop(listeners, peers)
    }

    private func coreConfiguration(loops: Int) -> CoreConfiguration {
        var core = CoreConfiguration()
        core.limits = configuration.limits
        core.loops = loops
        core.seed = UInt64.random(in: .min ... .max)
        let (seconds, attoseconds) = configuration.connectTimeout.components
        core.connectTimeout = seconds * 1_000 + attoseconds / 1_000_000_000_000_000
        core.keepAliveMax = configuration.keepAliveMax
        core.responseInformation = configuration.responseInformation
        core.isDurable = store.isDurable
        return core
    }

    private func makeDrivers(
        _ loops: [any EventLoop],
        _ core: SharedCore,
        _ committer: Committer
    ) async throws -> [LoopDriver.Peer] {
        let log = ConnectionLog(logger)
        var peers: [LoopDriver.Peer] = []
        for (index, loop) in loops.enumerated() {
            let driver = try await loop.submit {
                NIOLoopBound(LoopDriver(index: index, eventLoop: loop, core: core, log: log), eventLoop: loop)
            }.get()
            peers.append(LoopDriver.Peer(eventLoop: loop, driver: driver))
        }
        for peer in peers {
            let all = peers
            try await peer.eventLoop.submit { peer.driver.value.start(peers: all, changed: committer.signal) }.get()
        }
        return peers
    }

    private func bind(_ group: any EventLoopGroup, _ peers: [LoopDriver.Peer]) async throws -> [Listener] {
        let drivers = Dictionary(uniqueKeysWithValues: peers.map { (ObjectIdentifier($0.eventLoop), $0.driver) })
        let packetBytesMax = configuration.limits.packetBytesMax
        let initialize: @Sendable (any Channel) -> EventLoopFuture<Void> = { channel in
            channel.eventLoop.makeCompletedFuture {
                guard let driver = drivers[ObjectIdentifier(channel.eventLoop)] else {
                    throw ChannelError.inappropriateOperationForState
                }
                try channel.pipeline.syncOperations.addHandler(
                    ConnectionHandler(driver: driver.value, packetBytesMax: packetBytesMax)
                )
            }
        }
        var listeners: [Listener] = []
        do {
            for address in configuration.addresses {
                listeners += try await bind(address, group, initialize)
            }
        } catch {
            for listener in listeners { await listener.close() }
            throw error
        }
        return listeners
    }

    private func bind(
        _ address: BrokerConfiguration.Address,
        _ group: any EventLoopGroup,
        _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) async throws -> [Listener] {
        let hosts = address.host == "localhost" ? ["127.0.0.1", "::1"] : [address.host]
        var listeners: [Listener] = []
        for host in hosts {
            // A port that the system chose for the first address is the port of the second.
            let port = address.port == 0 ? listeners.first?.address?.port ?? 0 : address.port
            do {
                let listener = try await Listener.bind(host: host, port: port, group: group, initialize: initialize)
                listeners.append(listener)
                logger.notice(
                    "listening",
                    metadata: ["address": "\(host)", "port": "\(listener.address?.port ?? port)"]
                )
            } catch let error as IOError where host == "::1" && Self.isMissingAddressFamily(error) {
                logger.notice("no IPv6 on this host: not listening on ::1")
            } catch {
                for listener in listeners { await listener.close() }
                throw BrokerError.cannotListen(host: host, port: port, reason: Self.describe(error))
            }
        }
        return listeners
    }

    private static func isMissingAddressFamily(_ error: IOError) -> Bool {
        [EADDRNOTAVAIL, EAFNOSUPPORT, EPROTONOSUPPORT].contains(error.errnoCode)
    }

    private static func describe(_ error: any Error) -> String {
        guard let error = error as? IOError else { return "\(error)" }
        switch error.errnoCode {
        case EADDRINUSE: return "the port is in use"
        case EACCES, EPERM: return "no permission"
        case EADDRNOTAVAIL: return "the address is not one of this host"
        default: return "\(error)"
        }
    }

    private func waitForEnd(_ committer: Committer, _ peers: [LoopDriver.Peer]) async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            if store.isDurable {
                tasks.addTask { try await committer.run { loops in for loop in loops { peers[loop].wake() } } }
            }
            tasks.addTask { try await gracefulShutdown() }
            try await tasks.next()
            tasks.cancelAll()
        }
    }

    private func stop(_ listeners: [Listener], _ peers: [LoopDriver.Peer]) async {
        for listener in listeners { await listener.close() }
        var closing: [EventLoopFuture<Void>] = []
        for (index, peer) in peers.enumerated() {
            let driver = peer.driver
            let closed = peer.eventLoop.flatSubmit {
                let driver = driver.value
                if index == 0 { while !driver.turn({ $0.shutDown(at: Clock.now) }) {} }
                let channels = driver.channels
                return EventLoopFuture.andAllComplete(channels.map(\.closeFuture), on: driver.eventLoop)
            }
            closing.append(closed)
        }
        // Each connection closes within its handler's deadlines, so these futures end by themselves.
        for closed in closing { try? await closed.get() }
        for peer in peers {
            let driver = peer.driver
            try? await peer.eventLoop.submit { driver.value.stop() }.get()
        }
    }
}

/// Why a broker could not start.
public enum BrokerError: Error, Sendable, CustomStringConvertible {
    /// An address cannot be listened on.
    case cannotListen(host: String, port: Int, reason: String)

    /// One sentence without a full stop.
    public var description: String {
        switch self {
        case .cannotListen(let host, let port, let reason): "cannot listen on \(host) port \(port): \(reason)"
        }
    }
}

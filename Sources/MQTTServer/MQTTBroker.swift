import CApusPlatform
import Logging
import MQTTCore
import MQTTStore
import MQTTTransport
import NIOCore
import ServiceLifecycle
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// An MQTT broker for 3.1, 3.1.1 and 5.0.
///
/// ```swift
/// let broker = MQTTBroker()
/// try await broker.run()
/// ```
public final class MQTTBroker: Service {
    let configuration: BrokerConfiguration
    let store: any MessageStore
    let logger: Logger
    let core: SharedCore
    let hooks: HookRunner
    let published: PublishedHook?
    let watch: StoreWatch
    let hub: EventHub
    let host: HostSide
    private let loops: Int
    let limits: Limits
    private let listening = ListeningState()

    /// Of Apus.
    public static let version = "0.1.0"
    /// How often it is looked whether the store still commits while the broker ends.
    static let lastCommitTime = Duration.seconds(2)
    /// Files that are not connections.
    private static let filesKept: Int64 = 100

    /// A broker that keeps what it acknowledges in `store`, asks `hooks`, and logs to `logger`. Nothing happens before
    /// `run()`.
    public init(
        configuration: BrokerConfiguration = BrokerConfiguration(),
        store: any MessageStore = VolatileStore(),
        hooks: BrokerHooks = BrokerHooks(),
        logger: Logger = Logger(label: "apus")
    ) {
        if let limit = configuration.limits.firstOutOfRange {
            preconditionFailure(
                "the limit \(limit.name) is from \(limit.range.lowerBound) to \(limit.range.upperBound)"
            )
        }
        precondition(
            configuration.responseInformation?.utf8.count ?? 0 <= 65_535,
            "a string has at most 65,535 bytes"
        )
        precondition(configuration.metricsInterval > .zero, "an interval is longer than nothing")
        self.configuration = configuration
        self.store = store
        self.logger = logger
        loops = configuration.loops
        limits = Self.limits(configuration)
        watch = StoreWatch(store, configuration.logger(.broker, logger))
        self.hooks = HookRunner(hooks, limits: limits, configuration, logger)
        core = SharedCore(
            Self.coreConfiguration(configuration, limits, loops: loops, isDurable: store.isDurable, hooks),
            uptime: configuration.environment.uptime
        )
        published = PublishedHook(self.hooks, core: core)
        hub = EventHub(core: core)
        host = HostSide(core: core, hub: hub)
    }

    /// Figures of the whole broker, as of now.
    public var statistics: Statistics { core.withLock { core, _ in core.currentStatistics } }

    var environment: BrokerEnvironment { configuration.environment }

    func logger(_ category: LogCategory) -> Logger { configuration.logger(category, logger) }

    /// The addresses that the broker listens on, once it does. Throws what `run()` threw if it never came so far.
    public var boundAddresses: [SocketAddress] {
        get async throws { try await listening.addresses }
    }

    /// Listens and serves until the task is cancelled or a graceful shutdown is asked for; then tells 5.0 clients why
    /// (0x8B), closes all connections within three seconds and returns.
    ///
    /// Throws where an address cannot be listened on, or where the store fails. It can be called once.
    public func run() async throws {
        defer {
            host.waiters.end(.notRunning)
            hub.finish()
        }
        let group = environment.makeLoops(loops)
        do {
            try await serve(on: group)
        } catch {
            listening.fail(error)
            try await group.shutdownGracefully()
            throw error
        }
        try await group.shutdownGracefully()
    }

    private func serve(on group: any EventLoopGroup) async throws {
        try await restore()
        do {
            try await serveRestored(on: group)
        } catch {
            await store.close()
            throw error
        }
        await store.close()
    }

    private func serveRestored(on group: any EventLoopGroup) async throws {
        let loops = Array(group.makeIterator())
        let pager = Pager(core: core, store: store)
        let committer = Committer(
            core: core,
            store: store,
            pager: pager,
            published: published?.signal,
            watch: watch,
            waiters: host.waiters,
            wallClock: environment.wallClock
        )
        let peers = try await makeDrivers(loops, committer, pager)
        let initialize = initializer(peers)
        let listeners = try await bind(group, initialize)
        host.begin(HostSide.Running(peers: peers, committer: committer, pager: pager, initialize: initialize))
        defer { host.end() }
        listening.succeed(listeners.compactMap(\.address))
        // Not cancelled with the broker: what happens while it ends is committed too.
        let committing = Task(executorPreference: store.executor ?? environment.executor) {
            try await self.commit(with: committer, peers)
        }
        let calling = callPublished(peers)
        defer { calling.cancel() }
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { await pager.run { loops in for loop in loops { peers[loop].wake() } } }
            tasks.addTask {
                do {
                    try await committing.value
                } catch is CancellationError {
                    // The store did not answer while the broker ended, which was logged.
                }
            }
            tasks.addTask {
                do {
                    try await self.waitForEnd()
                } catch is CancellationError {
                    // Cancelling the task is one of the two ways to end the broker.
                }
                self.host.end()
                let deadline = self.giveUpCommitting(committing, peers)
                // What a connection waits for before it closes is committed meanwhile.
                await self.stop(listeners, peers)
                await self.finishPublished(calling)
                committer.finish()
                pager.finish()
                _ = await committing.result
                deadline.cancel()
            }
            do {
                for try await _ in tasks {}
            } catch {
                tasks.cancelAll()
                throw error
            }
        }
    }

    /// With the shares of this machine's memory, and no more connections than files.
    private static func limits(_ configuration: BrokerConfiguration) -> Limits {
        var limits = configuration.limits.resolved(memoryBytes: Int(apus_memory_bytes()))
        let files = max(1, apus_open_files_max() - filesKept)
        limits.connectionsMax = min(limits.connectionsMax, Int(files))
        // Those that owe CONNECT never take all places.
        limits.connectsPendingMax = min(limits.connectsPendingMax, max(1, limits.connectionsMax / 2))
        return limits
    }

    private static func coreConfiguration(
        _ configuration: BrokerConfiguration,
        _ limits: Limits,
        loops: Int,
        isDurable: Bool,
        _ hooks: BrokerHooks
    ) -> CoreConfiguration {
        var core = CoreConfiguration()
        core.limits = limits
        core.loops = loops
        core.seed = UInt64.random(in: .min ... .max)
        core.connectTimeout = milliseconds(configuration.connectTimeout)
        core.drainTime = milliseconds(configuration.drainTime)
        core.queuePolicy = configuration.queuePolicy
        core.systemTopics.interval = milliseconds(configuration.systemTopicsInterval)
        core.systemTopics.loadDecays = [1, 5, 15].map { minutes in
            exp(-Double(core.systemTopics.interval) / (minutes * 60_000))
        }
        core.systemTopics.version = "apus version \(version)"
        core.systemTopics.clientTopics = configuration.clientTopics
        core.systemTopics.brokerID =
            configuration.brokerID ?? String(UInt64.random(in: .min ... .max), radix: 36)
        core.keepAliveMax = configuration.keepAliveMax
        core.responseInformation = configuration.responseInformation
        core.isDurable = isDurable
        core.add(hooks)
        return core
    }

    private static func milliseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }

    private func makeDrivers(
        _ loops: [any EventLoop],
        _ committer: Committer,
        _ pager: Pager
    ) async throws -> [LoopDriver.Peer] {
        let (core, hub) = (core, hub)
        let log = ConnectionLog(logger)
        let (hooks, published) = (hooks, published)
        let receiveBuffers = ReceiveBuffers(bytesMax: limits.receiveBufferBytesInAllMax)
        var peers: [LoopDriver.Peer] = []
        for (index, loop) in loops.enumerated() {
            let driver = try await loop.submit {
                let driver = LoopDriver(
                    index: index,
                    eventLoop: loop,
                    core: core,
                    receiveBuffers: receiveBuffers,
                    hooks: hooks,
                    published: published?.signal,
                    log: log,
                    hub: hub
                )
                return NIOLoopBound(driver, eventLoop: loop)
            }.get()
            peers.append(LoopDriver.Peer(eventLoop: loop, driver: driver))
        }
        for peer in peers {
            let all = peers
            try await peer.eventLoop.submit {
                peer.driver.value.start(peers: all, changed: committer.signal, pagesWanted: pager.signal)
            }.get()
        }
        return peers
    }

    /// Makes a channel of these loops a connection.
    private func initializer(
        _ peers: [LoopDriver.Peer]
    ) -> @Sendable (any Channel) -> EventLoopFuture<Void> {
        let drivers = Dictionary(uniqueKeysWithValues: peers.map { (ObjectIdentifier($0.eventLoop), $0.driver) })
        let packetBytesMax = limits.packetBytesMax
        let drainTime = configuration.drainTime
        let trace = configuration.tracedClientID.map { PacketTrace(clientID: $0, logger: logger(.packets)) }
        return { channel in
            channel.eventLoop.makeCompletedFuture {
                guard let driver = drivers[ObjectIdentifier(channel.eventLoop)] else {
                    throw ChannelError.inappropriateOperationForState
                }
                try channel.pipeline.syncOperations.addHandler(
                    ConnectionHandler(
                        driver: driver.value,
                        packetBytesMax: packetBytesMax,
                        drainTime: drainTime,
                        trace: trace
                    )
                )
            }
        }
    }

    private func bind(
        _ group: any EventLoopGroup,
        _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
    ) async throws -> [Listener] {
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
                let listener = try await environment.listen(host, port, group, initialize)
                listeners.append(listener)
                logger(.broker).notice(
                    "listening",
                    metadata: ["address": "\(host)", "port": "\(listener.address?.port ?? port)"]
                )
            } catch let error as IOError where host == "::1" && Self.isMissingAddressFamily(error) {
                logger(.broker).notice("no IPv6 on this host: not listening on ::1")
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

    private func waitForEnd() async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await self.recordMetrics() }
            tasks.addTask { try await gracefulShutdown() }
            try await tasks.next()
            tasks.cancelAll()
        }
    }

    /// Until its task is cancelled.
    private func recordMetrics() async throws {
        var metrics = BrokerMetrics()
        while true {
            try await Task.sleep(for: configuration.metricsInterval)
            let (statistics, longestTurn) = core.withLock { core, _ in
                (core.currentStatistics, core.takeLongestTurn())
            }
            metrics.record(statistics, longestTurn: longestTurn)
            if store.isDurable { metrics.record(watch.takeStatistics()) }
        }
    }

    private func stop(_ listeners: [Listener], _ peers: [LoopDriver.Peer]) async {
        for listener in listeners { await listener.close() }
        var closing: [EventLoopFuture<Void>] = []
        for (index, peer) in peers.enumerated() {
            let driver = peer.driver
            let closed = peer.eventLoop.flatSubmit {
                let driver = driver.value
                if index == 0 { while !driver.turn({ core, now in core.shutDown(at: now) }) {} }
                return EventLoopFuture.andAllComplete(driver.closeFutures, on: driver.eventLoop)
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

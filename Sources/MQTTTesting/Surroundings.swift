import MQTT
import MQTTServer
import MQTTTransport
import NIOCore
import NIOPosix

/// Where a test takes place.
public enum TestWorld: Sendable, CaseIterable {
    /// Without sockets, in time that the test moves.
    case inMemory
    /// Over sockets of the loopback interface, in the machine's time.
    case live
}

/// What brokers, clients and links of one test stand on.
struct Surroundings: Sendable {
    let clock: TestClock
    let makeLoop: @Sendable () -> any EventLoop
    /// At an address of its own.
    let listen:
        @Sendable (
            _ loop: any EventLoop, _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
        ) async throws -> Listener
    let dial:
        @Sendable (
            _ address: SocketAddress, _ loop: any EventLoop,
            _ initialize: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
        ) -> EventLoopFuture<any Channel>
    let broker: BrokerEnvironment
    let executor: (any TaskExecutor)?

    init(_ world: TestWorld) {
        switch world {
        case .inMemory: self.init(MemoryNetwork(), VirtualTime())
        case .live: self.init()
        }
    }

    private init() {
        clock = TestClock(nil)
        makeLoop = { MultiThreadedEventLoopGroup.singleton.next() }
        listen = { loop, initialize in
            try await Listener.bind(host: "127.0.0.1", port: 0, group: loop, initialize: initialize)
        }
        dial = { address, loop, initialize in
            ClientBootstrap(group: loop)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelInitializer(initialize)
                .connect(to: address)
        }
        broker = .system
        executor = nil
    }

    /// 1 January 2026, in milliseconds since 1970.
    private static let firstDay: Int64 = 1_767_225_600_000

    private init(_ network: MemoryNetwork, _ time: VirtualTime) {
        let executor = TestExecutor(time)
        clock = TestClock(time)
        makeLoop = { TestLoop(time) }
        listen = { loop, initialize in try network.listen("127.0.0.1", 0, loop, initialize) }
        dial = network.connect
        broker = BrokerEnvironment(
            uptime: { time.now },
            wallClock: { Self.firstDay + Int64(time.now / 1_000_000) },
            makeLoops: { TestLoops($0, time) },
            listen: { host, port, group, initialize in try network.listen(host, port, group, initialize) },
            executor: executor
        )
        self.executor = executor
    }

    /// Nothing happens any more.
    func end() { clock.time?.end() }
}

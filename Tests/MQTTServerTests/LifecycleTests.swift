import Logging
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import NIOPosix
import ServiceLifecycle
import Testing

@Suite(.timeLimit(.minutes(1))) struct LifecycleTests {
    @Test("run() returns when its task is cancelled, with clients and without", arguments: [0, 1, 20])
    func cancellation(clients: Int) async throws {
        let broker = testBroker(threads: 3)
        let running = Task { try await broker.run() }
        let connect = Connector(address: try await broker.address())
        var connected: [TestClient] = []
        for _ in 0..<clients { connected.append(try await connect()) }
        running.cancel()
        try await within("run()", .seconds(5)) { try await running.value }
        for client in connected { #expect(try await client.disconnectReason() == .serverShuttingDown) }
    }

    @Test("run() returns when it is cancelled before it listens")
    func earlyCancellation() async throws {
        let broker = testBroker()
        let running = Task { try await broker.run() }
        running.cancel()
        try await within("run()", .seconds(5)) { try await running.value }
    }

    @Test("[MQTT-3.14.4-1] a graceful shutdown tells 5.0 clients 0x8B, closes all connections, and run() returns")
    func gracefulShutdown() async throws {
        let broker = testBroker(threads: 3)
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let group = ServiceGroup(services: [broker], logger: logger)
        let running = Task { try await group.run() }
        let connect = Connector(address: try await broker.address())
        var new: [TestClient] = []
        var old: [TestClient] = []
        for _ in 0..<6 {
            new.append(try await connect())
            old.append(try await connect(version: .v3_1_1))
        }
        let silent = try await connect.transport()
        await group.triggerGracefulShutdown()
        for client in new {
            #expect(try await client.disconnectReason() == .serverShuttingDown)
        }
        for client in old + [silent] { #expect(try await client.nextOrEnd() == nil) }
        try await within("run()", .seconds(5)) { try await running.value }
    }

    @Test("a client that does not close its side does not hold up the end for long")
    func clientThatDoesNotClose() async throws {
        let broker = testBroker()
        let running = Task { try await broker.run() }
        let client = try await Connector(address: try await broker.address())()
        try await client.stopReading()
        running.cancel()
        try await within("run()", .seconds(5)) { try await running.value }
    }

    @Test("an address that cannot be listened on is an error of run(), and the same error ends boundAddresses")
    func bindError() async throws {
        try await withBroker(.live) { first, _ in
            let port = try #require(try await first.address().port)
            let second = testBroker(addresses: [
                .init(host: "127.0.0.1", port: 0), .init(host: "127.0.0.1", port: port),
            ])
            let waiting = Task { try await second.boundAddresses }
            let error = try #require(
                await #expect(throws: BrokerError.self) {
                    try await within("run()", .seconds(5)) { try await second.run() }
                }
            )
            #expect("\(error)".contains("\(port)"))
            for attempt in [waiting, Task { try await second.boundAddresses }] {
                let told = await #expect(throws: BrokerError.self) {
                    try await within("boundAddresses", .seconds(5)) { try await attempt.value }
                }
                #expect(told.map { "\($0)" } == "\(error)")
            }
        }
    }

    @Test("localhost is both loopback addresses at one port, where the host has both")
    func localhost() async throws {
        let broker = testBroker(addresses: [.init(host: "localhost", port: 0)])
        try await withBroker(broker) { broker, connect in
            let addresses = try await within("boundAddresses") { try await broker.boundAddresses }
            #expect(addresses.first?.ipAddress == "127.0.0.1")
            #expect(Set(addresses.map(\.port)).count == 1)
            for address in addresses { try await Connector(address: address)().ping() }
        }
    }

    @Test("a broker's port is free again when run() has returned")
    func portIsFree() async throws {
        let first = testBroker()
        var address: SocketAddress?
        try await withBroker(first) { _, connect in
            _ = try await connect()
            address = connect.address
        }
        let port = try #require(address?.port)
        try await withBroker(testBroker(addresses: [.init(host: "127.0.0.1", port: port)])) { _, connect in
            #expect(connect.address.port == port)
            try await connect().ping()
        }
    }

    @Test("two brokers in one process know nothing of one another")
    func twoBrokers() async throws {
        try await withBroker { _, connect in
            let subscriber = try await connect("same")
            try await subscriber.subscribe("#")
            try await withBroker { _, connectToOther in
                let other = try await connectToOther("same")
                try await other.subscribe("#")
                try await other.publish("t", "other", isRetained: true)
                #expect(try await other.nextPayload() == "other")
            }
            // The other has ended meanwhile, and this one goes on.
            try await subscriber.publish("t", "this")
            #expect(try await subscriber.nextPayload() == "this")
            let late = try await connect()
            try await late.subscribe("#")
            try await late.ping()
        }
    }

    @Test("a connection that sends no CONNECT is closed in time")
    func connectTimeout() async throws {
        let broker = testBroker { $0.connectTimeout = .milliseconds(100) }
        try await withBroker(broker) { _, connect in
            let silent = try await connect.transport()
            #expect(try await silent.nextOrEnd() == nil)
            let other = try await connect.transport()
            do {
                try await other.send(ByteBuffer(bytes: [0x10]))
            } catch ChannelError.ioOnClosedChannel {
                // It was closed already.
            }
            #expect(try await other.nextOrEnd() == nil)
        }
    }
}

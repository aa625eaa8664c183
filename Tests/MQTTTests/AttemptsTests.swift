import MQTT
import MQTTPackets
import MQTTTesting
import NIOCore
import Synchronization
import Testing

/// The servers that a client has tried, in order.
final class TriedServers: Sendable {
    private let tried = Mutex<[ServerAddress]>([])

    var all: [ServerAddress] { tried.withLock { $0 } }

    /// Over sockets.
    var transport: ClientTransport {
        ClientTransport { [self] server, eventLoop, timeout, initialize in
            tried.withLock { $0.append(server) }
            return ClientTransport.tcp.connect(server, eventLoop, timeout, initialize)
        }
    }
}

@Suite(.timeLimit(.minutes(2))) struct AttemptsTests {
    private static let nobody = ServerAddress(host: "127.0.0.1", port: 1)

    @Test("servers are tried in the order of the list, and the first again after the last")
    func inTurn() async throws {
        let servers = (1...3).map { ServerAddress(host: "127.0.0.1", port: $0) }
        let tried = TriedServers()
        let configuration = MQTTClient.Configuration.test(Self.nobody) {
            $0.servers = servers
            $0.environment.transport = tried.transport
            $0.reconnect.attemptsMax = 6
        }
        await #expect(throws: MQTTError.self) { try await MQTTClient(configuration, logger: quiet).run() }
        #expect(tried.all == servers + servers + [servers[0]])
    }

    @Test("after a connection is lost the next server of the list has its turn")
    func afterLoss() async throws {
        let servers = [try await FakeServer(), try await FakeServer()]
        let tried = TriedServers()
        let configuration = MQTTClient.Configuration.test(Self.nobody) {
            $0.servers = servers.map(\.address)
            $0.environment.transport = tried.transport
        }
        try await withClient(configuration) { client in
            for server in servers {
                let connection = try await server.connection()
                try await connection.accept()
                connection.close()
            }
            try await servers[0].connection().accept()
        }
        #expect(tried.all == (servers + [servers[0]]).map(\.address))
    }

    @Test("a server by its name is found at whichever of the name's addresses it is, and looked up for each attempt")
    func byName() async throws {
        let server = try await FakeServer()
        // Of the name's addresses ::1 may be the first, where this server is not.
        let name = ServerAddress(host: "localhost", port: server.address.port)
        let tried = TriedServers()
        let configuration = MQTTClient.Configuration.test(name) { $0.environment.transport = tried.transport }
        try await withClient(configuration) { client in
            let first = try await server.connection()
            try await first.accept()
            #expect(try await client.connected().server == name)
            first.close()
            try await server.connection().accept()
        }
        #expect(tried.all == [name, name])
    }

    // MARK: prepareConnection

    @Test("prepareConnection changes server, user name, password and will for one attempt alone")
    func prepared() async throws {
        let (listed, other) = (try await FakeServer(), try await FakeServer())
        let will = Will(topic: "w", payload: ByteBuffer(string: "configured"))
        let otherWill = Will(topic: "other", payload: ByteBuffer(string: "prepared"), qos: .atLeastOnce)
        let configuration = MQTTClient.Configuration.test(listed.address) { [address = other.address] in
            $0.userName = "u"
            $0.password = ByteBuffer(string: "p")
            $0.will = will
            $0.prepareConnection = { attempt in
                guard attempt.number == 1 else { return }
                attempt.server = address
                attempt.userName = "v"
                attempt.password = ByteBuffer(string: "q")
                attempt.will = otherWill
            }
        }
        try await withClient(configuration) { client in
            let changed = try await other.connection().refuse(.serverBusy)
            #expect(changed.userName == "v" && changed.password == ByteBuffer(string: "q"))
            #expect(changed.will == otherWill)
            let configured = try await listed.connection().accept()
            #expect(configured.userName == "u" && configured.password == ByteBuffer(string: "p"))
            #expect(configured.will == will)
            #expect(try await client.connected().server == listed.address)
        }
    }

    @Test("prepareConnection can take away what the configuration has")
    func takenAway() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.userName = "u"
            $0.password = ByteBuffer(string: "p")
            $0.will = Will(topic: "w", payload: ByteBuffer())
            $0.prepareConnection = { ($0.userName, $0.password, $0.will) = (nil, nil, nil) }
        }
        try await withClient(configuration) { _ in
            let connect = try await server.connection().accept()
            #expect(connect.userName == nil && connect.password == nil && connect.will == nil)
        }
    }

    @Test("prepareConnection is called before each attempt, with its number and the next server of the list")
    func numbers() async throws {
        let servers = [try await FakeServer(), try await FakeServer()]
        let configuration = MQTTClient.Configuration.test(Self.nobody) {
            $0.servers = servers.map(\.address)
            $0.prepareConnection = { $0.userName = "\($0.number) \($0.server)" }
        }
        try await withClient(configuration) { _ in
            for number in 1...5 {
                let server = servers[(number - 1) % 2]
                let connection = try await server.connection()
                let connect = try await number < 5 ? connection.refuse(.serverBusy) : connection.accept()
                #expect(connect.userName == "\(number) \(server.address)")
            }
        }
    }

    @Test("what prepareConnection throws ends the attempt, and the next follows")
    func throwing() async throws {
        struct NoToken: Error {}
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.prepareConnection = { if $0.number < 3 { throw NoToken() } }
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let events = client.events
        let running = Task { try await client.run() }
        try await server.connection().accept()
        try await client.connected()
        client.close()
        try await running.value
        var failures: [MQTTError] = []
        for await case .disconnected(let error) in events { failures.append(error) }
        #expect(failures == [.connectFailed("NoToken()"), .connectFailed("NoToken()")])
    }

    static let unsayable: [(ProtocolVersion, String, @Sendable (inout ConnectionAttempt) -> Void)] = [
        (.v3_1_1, "a password without a user name", { $0.password = ByteBuffer(string: "p") }),
        (.v3_1, "a password without a user name", { $0.password = ByteBuffer(string: "p") }),
        (.v5, "a long user name", { $0.userName = String(repeating: "x", count: 65_536) }),
        (.v5, "a user name with U+0000", { $0.userName = "\u{0}" }),
        (.v5, "a long password", { $0.password = ByteBuffer(repeating: 0, count: 65_536) }),
        (.v5, "a will for a filter", { $0.will = Will(topic: "a/+", payload: ByteBuffer()) }),
        (.v5, "a long will", { $0.will = Will(topic: "a", payload: ByteBuffer(repeating: 0, count: 65_536)) }),
    ]

    @Test("what prepareConnection gives that cannot be said in MQTT ends run(), and nobody is connected to")
    func unsayable() async throws {
        for (version, what, change) in Self.unsayable {
            let tried = TriedServers()
            let configuration = MQTTClient.Configuration.test(Self.nobody, "c", version) {
                $0.prepareConnection = { change(&$0) }
                $0.environment.transport = tried.transport
            }
            let client = try MQTTClient(configuration, logger: quiet)
            let error = await #expect(throws: MQTTError.self, "\(what)") { try await client.run() }
            guard case .invalidArgument? = error else {
                Issue.record("\(what): \(String(describing: error))")
                continue
            }
            #expect(tried.all.isEmpty)
        }
    }

    @Test("in 5.0 there may be a password without a user name")
    func passwordAlone() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.prepareConnection = { $0.password = ByteBuffer(string: "token") }
        }
        try await withClient(configuration) { _ in
            let connect = try await server.connection().accept()
            #expect(connect.userName == nil && connect.password == ByteBuffer(string: "token"))
        }
    }

    @Test("a client that is told to end while prepareConnection waits ends")
    func endsWhilePreparing() async throws {
        let (asked, continuation) = AsyncStream.makeStream(of: Void.self)
        let configuration = MQTTClient.Configuration.test(Self.nobody) {
            $0.prepareConnection = { _ in
                continuation.yield()
                try await Task.sleep(for: .seconds(3_600))
            }
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let running = Task { try await client.run() }
        #expect(await asked.first(1).count == 1)
        client.disconnect()
        try await within("the end") { try await running.value }
    }

    @Test("the number of attempts begins anew, from 1, once a connection was made")
    func numbersBeginAnew() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.prepareConnection = { $0.userName = "\($0.number)" }
        }
        try await withClient(configuration) { client in
            let events = client.events
            for round in 0..<2 {
                #expect(try await server.connection().refuse(.serverBusy).userName == "1", "\(round)")
                let connection = try await server.connection()
                #expect(try await connection.accept().userName == "2", "\(round)")
                connection.close()
            }
            // The event has the number of the attempt that it announces.
            var announced: [Int] = []
            for await event in events {
                if case .reconnecting(_, let attempt) = event { announced.append(attempt) }
                if announced.count == 4 { break }
            }
            #expect(announced == [2, 1, 2, 1])
        }
    }
}

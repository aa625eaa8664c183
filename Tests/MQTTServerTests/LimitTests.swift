import MQTTCore
import MQTTPackets
import MQTTServer
import MQTTStore
import MQTTTesting
import NIOCore
import Synchronization
import Testing

@Suite("Limits over sockets", .timeLimit(.minutes(1))) struct LimitTests {
    static let cases = connecting + subscribing + publishing + retaining + committing + sending + queueing

    @Test(
        "at each limit there happens what the table says, and a bystander is served meanwhile",
        arguments: TestWorld.allCases,
        cases
    )
    func effect(_ world: TestWorld, _ limit: LimitCase) async throws { try await limit.run(in: world) }

    @Test("each limit of the table has a test, and no test is of a limit that is not there")
    func completeness() {
        #expect(Self.cases.map(\.name).sorted() == Limits.table.map(\.name).sorted())
    }
}

/// A limit that is set to a small value, and how it is reached.
struct LimitCase: Sendable, CustomTestStringConvertible {
    let name: String
    let value: Int
    var store = LimitStore.volatile
    var configure: @Sendable (inout BrokerConfiguration) -> Void = { _ in }
    let reach: @Sendable (LimitTrial) async throws -> Void

    init(_ name: String, _ value: Int, _ reach: @escaping @Sendable (LimitTrial) async throws -> Void) {
        self.name = name
        self.value = value
        self.reach = reach
    }

    var testDescription: String { "\(name): \(Limits.table.first { $0.name == name }?.effect ?? "not in the table")" }

    func with(_ configure: @escaping @Sendable (inout BrokerConfiguration) -> Void) -> LimitCase {
        var copy = self
        copy.configure = configure
        return copy
    }

    func holdingCommits() -> LimitCase {
        var copy = self
        copy.store = .held
        return copy
    }

    func keepingMessages() -> LimitCase {
        var copy = self
        copy.store = .kept
        return copy
    }

    /// The limit is set by way of the table: a name that stands for another limit would show.
    func run(in world: TestWorld) async throws {
        let limit = try #require(Limits.table.first { $0.name == name })
        try await withLimits(store, in: world) {
            $0.limits[keyPath: limit.keyPath] = value
            configure(&$0)
        } _: { trial in
            try await reach(trial)
            #expect(trial.bystander.timesServed > 0)
        }
    }
}

/// What a broker has for a store.
enum LimitStore {
    case volatile
    /// It lets nothing pass before the test does.
    case held
    case kept
}

/// A broker, and a client that was there before anybody reached a limit.
struct LimitTrial: Sendable {
    let broker: MQTTBroker
    let connect: Connector
    let bystander: Bystander
    /// Only where commits are held.
    let store: HeldStore

    var clock: TestClock { connect.clock }
}

/// A broker that says nothing of itself, on one event loop: what one client waits for has passed the others by.
func withLimits(
    _ kind: LimitStore = .volatile,
    in world: TestWorld = .inMemory,
    _ configure: (inout BrokerConfiguration) -> Void,
    _ body: (LimitTrial) async throws -> Void
) async throws {
    let held = HeldStore()
    let store: any MessageStore =
        switch kind {
        case .volatile: VolatileStore()
        case .held: held
        case .kept: KeptStore()
        }
    try await withBroker(world, threads: 1, store: store) {
        $0.systemTopicsInterval = .zero
        configure(&$0)
    } _: { broker, connect in
        let bystander = try await Bystander(connect)
        try await body(LimitTrial(broker: broker, connect: connect, bystander: bystander, store: held))
    }
}

/// A client that has done nothing and is to notice nothing.
final class Bystander: Sendable {
    private let client: TestClient
    private let served = Atomic<Int>(0)
    private let clock: TestClock

    init(_ connect: Connector) async throws {
        clock = connect.clock
        client = try await connect("bystander")
        try await client.subscribe("by", .atLeastOnce)
    }

    var timesServed: Int { served.load(ordering: .relaxed) }

    /// A message to itself, and a ping. At QoS 1 its acknowledgement waits for a commit, where those are held.
    func isServed(_ qos: QoS = .atLeastOnce) async throws {
        try await client.publish("by", "\(timesServed)", qos, id: qos == .atMostOnce ? nil : 1)
        let publish = try await client.nextPublish()
        #expect(String(buffer: publish.payload) == "\(timesServed)")
        if let id = publish.packetID {
            #expect(try await client.next() == .puback(Acknowledgement(packetID: 1)))
            try await client.send(.puback(Acknowledgement(packetID: id)))
        }
        try await client.ping()
        served.add(1, ordering: .relaxed)
    }

    func ping() async throws { try await client.ping() }

    /// Whether nothing comes to a client while this one has its pings answered by the same loop, again and again.
    func sees(silent client: TestClient) async throws -> Bool {
        let before = client.received
        for _ in 0..<30 { try await ping() }
        return client.received == before
    }

    /// Lets time pass until what no packet tells, such as a figure of the broker; has its pings answered meanwhile.
    func wait(for what: String, _ condition: @escaping @Sendable () -> Bool) async throws {
        try await clock.letTimePass(upTo: .seconds(30)) { [clock] in
            while !condition() {
                try await self.ping()
                try await clock.sleep(for: .milliseconds(5))
            }
        }
    }
}

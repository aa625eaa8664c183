import HeapModule
import MQTTPackets
import MQTTRouting
import MQTTSessions
import MQTTStore
import NIOCore

/// The broker as one value: sessions, subscriptions, retained messages, queues, and the bytes that each connection is
/// to be sent.
///
/// It does no I/O and knows no thread, clock or socket. Each call is a turn: packets go in with the time, and afterwards
/// the loops take what they have to write. Everything that is hard in a broker is about order, and here there is one.
///
///     receive(bytes) ─▶ session: verdict ─▶ route ─▶ deliver ─▶ SendBuffer ─▶ takeOutput(loop)
///                                             └─▶ changes ─▶ takeChanges ─▶ (store) ─▶ committed(through:)
///
/// Connections and sessions are slots in arrays, addressed by index; a slot is used again under another generation or
/// incarnation.
package struct BrokerCore: ~Copyable {
    package let configuration: CoreConfiguration
    var limits: Limits { configuration.limits }

    var connections: [ConnectionSlot] = []
    var freeConnections: [Int32] = []
    var sessions: [SessionSlot] = []
    var freeSessions: [Int32] = []
    /// By the bytes of the client identifier: strings that differ may be equal to Swift.
    var sessionOfClient: [[UInt8]: Int32] = [:]
    var nextIncarnation: UInt64 = 1
    var nextGeneration: UInt32 = 1
    var tree: SubscriptionTree
    var cache = RouteCache()
    var retained = RetainedMessages()
    var loops: [LoopSlot]
    var timers = Heap<Timer>()
    var events: [CoreEvent] = []
    /// What was discarded in this turn. The caller frees it after the lock is released.
    var discarded: [OutboundQueue] = []
    /// Milliseconds of the monotonic clock, as of this turn.
    var now: Int64 = 0
    var budget = 0
    package var statistics = Statistics()

    // Durability: see BrokerCore+Committing.
    var changes: [StoreChange] = []
    var ticket: UInt64 = 0
    var committed: UInt64 = 0
    var waitingConnections: [Int32] = []
    var waitingSessions: [Int32] = []

    package init(configuration: CoreConfiguration) {
        self.configuration = configuration
        tree = SubscriptionTree(seed: configuration.seed)
        loops = Array(repeating: LoopSlot(), count: configuration.loops)
    }

    package var connectionCount: Int { connections.count - freeConnections.count }
    package var sessionCount: Int { sessionOfClient.count }
    package var retainedCount: Int { retained.count }
    package var subscriptionCount: Int { tree.count }

    // MARK: Connections

    /// A transport was accepted.
    package mutating func open(loop: Int, address: String, at now: Int64) -> ConnectionID {
        self.now = now
        let slot = freeConnections.popLast() ?? Int32(connections.count)
        if Int(slot) == connections.count { connections.append(ConnectionSlot()) }
        let c = Int(slot)
        connections[c] = ConnectionSlot()
        connections[c].generation = nextGeneration
        nextGeneration &+= 1
        connections[c].state = .awaitingConnect
        connections[c].loop = loop
        connections[c].address = address
        connections[c].lastReceived = now
        let id = id(c)
        timers.insert(Timer(due: now + configuration.connectTimeout, kind: .accepted(id)))
        return id
    }

    /// The transport is gone, for whatever reason.
    package mutating func closed(_ id: ConnectionID, reason: String, at now: Int64) {
        self.now = now
        guard let c = index(id) else { return }
        if connections[c].state != .closing { end(c, reason: reason) }
        connections[c] = ConnectionSlot()
        freeConnections.append(id.slot)
    }

    /// After a mass close: gives back the slots behind the last one in use.
    package mutating func compact() {
        while connections.last?.state == .free { connections.removeLast() }
        while sessions.last?.isFree == true { sessions.removeLast() }
        freeConnections = freeConnections.filter { Int($0) < connections.count }
        freeSessions = freeSessions.filter { Int($0) < sessions.count }
        // Only a new array has less capacity.
        connections = [] + connections
        sessions = [] + sessions
    }

    func index(_ id: ConnectionID) -> Int? {
        let c = Int(id.slot)
        guard connections.indices.contains(c), connections[c].generation == id.generation, connections[c].state != .free
        else {
            return nil
        }
        return c
    }

    func id(_ c: Int) -> ConnectionID {
        ConnectionID(slot: Int32(c), generation: connections[c].generation)
    }

    // MARK: Sessions

    /// The session of a connection that has one. Asked for only where it does.
    func session(of c: Int) -> Int { Int(connections[c].session) }

    // MARK: Output

    mutating func touch(_ c: Int) {
        guard !connections[c].isTouched else { return }
        connections[c].isTouched = true
        loops[connections[c].loop].touched.append(Int32(c))
    }
}

/// What a loop has to do after a turn.
struct LoopSlot: Sendable {
    /// Connections with output, an order to close, or reading to resume.
    var touched: [Int32] = []
    /// Connections that were given all that fits for now, and have more.
    var hungry: [ConnectionID] = []
    /// Whether the loop has been woken and has not yet found nothing to do.
    var isWoken = false
}

/// Counts of the whole broker, since its start.
package struct Statistics: Sendable, Equatable {
    package var received: UInt64 = 0
    package var sent: UInt64 = 0
    package var droppedQueueFull: UInt64 = 0
    package var droppedExpired: UInt64 = 0
    package var droppedTooLarge: UInt64 = 0
    package var droppedBacklog: UInt64 = 0
    package var droppedNoMember: UInt64 = 0
}

/// A point in time at which something is looked at again. Firing early or twice is harmless.
struct Timer: Comparable, Sendable {
    enum Kind: Sendable, Equatable {
        /// CONNECT has to have come.
        case accepted(ConnectionID)
        case connection(ConnectionID)
        case session(Int32, incarnation: UInt64)
    }

    let due: Int64
    let kind: Kind

    static func < (lhs: Self, rhs: Self) -> Bool { lhs.due < rhs.due }
    static func == (lhs: Self, rhs: Self) -> Bool { lhs.due == rhs.due }
}

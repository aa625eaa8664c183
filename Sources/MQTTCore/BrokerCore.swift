import DequeModule
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
///
/// A call that only borrows the core has the compiler copy its 1.2 KB to the stack, since it is not copyable and the
/// caller may change it. What is called for each packet or turn is therefore mutating, or inlined with
/// `@inline(__always)`.
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
    // What observers are told: see BrokerCore+Events.
    var isObserved = false
    var observed: [BrokerEvent] = []
    /// The number of the first of them.
    var nextEvent: UInt64 = 0
    /// What was discarded in this turn. The caller frees it after the lock is released.
    var discarded: [Discarded] = []
    /// Milliseconds of the monotonic clock, as of this turn.
    var now: Int64 = 0
    var budget = 0
    var statistics = Statistics()
    /// Those that owe CONNECT, the oldest first, and others that have paid.
    var pending = Deque<ConnectionID>()
    var pendingCount = 0
    /// Sessions that have ended and whose subscriptions are still being taken out of the tree.
    var graves: [Grave] = []
    /// Sessions with drops that observers have not been told of, and when they are.
    var dropping = Deque<Int32>()
    var droppingToTell = 0
    var dropsDue: Int64 = 0
    /// Drops of no session's, or of one that has ended, and those that observers were told of.
    var dropsOfNobody = Drops()
    var dropsOfNobodyTold = Drops()
    var system = SystemTopics()
    var longestTurn: UInt64 = 0

    // A full store: see BrokerCore+Holding.
    var isStoreFull = false
    /// Whether it is, or something is still held: the hot path looks at this alone.
    var isHolding = false
    /// By the slot of their connection.
    var held: [Int32: HeldInput] = [:]
    /// Milliseconds that the packet which is being handled was held.
    var heldTime: Int64 = 0

    // What hooks decide: see BrokerCore+Asking.
    let isGated: Bool
    /// By the slot of their connection.
    var asked: [Int32: Asked] = [:]
    /// Of the burst that is being handled, and of the packet.
    var verdicts: [PlacedVerdict] = []
    var nextVerdict = 0
    var lookedAt = 0
    var verdict: PacketVerdict?
    /// Why the PUBLISH that is being handled is not to be routed.
    var refusal: ReasonCode?

    // The hook `published`: see BrokerCore+Published.
    var published = PublishedQueue()
    /// The message that is being handled, where it was accepted and is for the hook.
    var accepted: Message?
    /// Whether a hook is asked for each receiver.
    let asksToForward: Bool
    /// Whether a hook is asked for each message of a shared subscription.
    let asksToSelect: Bool

    var isShuttingDown = false
    var hasStoreFailed = false

    // Durability: see BrokerCore+Committing.
    var uncommittedBatches = Deque<(ticket: UInt64, bytes: Int)>()
    var changesBytes = 0
    /// Connections that are not read from until more is committed.
    var pausedForCommit: [ConnectionID] = []
    var changes: [StoreChange] = []
    /// Placeholders among them, beside the first.
    var unnecessaryChanges = 0
    var ticket: UInt64 = 0
    /// The ticket of the last change that was handed to the store.
    var takenTicket: UInt64 = 0
    var committed: UInt64 = 0
    var waitingConnections: [Int32] = []
    var waitingSessions: [Int32] = []

    // Long queues: see BrokerCore+Paging.
    /// Of sessions that are leaving, by slot: subscriptions that are still in the tree.
    var subscriptionsLeft: [Int32: [Int32]] = [:]
    var pageRequests = Deque<PageRequest>()
    /// Of these and of those that were taken and have not come.
    var pageBytesWanted = 0
    /// The session whose messages were let go of last.
    var unloadedLast = -1

    package init(configuration: CoreConfiguration) {
        self.configuration = configuration
        isGated = !configuration.asks.isEmpty
        asksToForward = configuration.authorizeForward != nil
        asksToSelect = configuration.selectSharedSubscriber != nil
        tree = SubscriptionTree(seed: configuration.seed)
        loops = Array(repeating: LoopSlot(), count: configuration.loops)
        armSystemTimers()
    }

    package var connectionCount: Int { connections.count - freeConnections.count }
    package var sessionCount: Int { sessionOfClient.count }
    package var retainedCount: Int { retained.count }
    package var subscriptionCount: Int { tree.count }

    /// A turn is over that held the lock for so long; `wasContended` where it had to wait for it.
    package mutating func countTurn(nanoseconds: UInt64, wasContended: Bool) {
        statistics.turns &+= 1
        statistics.turnNanoseconds &+= nanoseconds
        if nanoseconds > longestTurn { longestTurn = nanoseconds }
        if nanoseconds > statistics.turnNanosecondsMaximum { statistics.turnNanosecondsMaximum = nanoseconds }
        if wasContended { statistics.turnsContended &+= 1 }
    }

    /// The longest turn since the last call, in nanoseconds.
    package mutating func takeLongestTurn() -> UInt64 {
        defer { longestTurn = 0 }
        return longestTurn
    }

    /// Topics of which messages came, with how many since the last call: one page of those that the route cache knows,
    /// which are the busy ones. Nil behind the last page.
    package mutating func takeTopicCounts(page: Int) -> [TopicCount]? {
        cache.takeHits(page: page)?.map { TopicCount(topic: String(decoding: $0.topic, as: UTF8.self), count: $0.hits) }
    }

    // MARK: Connections

    /// Connections beyond the limit, of those that are being closed for new ones.
    private static var connectionsClosing: Int { 50 }

    /// A transport was accepted. Nil where there are too many: it is to be closed.
    package mutating func open(loop: Int, address: String, at now: Int64) -> ConnectionID? {
        self.now = now
        statistics.sockets &+= 1
        let isFull = connectionCount >= limits.connectionsMax
        let hasSpace = connectionCount < limits.connectionsMax + Self.connectionsClosing
        // One that owes CONNECT makes room, if not at once: closing takes a moment.
        guard !isFull || pendingCount > 0 && hasSpace else {
            statistics.socketsRefused &+= 1
            return nil
        }
        makeRoomForPending(atLeastOne: isFull)
        let slot = freeConnections.popLast() ?? Int32(connections.count)
        if Int(slot) == connections.count { connections.append(ConnectionSlot()) }
        let c = Int(slot)
        connections[c] = ConnectionSlot()
        connections[c].generation = nextGeneration
        nextGeneration &+= 1
        connections[c].state = .awaitingConnect
        connections[c].loop = loop
        connections[c].client.address = address
        connections[c].lastReceived = now
        let id = id(c)
        timers.insert(Timer(due: now + configuration.connectTimeout, kind: .accepted(id)))
        pending.append(id)
        pendingCount += 1
        return id
    }

    /// Who comes and sends CONNECT is let in, however many others came and do not.
    private mutating func makeRoomForPending(atLeastOne: Bool) {
        var mustEnd = atLeastOne
        while let oldest = pending.first {
            let c = index(oldest)
            let owesConnect = c.map { connections[$0].state == .awaitingConnect } ?? false
            guard !owesConnect || mustEnd || pendingCount >= limits.connectsPendingMax else { break }
            pending.removeFirst()
            if let c, owesConnect {
                mustEnd = false
                statistics.socketsRefused &+= 1
                end(c, .broker(.serverBusy, explanation: "no CONNECT yet, and others are waiting"))
            }
        }
        // One that keeps its place at the front does not keep all behind it in memory.
        if pending.count > 2 * pendingCount + 1_000 {
            pending = Deque(pending.filter { index($0).map { connections[$0].state == .awaitingConnect } ?? false })
        }
    }

    /// The transport is gone, for whatever reason.
    package mutating func closed(_ id: ConnectionID, _ reason: DisconnectReason, at now: Int64) {
        self.now = now
        guard let c = index(id) else { return }
        if connections[c].state != .closing { end(c, reason) }
        statistics.unsentBytes -= connections[c].output.bytes + connections[c].bytesInTransport
        statistics.unsentPackets -= connections[c].output.packets
        connections[c] = ConnectionSlot()
        freeConnections.append(id.slot)
    }

    /// After a mass close: gives back the slots behind the last one in use.
    package mutating func compact() {
        // A session that is still being buried keeps its place.
        guard graves.isEmpty else { return }
        while connections.last?.state == .free { connections.removeLast() }
        while sessions.last?.isFree == true { sessions.removeLast() }
        freeConnections = freeConnections.filter { Int($0) < connections.count }
        freeSessions = freeSessions.filter { Int($0) < sessions.count }
        // Only a new array has less capacity.
        connections = [] + connections
        sessions = [] + sessions
    }

    @inline(__always)
    func index(_ id: ConnectionID) -> Int? {
        let c = Int(id.slot)
        guard connections.indices.contains(c), connections[c].generation == id.generation, connections[c].state != .free
        else {
            return nil
        }
        return c
    }

    @inline(__always)
    func id(_ c: Int) -> ConnectionID {
        ConnectionID(slot: Int32(c), generation: connections[c].generation)
    }

    // MARK: Sessions

    /// The session of a connection that has one. Asked for only where it does.
    @inline(__always)
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

/// What the core let go of and the caller frees: a large queue or many subscriptions take milliseconds.
package struct Discarded: Sendable {
    let queue: OutboundQueue
    let subscriptions: [[UInt8]: Int32]
    let replays: RetainedReplays
}

/// A topic, and how many messages came.
package struct TopicCount: Sendable {
    package let topic: String
    package let count: Int
}

/// What is left of a session that had many subscriptions.
struct Grave: Sendable {
    let session: Int32
    var subscriptions: [Int32]
    let bytes: Int
}

/// A point in time at which something is looked at again. Firing early or twice is harmless.
struct Timer: Comparable, Sendable {
    enum Kind: Sendable, Equatable {
        /// CONNECT has to have come.
        case accepted(ConnectionID)
        case connection(ConnectionID)
        case session(Int32, incarnation: UInt64)
        /// The connection is not writable.
        case drain(ConnectionID)
        /// A packet of the connection waits for room in the store.
        case held(ConnectionID)
        /// The connection's session has a full queue, and is not to have one.
        case overflow(ConnectionID)
        case systemTopics
        case heartbeat
    }

    let due: Int64
    let kind: Kind

    static func < (lhs: Self, rhs: Self) -> Bool { lhs.due < rhs.due }
    static func == (lhs: Self, rhs: Self) -> Bool { lhs.due == rhs.due }
}

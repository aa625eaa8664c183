/// Why a copy of a message did not reach its receiver.
public enum DropCause: Int, Sendable, CaseIterable {
    /// The session's queue was full.
    case queueFull
    /// It expired before it could be sent.
    case expired
    /// It is larger than the client takes [MQTT-3.1.2-25].
    case tooLarge
    /// QoS 0, and the connection did not take what it was sent before.
    case backlog
    /// QoS 0, and the session had no connection.
    case offline
    /// A shared subscription without a member that may have it.
    case noMember
    /// The session ended before it was acknowledged.
    case sessionEnded
    /// Retained messages were at their limit: delivered, and not retained.
    case notRetained
    /// The hook `authorizeForward` was against it.
    case notForwarded
    /// The program that the broker is part of has emptied the queue.
    case cleared

    /// As it is named in `$SYS`, metrics and logs.
    public var name: String {
        switch self {
        case .queueFull: "queue-full"
        case .expired: "expired"
        case .tooLarge: "too-large"
        case .backlog: "qos0-backlog"
        case .offline: "qos0-offline"
        case .noMember: "no-member"
        case .sessionEnded: "session-ended"
        case .notRetained: "not-retained"
        case .notForwarded: "not-forwarded"
        case .cleared: "cleared"
        }
    }
}

/// How many were dropped, by cause.
public struct Drops: Sendable, Equatable {
    // Empty until the first drop: most sessions never have one.
    private var counts: [UInt64] = []

    /// None.
    public init() {}

    /// How many for this cause.
    public subscript(cause: DropCause) -> UInt64 { counts.isEmpty ? 0 : counts[cause.rawValue] }

    /// For all causes together.
    public var total: UInt64 { counts.reduce(0, +) }

    mutating func count(_ cause: DropCause, _ number: UInt64 = 1) {
        if counts.isEmpty { counts = Array(repeating: 0, count: DropCause.allCases.count) }
        counts[cause.rawValue] &+= number
    }
}

/// What waits for one session, and what it has lost.
public struct SessionQueue: Sendable, Equatable {
    /// Of its client.
    public let clientID: String
    /// Whether it has a connection.
    public let isConnected: Bool
    /// Messages at QoS 1 and 2, queued or in flight.
    public let messages: Int
    /// Bytes that they hold.
    public let bytes: Int
    /// Copies for it that were dropped since it began.
    public let dropped: Drops
}

/// Figures of the whole broker. What is counted is counted since its start.
public struct Statistics: Sendable, Equatable {
    /// Milliseconds since the start.
    public internal(set) var uptime: Int64 = 0

    // MARK: Clients

    /// Connections whose CONNECT was accepted, now.
    public internal(set) var clientsConnected = 0
    /// The most of them at a time.
    public internal(set) var clientsMaximum = 0
    /// Sessions, with and without connection, now.
    public internal(set) var sessions = 0
    /// Sessions whose expiry interval has passed.
    public internal(set) var sessionsExpired: UInt64 = 0
    /// Connections of any kind, now.
    public internal(set) var connections = 0
    /// Connections that were accepted, with or without CONNECT.
    public internal(set) var sockets: UInt64 = 0
    /// Connections that a limit turned away.
    public internal(set) var socketsRefused: UInt64 = 0
    /// CONNECT packets, those that were refused among them.
    public internal(set) var connects: UInt64 = 0

    // MARK: Traffic

    /// Packets of any kind that clients have sent.
    public internal(set) var packetsReceived: UInt64 = 0
    /// Packets of any kind, handed to the transport.
    public internal(set) var packetsSent: UInt64 = 0
    /// Bytes of whole packets that clients have sent.
    public internal(set) var bytesReceived: UInt64 = 0
    /// Bytes handed to the transport.
    public internal(set) var bytesSent: UInt64 = 0
    /// PUBLISH packets that clients have sent.
    public internal(set) var publishReceived: UInt64 = 0
    /// Bytes of their payloads.
    public internal(set) var publishBytesReceived: UInt64 = 0
    /// PUBLISH packets of clients that were not routed: not allowed, or over a limit.
    public internal(set) var publishRefused: UInt64 = 0
    /// PUBLISH packets, repetitions among them.
    public internal(set) var publishSent: UInt64 = 0
    /// Bytes of their payloads.
    public internal(set) var publishBytesSent: UInt64 = 0

    /// Bytes of the payloads of copies that were dropped; of those in the queue of a session that ended, all that it held.
    public internal(set) var publishBytesDropped: UInt64 = 0

    // MARK: Copies. Routed is completed, dropped, and unfinished, together.

    /// Copies made of messages, one for each receiver.
    public internal(set) var copiesRouted: UInt64 = 0
    /// Of these, sent at QoS 0 or acknowledged at QoS 1 or 2.
    public internal(set) var copiesCompleted: UInt64 = 0
    /// Of these, queued or in flight now.
    public internal(set) var copiesUnfinished = 0
    /// Of these, dropped. (`notRetained` counts messages, not copies.)
    public internal(set) var dropped = Drops()
    /// Bytes of memory that unfinished copies hold; a message in several queues counts in each.
    public internal(set) var queuedBytes = 0
    /// Those among them that the store has too, so that memory can let go of them.
    public internal(set) var queuedBytesInWindows = 0
    /// Bytes of unfinished copies that only the store has, as they would be counted in memory.
    public internal(set) var queuedBytesInStore = 0

    // MARK: What is held now

    /// Topic filters that sessions have subscribed to, each session's counted by itself.
    public internal(set) var subscriptions = 0
    /// Those among them that are shared.
    public internal(set) var sharedSubscriptions = 0
    /// Bytes that all subscriptions hold.
    public internal(set) var subscriptionBytes = 0
    /// Nodes of the tree of subscriptions.
    public internal(set) var treeNodes = 0
    /// Retained messages.
    public internal(set) var retainedMessages = 0
    /// Bytes that they hold.
    public internal(set) var retainedBytes = 0
    /// Wills that are waiting, in bytes.
    public internal(set) var willBytes = 0
    /// Packets in send buffers.
    public internal(set) var unsentPackets = 0
    /// Bytes in send buffers, and those that a connection's transport holds because the client does not take them.
    public internal(set) var unsentBytes = 0
    /// Changes that wait for a commit, in bytes.
    public internal(set) var uncommittedBytes = 0

    /// Packets that wait for room in a full store, in bytes.
    public internal(set) var heldBytes = 0

    /// Deadlines that are kept.
    public internal(set) var timers = 0

    // MARK: The lock

    /// Turns: bursts, wake-ups and timer runs.
    public internal(set) var turns: UInt64 = 0
    /// Turns that had to wait for another.
    public internal(set) var turnsContended: UInt64 = 0
    /// Nanoseconds that all turns held the lock.
    public internal(set) var turnNanoseconds: UInt64 = 0
    /// Nanoseconds of the longest.
    public internal(set) var turnNanosecondsMaximum: UInt64 = 0

    // MARK: Hooks that are called under the lock

    /// Calls of `authorizeForward` and `selectSharedSubscriber`.
    public internal(set) var lockedHookCalls: UInt64 = 0
    /// Nanoseconds that they took, all together.
    public internal(set) var lockedHookNanoseconds: UInt64 = 0
    /// Nanoseconds of the longest.
    public internal(set) var lockedHookNanosecondsMaximum: UInt64 = 0

    /// Nothing yet.
    public init() {}

    /// Copies that were dropped, for whatever cause.
    public var copiesDropped: UInt64 { dropped.total - dropped[.notRetained] }

    /// Sessions without a connection, now.
    public var clientsDisconnected: Int { sessions - clientsConnected }
}

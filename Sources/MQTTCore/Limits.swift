/// What clients can make the broker spend, at most, each by its name in `apus serve --limit`. The table of the article
/// Limits and back-pressure has the defaults and says what happens at each.
///
/// Bytes are memory held, not payload length. A limit of 0 that concerns all clients together is a share of this
/// machine's memory, which the broker fills in when it starts.
public struct Limits: Sendable {
    /// Connections open at the same time, with or without CONNECT: `connections`.
    public var connectionsMax = 100_000
    /// Connections that have not sent CONNECT yet: `connects-pending`.
    public var connectsPendingMax = 10_000
    /// Bytes of a CONNECT packet: `connect-bytes`.
    public var connectBytesMax = 128 << 10
    /// Bytes of a PUBLISH packet, which 5.0 clients are told: `packet-bytes`.
    public var packetBytesMax = 16 << 20
    /// Bytes of a SUBSCRIBE or UNSUBSCRIBE packet: `subscribe-bytes`.
    public var subscribeBytesMax = 1 << 20
    /// Bytes of any other packet that a client sends: `control-bytes`.
    public var controlBytesMax = 64 << 10
    /// Bytes of a client identifier: `client-id-bytes`.
    public var clientIDBytesMax = 1_024
    /// Bytes of a topic name or filter: `topic-bytes`.
    public var topicBytesMax = 65_535
    /// Levels of a topic name or filter: `topic-levels`.
    public var topicLevelsMax = 128
    /// Topic filters of one SUBSCRIBE or UNSUBSCRIBE: `filters`.
    public var filtersMax = 10_000
    /// Subscriptions of one session: `subscriptions`.
    public var subscriptionsMax = 100_000
    /// Shared subscriptions of one session: `shared-subscriptions`.
    public var sharedSubscriptionsMax = 100
    /// Levels of all filters of one session: `tree-nodes`.
    public var treeNodesMax = 50_000
    /// Bytes that one session's subscriptions hold: `subscription-bytes`.
    public var subscriptionBytesMax = 64 << 20
    /// Bytes that all subscriptions hold: `subscription-bytes-in-all`.
    public var subscriptionBytesInAllMax = 0
    /// Sessions, connected or not: `sessions`.
    public var sessionsMax = 1_000_000
    /// Seconds that a session outlives its connection, which 5.0 clients are told: `session-expiry`.
    public var sessionExpiryMax = 4_294_967_295
    /// Seconds that a message lives: `message-expiry`.
    public var messageExpiryMax = 4_294_967_295
    /// Bytes of one will, with its topic and properties: `will-bytes`.
    public var willBytesMax = 128 << 10
    /// Bytes of all wills: `will-bytes-in-all`.
    public var willBytesInAllMax = 0
    /// PUBLISH packets of QoS 1 and 2 without their final answer, from one 5.0 connection: `receive-maximum`.
    public var receiveMaximum = 100
    /// Topic aliases that a 5.0 client may use, and the broker where the client lets it: `topic-aliases`.
    public var topicAliasMaximum = 32
    /// PUBLISH packets of QoS 1 and 2 that one connection has been sent and has not acknowledged: `in-flight`.
    public var inFlightMax = 100
    /// Bytes of these: `in-flight-bytes`.
    public var inFlightBytesMax = 64 << 20
    /// Messages that wait for one session, in memory only: `queued-messages`.
    public var queuedMessagesMax = 100_000
    /// Bytes that wait for one session, in memory only: `queued-bytes`.
    public var queuedBytesMax = 64 << 20
    /// Bytes that wait for all these sessions: `queued-bytes-in-all`.
    public var queuedBytesInAllMax = 0
    /// Messages that wait for one session of which the store has them: `stored-messages`.
    public var storedMessagesMax = 1_000_000
    /// Bytes that wait for one such session: `stored-bytes`.
    public var storedBytesMax = 1 << 30
    /// Bytes of memory that the messages of all such sessions take: `windows-in-all`.
    public var windowBytesInAllMax = 64 << 20
    /// Retained messages: `retained-messages`.
    public var retainedMessagesMax = 1_000_000
    /// Bytes of these: `retained-bytes`.
    public var retainedBytesMax = 0
    /// Bytes that wait to be written to one connection: `send-buffer`.
    public var sendBufferBytesMax = 8 << 20
    /// Bytes that wait to be written, above which a connection's QoS 1 and 2 stay in the queue: `send-buffer-paced`.
    public var sendBufferBytesPaced = 256 << 10
    /// Bytes that a client does not take, above which it is not read from: `send-buffer-unread`.
    public var sendBufferBytesUnread = 1 << 20
    /// Bytes that wait to be written to all connections: `send-buffers-in-all`.
    public var sendBufferBytesInAllMax = 0
    /// Bytes of the topics that one connection's aliases stand for: `topic-alias-bytes`.
    public var topicAliasBytesMax = 16 << 10
    /// Bytes of all packets that have come in part: `receive-buffers`.
    public var receiveBufferBytesInAllMax = 0
    /// Bytes of one connection's publishes that wait for a commit: `uncommitted-bytes`.
    public var uncommittedBytesMax = 4 << 20
    /// Bytes of all changes that wait for a commit: `uncommitted-bytes-in-all`.
    public var uncommittedBytesInAllMax = 40 << 20
    /// Deliveries of one turn: `deliveries`.
    public var deliveriesPerTurn = 5_000

    /// The defaults.
    public init() {}

    /// An expiry in seconds that never comes.
    static var never: Int { 4_294_967_295 }
}

/// One of the limits: its name, what it counts, and what happens when a client reaches it.
public struct Limit: Sendable {
    /// As `apus serve --limit` takes it.
    public let name: String
    /// What is counted.
    public let unit: String
    /// What happens at the limit.
    public let effect: String
    /// What it can be set to.
    public let range: ClosedRange<Int>
    /// Where it is kept.
    public let keyPath: any WritableKeyPath<Limits, Int> & Sendable
    /// The part of this machine's memory that a value of 0 stands for: one n-th. Nil where 0 means 0.
    package let memoryPart: Int?

    /// The value where none is set, for people to read.
    public var defaultDescription: String {
        if let memoryPart { return "1/\(memoryPart) of the memory" }
        let value = Limits()[keyPath: keyPath]
        if value == 4_294_967_295 { return "none" }
        if unit.hasPrefix("bytes") && value >= 1 << 20 && value % (1 << 20) == 0 { return "\(value >> 20) MiB" }
        if unit.hasPrefix("bytes") && value >= 1 << 10 && value % (1 << 10) == 0 { return "\(value >> 10) KiB" }
        return Self.grouped(value)
    }

    private static func grouped(_ value: Int) -> String {
        var text = ""
        for (at, digit) in String(value).reversed().enumerated() {
            if at > 0 && at % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return String(text.reversed())
    }
}

extension Limits {
    /// All limits, in the order in which a client meets them.
    public static let table: [Limit] = connecting + subscribing + publishing + receiving

    private static func limit(
        _ name: String,
        _ unit: String,
        _ keyPath: any WritableKeyPath<Limits, Int> & Sendable,
        in range: ClosedRange<Int> = 1...(1 << 40),
        memoryPart: Int? = nil,
        _ effect: String
    ) -> Limit {
        Limit(name: name, unit: unit, effect: effect, range: range, keyPath: keyPath, memoryPart: memoryPart)
    }

    private static let connecting = [
        limit(
            "connections",
            "connections",
            \.connectionsMax,
            "one that owes CONNECT is closed, or the new one; the files that the process may open limit it too"
        ),
        limit(
            "connects-pending",
            "connections",
            \.connectsPendingMax,
            "the one that has owed its CONNECT the longest is closed"
        ),
        limit(
            "connect-bytes",
            "bytes",
            \.connectBytesMax,
            in: 12...268_000_000,
            "CONNECT is refused with 0x95 (3.x: closed)"
        ),
        limit("client-id-bytes", "bytes", \.clientIDBytesMax, in: 1...65_535, "CONNECT is refused with 0x85 (3.x: 2)"),
        limit("sessions", "sessions", \.sessionsMax, "CONNECT is refused with 0x97 (3.x: 3) if it needs a new session"),
        limit("will-bytes", "bytes", \.willBytesMax, in: 0...(1 << 40), "CONNECT is refused with 0x97 (3.x: 3)"),
        limit(
            "will-bytes-in-all",
            "bytes",
            \.willBytesInAllMax,
            in: 0...(1 << 40),
            memoryPart: 32,
            "CONNECT with a will is refused with 0x97 (3.x: 3)"
        ),
        limit(
            "session-expiry",
            "seconds",
            \.sessionExpiryMax,
            in: 0...4_294_967_295,
            "the session ends then; 5.0 clients are told in CONNACK"
        ),
    ]

    private static let subscribing = [
        limit(
            "subscribe-bytes",
            "bytes of a SUBSCRIBE or UNSUBSCRIBE",
            \.subscribeBytesMax,
            in: 64...268_000_000,
            "the connection is closed with 0x95"
        ),
        limit("filters", "filters of a packet", \.filtersMax, "the connection is closed with 0x97"),
        limit(
            "topic-bytes",
            "bytes",
            \.topicBytesMax,
            in: 1...65_535,
            "a filter is refused with 0x8F (3.x: 0x80), a message with 0x90, which only 5.0 is told"
        ),
        limit("topic-levels", "levels", \.topicLevelsMax, in: 1...65_535, "as topic-bytes"),
        limit("subscriptions", "subscriptions of a session", \.subscriptionsMax, "a new one is refused with 0x97"),
        limit(
            "tree-nodes",
            "levels of all filters of a session",
            \.treeNodesMax,
            "a new subscription is refused with 0x97"
        ),
        limit(
            "subscription-bytes",
            "bytes of a session",
            \.subscriptionBytesMax,
            "a new subscription is refused with 0x97"
        ),
        limit(
            "subscription-bytes-in-all",
            "bytes",
            \.subscriptionBytesInAllMax,
            in: 0...(1 << 40),
            memoryPart: 16,
            "a new subscription is refused with 0x97"
        ),
        limit(
            "shared-subscriptions",
            "shared subscriptions of a session",
            \.sharedSubscriptionsMax,
            "a new one is refused with 0x97: each gets a copy of its own"
        ),
    ]

    private static let publishing = [
        limit(
            "packet-bytes",
            "bytes of a PUBLISH",
            \.packetBytesMax,
            in: 12...268_000_000,
            "the connection is closed with 0x95"
        ),
        limit(
            "control-bytes",
            "bytes of a packet of another kind",
            \.controlBytesMax,
            in: 64...268_000_000,
            "the connection is closed with 0x95"
        ),
        limit(
            "receive-buffers",
            "bytes in all connections",
            \.receiveBufferBytesInAllMax,
            in: 0...(1 << 40),
            memoryPart: 16,
            "a connection whose packet has come in part and grows is closed with 0x97"
        ),
        limit(
            "receive-maximum",
            "packets",
            \.receiveMaximum,
            in: 1...65_535,
            "a 5.0 connection with more unanswered publishes is closed with 0x93"
        ),
        limit(
            "topic-aliases",
            "aliases",
            \.topicAliasMaximum,
            in: 0...65_535,
            "a 5.0 connection that uses a higher one is closed with 0x94"
        ),
        limit(
            "topic-alias-bytes",
            "bytes of the topics of a connection",
            \.topicAliasBytesMax,
            "a 5.0 connection whose aliases stand for more is closed with 0x97"
        ),
        limit(
            "message-expiry",
            "seconds",
            \.messageExpiryMax,
            in: 0...4_294_967_295,
            "every message expires then, also one without an expiry of its own"
        ),
        limit(
            "retained-messages",
            "messages",
            \.retainedMessagesMax,
            in: 0...(1 << 40),
            "a message to a new topic is delivered and not retained, which is counted; 0x97 if nobody gets it"
        ),
        limit(
            "retained-bytes",
            "bytes",
            \.retainedBytesMax,
            in: 0...(1 << 40),
            memoryPart: 8,
            "as retained-messages; what the topic had before goes"
        ),
        limit(
            "uncommitted-bytes",
            "bytes of a connection",
            \.uncommittedBytesMax,
            "it is not read from until they are committed; the same for what is held of it while the store is full"
        ),
        limit(
            "uncommitted-bytes-in-all",
            "bytes",
            \.uncommittedBytesInAllMax,
            in: 1...(1 << 30),
            "a connection with changes among them is not read from until they are committed; so much a journal sets aside"
        ),
        limit("deliveries", "deliveries of a turn", \.deliveriesPerTurn, "the rest of a burst waits for the next turn"),
    ]

    private static let receiving = [
        limit("in-flight", "messages of a connection", \.inFlightMax, in: 1...65_535, "the rest waits in the queue"),
        limit("in-flight-bytes", "bytes of a connection", \.inFlightBytesMax, "the rest waits in the queue"),
        limit("queued-messages", "messages of a session", \.queuedMessagesMax, "the queue policy: --queue-policy"),
        limit("queued-bytes", "bytes of a session", \.queuedBytesMax, "the queue policy: --queue-policy"),
        limit(
            "queued-bytes-in-all",
            "bytes",
            \.queuedBytesInAllMax,
            in: 0...(1 << 40),
            memoryPart: 4,
            "queues that hold more than 64 KiB are full"
        ),
        limit(
            "stored-messages",
            "messages of a session",
            \.storedMessagesMax,
            "where there is a store: the queue policy: --queue-policy"
        ),
        limit(
            "stored-bytes",
            "bytes of a session",
            \.storedBytesMax,
            "where there is a store: the queue policy: --queue-policy"
        ),
        limit(
            "windows-in-all",
            "bytes",
            \.windowBytesInAllMax,
            "what the store has of messages for sessions that outlive their connection is not in memory, too"
        ),
        limit(
            "send-buffer",
            "bytes of a connection",
            \.sendBufferBytesMax,
            "QoS 0 for it is dropped; after the drain time without progress it is closed"
        ),
        limit(
            "send-buffer-paced",
            "bytes of a connection",
            \.sendBufferBytesPaced,
            "QoS 1 and 2 for it wait in the queue"
        ),
        limit(
            "send-buffer-unread",
            "bytes of a connection",
            \.sendBufferBytesUnread,
            "it is not read from until it takes them"
        ),
        limit(
            "send-buffers-in-all",
            "bytes",
            \.sendBufferBytesInAllMax,
            in: 0...(1 << 40),
            memoryPart: 4,
            "what holds for send-buffer holds for every connection that does not take its bytes"
        ),
    ]

    /// With the shares of memory filled in.
    package func resolved(memoryBytes: Int) -> Limits {
        var limits = self
        for limit in Self.table where limits[keyPath: limit.keyPath] == 0 {
            guard let part = limit.memoryPart else { continue }
            limits[keyPath: limit.keyPath] = memoryBytes / part
        }
        return limits
    }

    /// What is set to a value that it cannot have; nil where nothing is.
    public var firstOutOfRange: Limit? {
        Self.table.first { !$0.range.contains(self[keyPath: $0.keyPath]) }
    }
}

/// What happens to a message at QoS 1 or 2 for a session whose queue is full.
public enum QueuePolicy: String, Sendable, CaseIterable {
    /// The message is dropped; its publisher is told 0x97 if nobody else could take it (MQTT 5.0, section 3.4.2.1).
    case dropNewest = "drop-newest"
    /// The oldest message that was never sent is dropped, and the new one queued.
    case dropOldest = "drop-oldest"
    /// The message is dropped, and the session's connection ended with 0x97.
    case disconnect
}

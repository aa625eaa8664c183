import MQTTPackets

/// All that a store knows when the broker starts, but for the messages that are queued.
public struct StoredState: Sendable {
    /// Nil in a new store.
    public var broker: StoredBroker?
    /// In any order.
    public var sessions: [StoredSession]
    /// One for each topic, in any order.
    public var retained: [StoredRetained]
    /// What the operator is to know of the store, a sentence each; for the log.
    public var notices: [String] = []

    /// Nothing, or what is given.
    public init(broker: StoredBroker? = nil, sessions: [StoredSession] = [], retained: [StoredRetained] = []) {
        self.broker = broker
        self.sessions = sessions
        self.retained = retained
    }
}

/// What concerns no session and no topic.
public struct StoredBroker: Sendable, Hashable {
    /// The time of the broker in milliseconds, which all deadlines refer to. It never goes back, and goes on while the
    /// broker is down as far as the clock of the machine can be believed.
    public var time: Int64
    /// The clock of the machine at that time: milliseconds since 1970.
    public var wallClock: Int64
    /// Incarnations up to this one have been given to sessions.
    public var lastIncarnation: UInt64
    /// Versions up to this one have been given to retained messages.
    public var lastRetainedVersion: UInt64

    /// All of it.
    public init(time: Int64, wallClock: Int64, lastIncarnation: UInt64, lastRetainedVersion: UInt64) {
        self.time = time
        self.wallClock = wallClock
        self.lastIncarnation = lastIncarnation
        self.lastRetainedVersion = lastRetainedVersion
    }

    /// Before this the clock of a machine that does not know the time stands: 1 January 2020.
    private static let plausibleWallClock: Int64 = 1_577_836_800_000

    /// What the time is at a start: where it was, and the time since. A clock that has gone back, or that did not know the
    /// time then, tells nothing about that.
    package func time(atWallClock now: Int64) -> Int64 {
        let isPlausible = wallClock >= Self.plausibleWallClock && now >= wallClock
        return time + (isPlausible ? now - wallClock : 0)
    }
}

/// A session without its messages.
public struct StoredSession: Sendable {
    /// Its own, for ever.
    public let incarnation: UInt64
    /// Of its client.
    public let clientID: String
    /// Seconds that it outlives its connection; `UInt32.max` for ever, 0 where it is stored for its will alone.
    public var expiryInterval: UInt32
    /// In the time of the broker; nil where the session was connected.
    public var disconnectedAt: Int64?
    /// Of the connection that is there or has just gone.
    public var will: Will?
    /// One for each filter, in any order.
    public var subscriptions: [StoredSubscription] = []
    /// QoS 2 packet identifiers that were received and not released.
    public var receivedPacketIDs: [UInt16] = []
    /// Packet identifiers that no message is to be given any more.
    public var retiredPacketIDs: [UInt16] = []
    /// Messages of QoS 2 with numbers below this one may have been sent.
    public var sendMark: UInt64 = 0
    /// Above every number that a message of the session ever had.
    public var nextNumber: UInt64 = 0
    /// Messages that are not over.
    public var queuedMessages = 0
    /// Bytes that these take, about.
    public var queuedBytes = 0
    /// In any order.
    public var replays: [StoredReplay] = []
    /// Topics of which the retained message was queued before its turn, and the sequence up to which that holds.
    public var pulledTopics: [String: UInt64] = [:]

    /// A session that has nothing yet.
    public init(incarnation: UInt64, clientID: String, expiryInterval: UInt32) {
        self.incarnation = incarnation
        self.clientID = clientID
        self.expiryInterval = expiryInterval
    }
}

/// A subscription of a session.
public struct StoredSubscription: Sendable, Hashable {
    /// As the client wrote it, with `$share/` where it is shared.
    public var filter: String
    /// What it wants.
    public var options: SubscriptionOptions
    /// 0 is none.
    public var identifier: UInt32

    /// All of it.
    public init(filter: String, options: SubscriptionOptions, identifier: UInt32) {
        self.filter = filter
        self.options = options
        self.identifier = identifier
    }
}

/// A message of QoS 1 or 2 that is queued for a session, or in flight to its client.
public struct StoredMessage: Sendable {
    /// Of the session's messages no two have the same number; ascending in the order in which they are to be sent. The
    /// packet identifier is the number modulo 65,535, plus one.
    public var number: UInt64
    /// Nil after PUBREC.
    public var message: Message?
    /// Of the delivery: 1 or 2.
    public var qos: QoS
    /// The retain flag that it is sent with.
    public var isRetained: Bool
    /// Subscription identifiers to send along.
    public var identifiers: [UInt32]
    /// The filter of the shared subscription that it was queued for, with `$share/`; empty where there is none.
    public var sharedFilter: String

    /// At QoS 1 or 2.
    public init(
        number: UInt64,
        message: Message?,
        qos: QoS,
        isRetained: Bool = false,
        identifiers: [UInt32] = [],
        sharedFilter: String = ""
    ) {
        self.number = number
        self.message = message
        self.qos = qos
        self.isRetained = isRetained
        self.identifiers = identifiers
        self.sharedFilter = sharedFilter
    }
}

/// The retained message of a topic.
public struct StoredRetained: Sendable {
    /// Never without payload.
    public var message: Message
    /// Ascending in the order in which retained messages were set.
    public var version: UInt64

    /// With the version that it was given.
    public init(_ message: Message, version: UInt64) {
        self.message = message
        self.version = version
    }
}

/// The retained messages that a subscription of a session is still owed.
public struct StoredReplay: Sendable, Hashable {
    /// As it was made.
    public var subscription: StoredSubscription
    /// Newer messages are not owed.
    public var versionMax: UInt64
    /// Where topics stand in the broker's order, all up to this one have been queued; empty where none was.
    public var through: String
    /// Ascending in the order in which the session's replays began.
    public var sequence: UInt64

    /// All of it.
    public init(subscription: StoredSubscription, versionMax: UInt64, through: String, sequence: UInt64) {
        self.subscription = subscription
        self.versionMax = versionMax
        self.through = through
        self.sequence = sequence
    }
}

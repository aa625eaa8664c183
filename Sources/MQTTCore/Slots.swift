import DequeModule
import MQTTPackets
import MQTTSessions

/// An answer that leaves once a ticket is committed. Those behind it wait too, so that answers keep their order.
struct WaitingAnswer: Sendable {
    enum Answer: Sendable {
        case acknowledgement(PacketKind, UInt16, ReasonCode)
        indirect case packet(Packet)
    }

    var ticket: UInt64
    var answer: Answer
    /// Whether it ends a QoS 1 publish of the receive window.
    var endsAtLeastOnce = false
    /// The number of the message that is with the hook `published`; 0 is none.
    var published: UInt64 = 0
    /// Its own, and those of the publish that it answers.
    var bytes = MemoryLayout<WaitingAnswer>.stride
}

/// One connection, from accept to close.
struct ConnectionSlot: Sendable {
    enum State: Sendable {
        case free
        case awaitingConnect
        /// CONNACK waits for a commit; nothing else is read.
        case awaitingCommit
        case connected
        /// Nothing is read or written any more but what is in the send buffer.
        case closing
    }

    var generation: UInt32 = 0
    var state = State.free
    var loop = 0
    /// Its identifier is empty before CONNECT has come.
    var client = ClientInfo(id: "", address: "", version: .v5)
    var session: Int32 = -1
    var output = SendBuffer()
    /// Whether it is in its loop's list of connections with something to do.
    var isTouched = false
    var isWritable = true
    /// Milliseconds: when it became unwritable, or has last taken something since.
    var lastWritable: Int64 = 0
    /// What the transport holds while it is not writable.
    var bytesInTransport = 0
    var isDrainArmed = false
    /// Since when a packet that has come in part waits for more; -1 where there is none.
    var partSince: Int64 = -1
    var isReadingPaused = false
    /// Whether it is not read from before its retained replays have become fewer.
    var isReplaying = false
    /// Whether CONNECT asked for a session that outlives its connection.
    var asksForExpiry = false
    /// Whether it is paused until more is committed: output alone does not resume it.
    var isPausedForCommit = false
    /// Whether it waits for an answer to its question.
    var isAsking = false
    /// Whether CONNECT began an exchange of AUTH packets that is not over.
    var isAuthenticating = false
    /// Whether it came with an authentication method.
    var hasAuthenticated = false
    /// Whether it is in its loop's list of connections that have more to be sent.
    var isHungry = false
    var isPumping = false
    var sendQuota = 0
    var packetBytesMax = Int.max
    var aliasesIn = InboundAliases(maximum: 0)
    var aliasesOut = OutboundAliases(maximum: 0)
    var wantsProblemInformation = true
    /// Milliseconds; 0 is off.
    var keepAliveTimeout: Int64 = 0
    var lastReceived: Int64 = 0
    /// Whether the deadline has passed once: only the second time ends the connection, after it was offered a read.
    var isSuspect = false
    var waiting = Deque<WaitingAnswer>()
    /// Whether it is in the list of connections to look at after a commit.
    var isListedWaiting = false
    /// Bytes of the answers that wait, and of the publishes that they answer.
    var uncommittedBytes = 0
    /// The ticket of the last change that one of its packets made.
    var lastTicket: UInt64 = 0
    /// It is not closed before this is committed.
    var closeTicket: UInt64 = 0
    /// QoS 2 packet identifiers whose PUBREC waits for a commit.
    var waitingPubrecs = PacketIDSet()
    /// Whether it is to be ended because its session's queue is full.
    var isOverflowing = false
    /// Whether it is host code's, without a transport: nobody is told that it comes and goes.
    var isHost = false
    /// Whether all that waited for the client has been sent: all below the number that was the queue's end.
    var isReady = false
    var readyAt: UInt64 = 0

    /// Milliseconds.
    var connectedAt: Int64 = 0
    var publishReceived: UInt64 = 0
    var publishSent: UInt64 = 0
    var bytesReceived: UInt64 = 0
    var bytesSent: UInt64 = 0

    var version: ProtocolVersion {
        get { client.version }
        set { client.version = newValue }
    }
}

/// A will that is not published yet.
struct PendingWill: Sendable {
    let will: Will
    let bytes: Int

    init(_ will: Will) {
        self.will = will
        bytes = will.topic.utf8.count + will.payload.readableBytes + will.properties.bytesHeld
    }

    /// Milliseconds after the end of the connection.
    var delay: Int64 { Int64(will.properties[integer: .willDelayInterval] ?? 0) * 1_000 }
}

/// One session, from CONNECT to its end.
struct SessionSlot: Sendable {
    var isFree = false
    /// -1 while there is none.
    var connection: Int32 = -1
    var state: BrokerSession
    /// The bytes of the filter as the client wrote it → number of the subscription.
    var subscriptions: [[UInt8]: Int32] = [:]
    var replays = RetainedReplays()
    /// The will of the connection that is there or that has just gone.
    var will: PendingWill?
    /// Milliseconds of the monotonic clock; nil while nothing is due.
    var willDue: Int64?
    var endDue: Int64?
    /// When its timer fires; `Int64.max` while it has none.
    var armedDue = Int64.max
    /// The ticket of the last change to it.
    var lastTicket: UInt64 = 0
    /// Whether the store knows of it, and as one without a connection.
    var isStored = false
    var isStoredDisconnected = false
    /// Whether the store has its messages, so that not all of them need be in memory.
    var hasStoredQueue = false
    /// Whether a page of them has been asked for.
    var isPaging = false
    /// Whether they could not be read: then nothing is asked for before the next connection.
    var isUnreadable = false
    /// Whether it has ended, but for the shared messages in the store that other members are to get.
    var isLeaving = false
    /// Whether it is in the list of sessions to look at after a commit.
    var isWaiting = false
    /// Levels of all its filters, and the bytes that they hold.
    var treeNodes = 0
    var subscriptionBytes = 0
    var sharedSubscriptions = 0
    /// Copies for it that were dropped, and how many of them observers have been told of.
    var drops = Drops()
    var dropsTold = Drops()
    var isDropping = false

    init(_ state: BrokerSession) { self.state = state }

    /// Whether no message is queued for it any more.
    var isOver: Bool { isFree || isLeaving }

    /// A place for a session to come.
    static var free: SessionSlot {
        var slot = SessionSlot(BrokerSession(clientID: "", incarnation: 0, expiryInterval: 0))
        slot.isFree = true
        return slot
    }
}

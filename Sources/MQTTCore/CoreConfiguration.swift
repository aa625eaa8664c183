import MQTTPackets

/// What the core is told once, at its start.
package struct CoreConfiguration: Sendable {
    package var limits = Limits()
    package var loops = 1
    /// Chosen at random by the edge; fixed in tests.
    package var seed: UInt64 = 0
    /// Milliseconds.
    package var connectTimeout: Int64 = 30_000
    /// Seconds; 0 leaves the keep alive to the client.
    package var keepAliveMax: UInt16 = 0
    package var responseInformation: String?
    package var queuePolicy = QueuePolicy.dropNewest
    /// Milliseconds that a connection may take nothing of what it is sent.
    package var drainTime: Int64 = 60_000
    package var systemTopics = SystemTopicsConfiguration()
    /// What is asked for before it is handled.
    package var asks: Asks = []
    /// Whether acknowledgements wait for `publishedAnswered`.
    package var tellsPublished = false
    /// Asked for each receiver, under the lock; with the nanoseconds that it took.
    package var authorizeForward: (@Sendable (Message, ForwardReceiver) -> (isAllowed: Bool, nanoseconds: UInt64))?
    /// Asked for each message of a shared subscription, likewise. Nil leaves it to the broker.
    package var selectSharedSubscriber: (@Sendable (SharedSelection) -> (clientID: String?, nanoseconds: UInt64))?
    /// Whether what is acknowledged has to be committed first.
    package var isDurable = false
    /// Only for tests, which show that a simulation sees what is missing.
    package var skippedWaits: Waits = []

    package init() {}
}

/// What leaves after a commit.
package struct Waits: OptionSet, Sendable, Hashable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static var puback: Waits { Waits(rawValue: 1) }
    package static var pubrec: Waits { Waits(rawValue: 2) }
    package static var pubcomp: Waits { Waits(rawValue: 4) }
    package static var publishExactlyOnce: Waits { Waits(rawValue: 8) }
    package static var pubrel: Waits { Waits(rawValue: 16) }
    package static var suback: Waits { Waits(rawValue: 32) }
    package static var unsuback: Waits { Waits(rawValue: 64) }
    package static var connack: Waits { Waits(rawValue: 128) }
    package static var repeatedPubrec: Waits { Waits(rawValue: 256) }
    package static var sendMark: Waits { Waits(rawValue: 512) }
    package static var close: Waits { Waits(rawValue: 1_024) }
}

/// A connection, for as long as it lasts.
package struct ConnectionID: Sendable, Hashable {
    package let slot: Int32
    package let generation: UInt32

    package init(slot: Int32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }
}

/// What the broker says of itself under `$SYS`.
package struct SystemTopicsConfiguration: Sendable {
    /// Milliseconds; 0 is never.
    package var interval: Int64 = 0
    /// What is left of a load figure after one interval, for those of 1, 5 and 15 minutes: e to the power of minus
    /// interval by minutes, which takes a library that pure modules do not have.
    package var loadDecays: [Double] = [0, 0, 0]
    package var version = ""
    package var clientTopics = ClientTopics.none
    /// In the names of these topics.
    package var brokerID = ""
    /// Milliseconds between two heartbeats of the kind of aedes.
    package var heartbeatInterval: Int64 = 60_000

    package init() {}
}

/// Messages about each client, below `$SYS/<broker id>/`, for programs that were written for other brokers.
public enum ClientTopics: String, Sendable, CaseIterable {
    /// None.
    case none
    /// `new/clients`, `disconnect/clients`, `new/subscribes` and `new/unsubscribes` (one for a packet), `heartbeat`.
    case aedes
    /// `new/clients`, `disconnect/clients`, `new/subscribes` and `new/unsubscribes` (one for a topic filter).
    case mosca
}

/// What happened, for the log and for observers. Told after the lock is released.
package enum CoreEvent: Sendable, Equatable {
    case connected(ClientInfo, sessionPresent: Bool, keepAlive: UInt16)
    /// The client identifier is empty where none was accepted; without CONNECT the version means nothing.
    case disconnected(ClientInfo, hadConnect: Bool, DisconnectReason)
    /// Copies for this session that were dropped since it was last told; at most once a second for a session. Without
    /// a client identifier: drops that are no session's.
    case dropped(clientID: String, cause: DropCause, count: UInt64)
    /// Messages of this session could not be read from the store. It is left alone until its client connects again.
    case unreadable(clientID: String, reason: String)
}

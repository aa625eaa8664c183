import MQTTPackets
import MQTTStore

extension MQTTClient {
    /// How a client is set up. The defaults are those of the specification, with reconnection.
    public struct Configuration: Sendable {
        /// Tried in turn, one with each attempt. At least one.
        public var servers: [ServerAddress]
        /// The version of the protocol that is spoken; a server that does not know it refuses the connection.
        public var version = ProtocolVersion.v5
        /// Empty lets the server assign one; before 5.0 the client makes one up then, and keeps it.
        public var clientID = ""
        /// Whether the first connection begins a new session (section 3.1.2.4). Later ones resume it, where there is one.
        public var cleanStart = true
        /// How long the session outlives its connections (section 3.1.2.11.2). Before 5.0 it is for ever or not at all,
        /// as `cleanStart` says.
        public var sessionExpiry = SessionExpiry.withConnection
        /// The longest silence of this end, in whole seconds up to 65,535; zero is no limit (section 3.1.2.10).
        public var keepAlive = Duration.seconds(60)
        /// In place of the server's own.
        public var userName: String?
        /// In place of the server's own.
        public var password: ByteBuffer?
        /// What the server publishes when the connection is lost.
        public var will: Will?
        /// User properties of CONNECT, and whatever else stands there in 5.0 and has no field here: properties that do have
        /// one are left out.
        public var connectProperties = Properties()
        /// Messages of QoS 1 and 2 that may be on the way to the application at one time (section 3.1.2.11.3). Once as
        /// many are not acknowledged, the server waits. 1 to 65,535; 5.0 only.
        public var receiveMaximum = 1_024
        /// The largest packet that is taken; nil is what the protocol allows (section 3.1.2.11.4).
        public var packetBytesMax: UInt32?
        /// Aliases that the server may give to topics, 0 to 65,535 (section 3.1.2.11.5).
        public var topicAliasesMax = 16
        /// Topics of QoS 0 that this client gives aliases to by itself, if the server lets it; the one that was not used
        /// for the longest gives up its own. 0 is none.
        public var automaticTopicAliasesMax = 0
        /// Whether the server is asked for what response topics may be based on (section 3.1.2.11.6).
        public var requestsResponseInformation = false
        /// For everything from the name's resolution to CONNACK.
        public var connectTimeout = Duration.seconds(30)
        /// What happens when a connection is lost.
        public var reconnect = ReconnectPolicy()
        /// Whether the next attempt goes where a server says to go (section 4.11). It is sent the same credentials.
        public var followsServerReference = true
        /// What waits to be sent.
        public var queue = QueueLimits()
        /// Where messages of QoS 1 and 2 are kept that the server has not acknowledged, so that they survive the program; nil
        /// keeps them in memory. One client has it at a time, and it asks for a session that lasts: no `cleanStart`, and
        /// a `sessionExpiry` in 5.0. Without a `clientID` the client takes the one that the store knows.
        ///
        /// What `queue` says bounds it; what is published before it has been read comes on top. Messages of QoS 0 are never
        /// stored. What is committed at one time is of half a MiB and two messages, at most; when the client ends, all
        /// that is left.
        public var store: (any MessageStore)?
        /// Bytes of messages that wait in one sequence. Beyond that the connection is not read, unless the application
        /// waits for an answer of the server: then QoS 0 is dropped, and counted, and of QoS 1 and 2 as many wait as
        /// `receiveMaximum` lets come; before 5.0 as the server sends unacknowledged, at most 65,535.
        public var sequenceBytesMax = 1 << 20
        /// Called before each attempt: whom to connect to, and as whom. What it throws ends the attempt.
        public var prepareConnection: (@Sendable (inout ConnectionAttempt) async throws -> Void)?
        /// Enhanced authentication (section 4.12); nil is none.
        public var authenticator: (any MQTTAuthenticator)?
        /// The world around it, which tests replace.
        package var environment = ClientEnvironment()

        /// A client of these servers.
        public init(servers: [ServerAddress]) { self.servers = servers }

        /// A client of one server.
        public init(server: ServerAddress = ServerAddress()) { servers = [server] }

        /// A client of the server that the URL names.
        public init(_ url: String) throws(MQTTError) { servers = [try ServerAddress(url)] }
    }

    /// How long a session outlives its connection.
    public enum SessionExpiry: Sendable, Hashable {
        /// The session ends with its connection.
        case withConnection
        /// It is kept for so many whole seconds, up to 4,294,967,294.
        case after(Duration)
        /// It is kept for ever.
        case never

        var seconds: UInt32 {
            switch self {
            case .withConnection: 0
            case .after(let time): UInt32(clamping: time.components.seconds)
            case .never: .max
            }
        }
    }

    /// Bounds of what was published and not sent yet, for want of a connection or of the server's acknowledgements.
    public struct QueueLimits: Sendable, Hashable {
        /// What happens to a message that finds the queue full.
        public enum Policy: Sendable, Hashable {
            /// `publish` waits for room; `enqueue` throws.
            case wait
            /// `publish` and `enqueue` throw `MQTTError.queueFull`.
            case refuseNewest
            /// The oldest that was not sent makes room.
            case dropOldest
        }

        /// Messages, 1 or more.
        public var messagesMax = 10_000
        /// Bytes of their payloads and topics and of what is kept beside them, 1 or more. A single message waits whatever
        /// its size. What was sent and is not acknowledged does not count: that is for the server's Receive Maximum.
        public var bytesMax = 16 << 20
        /// How long a message may wait for a connection; nil is as long as it takes.
        public var ageMax: Duration?
        /// What happens to a message that finds the queue full.
        public var policy = Policy.wait
        /// A message on which the connection breaks so many times in a row, without an answer to it and with nothing else
        /// under way, is given up: a server that takes offence at it would never take any other. Nil is never.
        public var attemptsMax: Int? = 10
        /// Whether messages of QoS 0 wait for a connection too. If not, publishing one without a connection throws.
        public var keepsAtMostOnce = true

        /// The defaults.
        public init() {}
    }
}

/// One attempt to connect, for `prepareConnection` to change.
public struct ConnectionAttempt: Sendable {
    /// From 1; it begins anew once a connection was made.
    public let number: Int
    /// The next of the list.
    public var server: ServerAddress
    /// The user name that CONNECT will have; nil is none.
    public var userName: String?
    /// The password that CONNECT will have; nil is none.
    public var password: ByteBuffer?
    /// The will that CONNECT will have; nil is none.
    public var will: Will?
}

/// One side of enhanced authentication (MQTT 5.0, section 4.12).
public protocol MQTTAuthenticator: Sendable {
    /// The name of the method.
    var method: String { get }
    /// The data of CONNECT, or of the AUTH that begins re-authentication.
    func initialData() async throws -> ByteBuffer?
    /// The answer to what the server has sent. What it throws ends the connection.
    func respond(to challenge: ByteBuffer?) async throws -> ByteBuffer?
    /// The server has accepted; its last data are to be checked where the method says so.
    func succeeded(with data: ByteBuffer?) async throws
}

extension MQTTClient.Configuration {
    var durableStore: (any MessageStore)? { store.flatMap { $0.isDurable ? $0 : nil } }

    /// Properties of CONNECT that fields say.
    private static let identifiersOfFields: [PropertyIdentifier] = [
        .sessionExpiryInterval, .receiveMaximum, .maximumPacketSize, .topicAliasMaximum, .requestResponseInformation,
        .authenticationMethod, .authenticationData,
    ]

    func connect(_ attempt: ConnectionAttempt, clientID: String, authenticationData: ByteBuffer?) -> Connect {
        var connect = Connect(
            version: version,
            clientID: clientID,
            cleanStart: cleanStart,
            keepAlive: UInt16(clamping: keepAlive.components.seconds),
            will: attempt.will,
            userName: attempt.userName,
            password: attempt.password
        )
        guard version == .v5 else { return connect }
        var properties = connectProperties
        for identifier in Self.identifiersOfFields { properties.removeAll(identifier) }
        if sessionExpiry != .withConnection { properties[integer: .sessionExpiryInterval] = sessionExpiry.seconds }
        properties[integer: .receiveMaximum] = UInt32(receiveMaximum)
        properties[integer: .maximumPacketSize] = packetBytesMax
        if topicAliasesMax > 0 { properties[integer: .topicAliasMaximum] = UInt32(topicAliasesMax) }
        if requestsResponseInformation { properties[integer: .requestResponseInformation] = 1 }
        if let authenticator {
            properties[string: .authenticationMethod] = authenticator.method
            properties[binary: .authenticationData] = authenticationData
        }
        connect.properties = properties
        return connect
    }

    /// Throws where the settings make no client.
    func check() throws(MQTTError) {
        func require(_ condition: Bool, _ what: String) throws(MQTTError) {
            if !condition { throw .invalidArgument(what) }
        }
        try require(!servers.isEmpty, "a client needs a server")
        try require(servers.allSatisfy(\.isValid), "a port is from 1 to 65535")
        try require((1...65_535).contains(receiveMaximum), "receiveMaximum is from 1 to 65535")
        try require((0...65_535).contains(topicAliasesMax), "topicAliasesMax is from 0 to 65535")
        try require((0...65_535).contains(automaticTopicAliasesMax), "automaticTopicAliasesMax is from 0 to 65535")
        try require(packetBytesMax != 0, "packetBytesMax is at least 1")
        try require((0...65_535).contains(keepAlive.components.seconds), "keepAlive is from 0 to 65535 seconds")
        try require(connectTimeout > .zero, "connectTimeout is longer than nothing")
        try require((queue.attemptsMax ?? 1) > 0, "a message is sent at least once")
        try require(queue.messagesMax > 0 && queue.bytesMax > 0, "a queue holds at least one message")
        try require(sequenceBytesMax > 0, "sequenceBytesMax is at least 1")
        try require((0...1).contains(reconnect.jitter), "jitter is from 0 to 1")
        try require(reconnect.delay >= .zero, "a delay is not below nothing")
        try require(store == nil || !cleanStart, "a store needs a session that lasts: cleanStart = false")
        try require(
            store == nil || version < .v5 || sessionExpiry != .withConnection,
            "a store needs a session that lasts: sessionExpiry"
        )
        try require(authenticator == nil || version == .v5, "enhanced authentication needs MQTT 5.0")
    }
}

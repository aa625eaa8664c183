import MQTTCore
import MQTTPackets
import NIOCore

/// What the broker asks its embedder about clients, messages and subscriptions.
///
/// Each is a closure or nil, which costs nothing. What the broker itself rules out stays ruled out: hooks are asked
/// first and may rewrite, and the broker's rules and limits are applied to the result. A hook that throws, and an
/// asynchronous one that takes longer than `BrokerConfiguration.hookTimeout`, is a refusal and a line in the log; a late
/// answer is ignored. Hooks are called side by side for different clients, and one after the other for one client.
public struct BrokerHooks: Sendable {
    /// A CONNECT has come. Asked before anything is looked at that the client claims: the place for rate limits and for
    /// addresses that are kept out. Failing refuses the client with 0x88 (return code 3).
    public var preConnect: (@Sendable (ConnectRequest) async throws -> ConnectDecision)?
    /// Whether the client is who it says. Without credentials it sent neither user name nor password. Not asked where
    /// `enhancedAuthentication` was. Failing refuses the client with 0x88 (return code 3).
    public var authenticate: (@Sendable (ClientInfo, Credentials?) async throws -> AuthenticationDecision)?
    /// Whether the client may publish this. Also asked for its will, at CONNECT, where a refusal refuses the client.
    ///
    /// It is called on the client's event loop for every PUBLISH, so it must not wait for anything. A refused message is
    /// answered with the reason in 5.0 and acknowledged without effect before. Failing refuses it with 0x83.
    public var authorizePublish: (@Sendable (ClientInfo, PublishRequest) throws -> PublishDecision)?
    /// Whether the client may have this subscription. Asked for each filter of a SUBSCRIBE, in order, and for each
    /// subscription of a session that is resumed, before its CONNACK. Failing refuses the subscription with 0x83 (0x80
    /// before 5.0), and those behind it in the same packet without asking if it took too long.
    public var authorizeSubscribe: (@Sendable (ClientInfo, SubscribeRequest) async throws -> SubscribeDecision)?
    /// One step of an exchange of AUTH packets (MQTT 5.0, section 4.12): of one that a CONNECT with an authentication
    /// method begins, or that a connected client begins anew. Without this hook such a CONNECT is refused with 0x8C.
    /// Failing refuses the client with 0x88.
    public var enhancedAuthentication:
        (@Sendable (ClientInfo, AuthenticationRequest) async throws -> AuthenticationStep)?

    /// Whether a receiver may have a message: asked for each receiver of each message, also of retained ones and those of
    /// the broker itself. A copy that is skipped is counted as `DropCause.notForwarded`.
    ///
    /// It is called under the broker's lock, which all clients wait for: it decides at once from what it is given. One
    /// that calls the broker stops the program.
    public var authorizeForward: (@Sendable (Message, ForwardReceiver) -> Bool)?
    /// Which member of a shared subscription gets a message, by its client identifier; nil, or one that is no candidate,
    /// leaves the choice to the broker. Called as `authorizeForward` is.
    public var selectSharedSubscriber: (@Sendable (SharedSelection) -> String?)?
    /// A message of a client was accepted and what it changed is stored. PUBACK or PUBREC waits for this hook, so that
    /// "acknowledged" can mean "in my database". Not called for wills and for what the broker or its program publishes.
    ///
    /// Called for the messages of one client one after the other, at least once for each: again where a client sends one
    /// again whose acknowledgement it did not get. Receivers do not wait for it. Failing is a refusal with 0x83.
    public var published: (@Sendable (ClientInfo, Message) async throws -> PublishedDecision)?

    /// No hooks.
    public init() {}
}

/// A CONNECT as `preConnect` sees it.
public struct ConnectRequest: Sendable {
    /// The client as it describes itself; nothing of that is verified.
    public let client: ClientInfo
    /// Clean Start of 5.0, Clean Session before.
    public let cleanStart: Bool
    /// In seconds; 0 is off.
    public let keepAlive: UInt16
    /// What the broker is to publish when the connection is lost.
    public let will: Will?
    /// Of the packet; empty before 5.0.
    public let properties: Properties

    init(_ connect: Connect, _ client: ClientInfo) {
        self.client = client
        cleanStart = connect.cleanStart
        keepAlive = connect.keepAlive
        will = connect.will
        properties = connect.properties
    }
}

/// What `preConnect` says.
public enum ConnectDecision: Sendable, Hashable {
    /// The CONNECT is looked at further.
    case proceed
    /// CONNACK carries the reason. One that CONNACK cannot carry becomes `notAuthorized`.
    case refuse(ReasonCode)
}

/// User name and password of a CONNECT.
public struct Credentials: Sendable, Hashable {
    /// Nil where it sent none.
    public let username: String?
    /// The bytes of the password; nil where it sent none.
    public let passwordBytes: ByteBuffer?

    /// The password as text; nil where it sent none, or one that is not UTF-8.
    public var password: String? {
        passwordBytes.flatMap { String(validating: $0.readableBytesView, as: UTF8.self) }
    }

    /// Nil where there is neither.
    init?(_ connect: Connect) {
        guard connect.userName != nil || connect.password != nil else { return nil }
        username = connect.userName
        passwordBytes = connect.password
    }
}

/// What `authenticate` says.
public enum AuthenticationDecision: Sendable, Hashable {
    /// The client may come. A user name takes the place of the one it sent; other hooks find the attributes in `ClientInfo`.
    case accepted(username: String?, attributes: [String: String] = [:])
    /// CONNACK carries the reason. One that CONNACK cannot carry becomes `notAuthorized`.
    case rejected(ReasonCode)

    /// The client may come as what it says it is.
    public static var accepted: Self { .accepted(username: nil) }
}

/// A message that a client wants to publish, or its will.
public struct PublishRequest: Sendable {
    /// The topic's name. An alias has been resolved.
    public let topic: String
    /// With which it is published.
    public let qos: QoS
    /// Whether it is to be retained.
    public let isRetained: Bool
    /// Whether it is the client's will, which is published later.
    public let isWill: Bool
    /// What was read, and where in it the message stands.
    private let source: ByteBuffer
    private let payloadRange: Range<Int>
    private let propertyRange: Range<Int>

    /// The application's bytes. They stand in the buffer that was read: copy what you keep.
    public var payload: ByteBuffer { part(payloadRange) }

    /// Those of the message, without topic alias; empty before 5.0. Decoded at each call.
    public var properties: Properties {
        guard !propertyRange.isEmpty else { return Properties() }
        let place: PropertyPlace = isWill ? .will : .publish
        // They were checked when the packet was.
        let decoded = try? Properties(decoding: source.readableBytesUInt8Span, propertyRange, in: place)
        var properties = decoded ?? Properties()
        properties.removeAll(.topicAlias)
        return properties
    }

    init(_ view: PublishView, topic: String, in burst: ByteBuffer) {
        self.topic = topic
        qos = view.qos
        isRetained = view.isRetained
        isWill = false
        source = burst
        payloadRange = view.payload
        propertyRange = view.properties
    }

    init(_ will: Will) {
        topic = will.topic
        qos = will.qos
        isRetained = will.isRetained
        isWill = true
        var bytes = ByteBuffer(buffer: will.payload)
        payloadRange = 0..<bytes.readableBytes
        will.properties.encode(into: &bytes)
        propertyRange = payloadRange.upperBound..<bytes.readableBytes
        source = bytes
    }

    private func part(_ range: Range<Int>) -> ByteBuffer {
        source.getSlice(at: source.readerIndex + range.lowerBound, length: range.count) ?? ByteBuffer()
    }
}

/// What `authorizePublish` says.
public enum PublishDecision: Sendable, Hashable {
    /// It is published.
    case allow
    /// It is not. A reason that PUBACK cannot carry (for a will: CONNACK) becomes `notAuthorized`.
    case deny(ReasonCode = .notAuthorized)
    /// It is published with what is given in place of its own. What no PUBLISH can carry (a topic with wildcards, a
    /// property of other packets, more bytes than packets may have) is a refusal and a line in the log.
    case replace(topic: String? = nil, payload: ByteBuffer? = nil, properties: Properties? = nil)
}

/// What `published` says.
public enum PublishedDecision: Sendable, Hashable {
    /// The message is acknowledged.
    case acknowledge
    /// The client is told that the message failed, which its receivers have all the same: with this reason in 5.0. Before
    /// 5.0 there is only a line in the log. A reason that PUBACK cannot carry becomes `notAuthorized`.
    case refuse(ReasonCode)
}

/// A subscription that a client wants, or has in a session that it resumes.
public struct SubscribeRequest: Sendable, Hashable {
    /// As the client wrote it, with `$share/` where it is shared. Of a session that is resumed: as it was rewritten.
    public let filter: String
    /// What it asks for beside the filter.
    public let options: SubscriptionOptions
    /// Whether it is one of a session that is being resumed.
    public let isResumed: Bool
}

/// What `authorizeSubscribe` says.
public enum SubscribeDecision: Sendable, Hashable {
    /// It may, with at most this QoS, and with this filter in place of its own. Its UNSUBSCRIBE on the same connection is
    /// rewritten likewise. For a session that is resumed the filter is not looked at.
    case allow(filter: String? = nil, qosMax: QoS = .exactlyOnce)
    /// It may not; of a session that is resumed the subscription is removed. A reason that SUBACK cannot carry becomes
    /// `notAuthorized`; before 5.0 it is always 0x80.
    case deny(ReasonCode = .notAuthorized)

    /// It may, as it wishes.
    public static var allow: Self { .allow() }
}

/// What a client says in an exchange of AUTH packets.
public struct AuthenticationRequest: Sendable {
    /// The authentication method of its CONNECT.
    public let method: String
    /// Authentication data; nil where the packet had none.
    public let data: ByteBuffer?
    /// What the last step left; nil in the first.
    public let state: (any Sendable)?
    /// Whether a connected client authenticates itself again.
    public let isAgain: Bool
    /// User name and password of its CONNECT; nil where it had neither, or is connected.
    public let credentials: Credentials?
}

/// What `enhancedAuthentication` says. Data has at most 65,535 bytes; more is as if the hook had failed.
public enum AuthenticationStep: Sendable {
    /// AUTH with this data asks the client for more. `state` comes with what it answers.
    case challenge(ByteBuffer?, state: (any Sendable)? = nil)
    /// The exchange is over; CONNACK, or AUTH for a connected client, carries the data. User name and attributes as
    /// with `authenticate`.
    case accepted(data: ByteBuffer? = nil, username: String? = nil, attributes: [String: String] = [:])
    /// CONNACK, or DISCONNECT for a connected client, carries the reason. One that it cannot carry becomes
    /// `notAuthorized`.
    case rejected(ReasonCode)
}

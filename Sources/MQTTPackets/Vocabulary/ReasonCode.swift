/// The outcome of an operation (MQTT 5.0, section 2.4). Values from 0x80 on are failures.
public struct ReasonCode: RawRepresentable, Sendable, Hashable {
    /// The byte on the wire.
    public let rawValue: UInt8

    /// Any byte: what is not listed below was given no meaning by the specification.
    @inlinable
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Whether the code says that the operation failed.
    @inlinable
    public var isError: Bool { rawValue >= 0x80 }

    /// 0x00: done; also Normal disconnection and Granted QoS 0.
    @inlinable public static var success: ReasonCode { ReasonCode(rawValue: 0x00) }
    /// 0x01, SUBACK: the most that messages are sent with is QoS 1.
    @inlinable public static var grantedQoS1: ReasonCode { ReasonCode(rawValue: 0x01) }
    /// 0x02, SUBACK: messages are sent with the QoS of their publication.
    @inlinable public static var grantedQoS2: ReasonCode { ReasonCode(rawValue: 0x02) }
    /// 0x04, DISCONNECT: the client leaves and wants its will published.
    @inlinable public static var disconnectWithWill: ReasonCode { ReasonCode(rawValue: 0x04) }
    /// 0x10, PUBACK and PUBREC: accepted, but nobody subscribed.
    @inlinable public static var noMatchingSubscribers: ReasonCode { ReasonCode(rawValue: 0x10) }
    /// 0x11, UNSUBACK: there was nothing to give up.
    @inlinable public static var noSubscriptionExisted: ReasonCode { ReasonCode(rawValue: 0x11) }
    /// 0x18, AUTH: the exchange goes on.
    @inlinable public static var continueAuthentication: ReasonCode { ReasonCode(rawValue: 0x18) }
    /// 0x19, AUTH: the client starts another exchange on a live connection.
    @inlinable public static var reAuthenticate: ReasonCode { ReasonCode(rawValue: 0x19) }
    /// 0x80: the sender will not or cannot say why.
    @inlinable public static var unspecifiedError: ReasonCode { ReasonCode(rawValue: 0x80) }
    /// 0x81: bytes that are no packet of the specification.
    @inlinable public static var malformedPacket: ReasonCode { ReasonCode(rawValue: 0x81) }
    /// 0x82: a packet that is well formed and not allowed here.
    @inlinable public static var protocolError: ReasonCode { ReasonCode(rawValue: 0x82) }
    /// 0x83: valid, but not accepted by this implementation.
    @inlinable public static var implementationSpecificError: ReasonCode { ReasonCode(rawValue: 0x83) }
    /// 0x84, CONNACK: the client asks for a version that is not spoken here.
    @inlinable public static var unsupportedProtocolVersion: ReasonCode { ReasonCode(rawValue: 0x84) }
    /// 0x85, CONNACK: well formed, but not allowed.
    @inlinable public static var clientIdentifierNotValid: ReasonCode { ReasonCode(rawValue: 0x85) }
    /// 0x86, CONNACK: not accepted.
    @inlinable public static var badUserNameOrPassword: ReasonCode { ReasonCode(rawValue: 0x86) }
    /// 0x87: the client may not do this.
    @inlinable public static var notAuthorized: ReasonCode { ReasonCode(rawValue: 0x87) }
    /// 0x88, CONNACK: the server cannot be used.
    @inlinable public static var serverUnavailable: ReasonCode { ReasonCode(rawValue: 0x88) }
    /// 0x89: try again later.
    @inlinable public static var serverBusy: ReasonCode { ReasonCode(rawValue: 0x89) }
    /// 0x8A, CONNACK: an administrator keeps this client out.
    @inlinable public static var banned: ReasonCode { ReasonCode(rawValue: 0x8A) }
    /// 0x8B, DISCONNECT: the server stops.
    @inlinable public static var serverShuttingDown: ReasonCode { ReasonCode(rawValue: 0x8B) }
    /// 0x8C: not supported, or not that of the exchange.
    @inlinable public static var badAuthenticationMethod: ReasonCode { ReasonCode(rawValue: 0x8C) }
    /// 0x8D, DISCONNECT: silence of one and a half times the keep alive.
    @inlinable public static var keepAliveTimeout: ReasonCode { ReasonCode(rawValue: 0x8D) }
    /// 0x8E, DISCONNECT: another connection uses the same client identifier.
    @inlinable public static var sessionTakenOver: ReasonCode { ReasonCode(rawValue: 0x8E) }
    /// 0x8F: well formed, but not accepted.
    @inlinable public static var topicFilterInvalid: ReasonCode { ReasonCode(rawValue: 0x8F) }
    /// 0x90: well formed, but not accepted.
    @inlinable public static var topicNameInvalid: ReasonCode { ReasonCode(rawValue: 0x90) }
    /// 0x91: the identifier has not been answered yet.
    @inlinable public static var packetIdentifierInUse: ReasonCode { ReasonCode(rawValue: 0x91) }
    /// 0x92, PUBREL and PUBCOMP: nothing is in flight under it, which after a reconnection is no error.
    @inlinable public static var packetIdentifierNotFound: ReasonCode { ReasonCode(rawValue: 0x92) }
    /// 0x93, DISCONNECT: more unacknowledged messages than allowed.
    @inlinable public static var receiveMaximumExceeded: ReasonCode { ReasonCode(rawValue: 0x93) }
    /// 0x94, DISCONNECT: an alias of 0 or over the maximum.
    @inlinable public static var topicAliasInvalid: ReasonCode { ReasonCode(rawValue: 0x94) }
    /// 0x95: over the maximum packet size.
    @inlinable public static var packetTooLarge: ReasonCode { ReasonCode(rawValue: 0x95) }
    /// 0x96, DISCONNECT: too much received in the time.
    @inlinable public static var messageRateTooHigh: ReasonCode { ReasonCode(rawValue: 0x96) }
    /// 0x97: a limit set by an administrator or the implementation.
    @inlinable public static var quotaExceeded: ReasonCode { ReasonCode(rawValue: 0x97) }
    /// 0x98, DISCONNECT: somebody closed the connection.
    @inlinable public static var administrativeAction: ReasonCode { ReasonCode(rawValue: 0x98) }
    /// 0x99: the payload is not what its format indicator says.
    @inlinable public static var payloadFormatInvalid: ReasonCode { ReasonCode(rawValue: 0x99) }
    /// 0x9A: the server keeps no retained messages.
    @inlinable public static var retainNotSupported: ReasonCode { ReasonCode(rawValue: 0x9A) }
    /// 0x9B: over the Maximum QoS of CONNACK.
    @inlinable public static var qosNotSupported: ReasonCode { ReasonCode(rawValue: 0x9B) }
    /// 0x9C: for now; Server Reference may name one.
    @inlinable public static var useAnotherServer: ReasonCode { ReasonCode(rawValue: 0x9C) }
    /// 0x9D: for good; Server Reference may name where.
    @inlinable public static var serverMoved: ReasonCode { ReasonCode(rawValue: 0x9D) }
    /// 0x9E: the server has none, or none for this client.
    @inlinable public static var sharedSubscriptionsNotSupported: ReasonCode { ReasonCode(rawValue: 0x9E) }
    /// 0x9F: too many connections in the time.
    @inlinable public static var connectionRateExceeded: ReasonCode { ReasonCode(rawValue: 0x9F) }
    /// 0xA0, DISCONNECT: what was granted to this connection is over.
    @inlinable public static var maximumConnectTime: ReasonCode { ReasonCode(rawValue: 0xA0) }
    /// 0xA1: the server takes none.
    @inlinable public static var subscriptionIdentifiersNotSupported: ReasonCode { ReasonCode(rawValue: 0xA1) }
    /// 0xA2: the server takes none.
    @inlinable public static var wildcardSubscriptionsNotSupported: ReasonCode { ReasonCode(rawValue: 0xA2) }
}

extension ReasonCode: CustomStringConvertible {
    /// The name that the specification gives the code, and the code itself in hexadecimal.
    public var description: String {
        let digits = String(rawValue, radix: 16, uppercase: true)
        return "\(Self.names[rawValue] ?? "unknown reason") (0x\(digits.count < 2 ? "0" : "")\(digits))"
    }

    private static let names: [UInt8: String] = [
        0x00: "success", 0x01: "granted QoS 1", 0x02: "granted QoS 2", 0x04: "disconnect with will message",
        0x10: "no matching subscribers", 0x11: "no subscription existed", 0x18: "continue authentication",
        0x19: "re-authenticate", 0x80: "unspecified error", 0x81: "malformed packet", 0x82: "protocol error",
        0x83: "implementation specific error", 0x84: "unsupported protocol version",
        0x85: "client identifier not valid", 0x86: "bad user name or password", 0x87: "not authorized",
        0x88: "server unavailable", 0x89: "server busy", 0x8A: "banned", 0x8B: "server shutting down",
        0x8C: "bad authentication method", 0x8D: "keep alive timeout", 0x8E: "session taken over",
        0x8F: "topic filter invalid", 0x90: "topic name invalid", 0x91: "packet identifier in use",
        0x92: "packet identifier not found", 0x93: "receive maximum exceeded", 0x94: "topic alias invalid",
        0x95: "packet too large", 0x96: "message rate too high", 0x97: "quota exceeded",
        0x98: "administrative action", 0x99: "payload format invalid", 0x9A: "retain not supported",
        0x9B: "QoS not supported", 0x9C: "use another server", 0x9D: "server moved",
        0x9E: "shared subscriptions not supported", 0x9F: "connection rate exceeded",
        0xA0: "maximum connect time", 0xA1: "subscription identifiers not supported",
        0xA2: "wildcard subscriptions not supported",
    ]
}

extension ReasonCode {
    /// Whether the specification allows the code in this kind of packet.
    package func isAllowed(in kind: PacketKind) -> Bool {
        switch kind {
        case .connack: Self.connackCodes.contains(rawValue)
        case .puback, .pubrec: Self.publishCodes.contains(rawValue)
        case .pubrel, .pubcomp: self == .success || self == .packetIdentifierNotFound
        case .suback: Self.subackCodes.contains(rawValue)
        case .unsuback: Self.unsubackCodes.contains(rawValue)
        case .disconnect: Self.disconnectCodes.contains(rawValue)
        case .auth: self == .success || self == .continueAuthentication || self == .reAuthenticate
        default: false
        }
    }

    /// Whether a client may send a DISCONNECT with the code (MQTT 5.0, section 3.14.2.1).
    package var mayComeFromClient: Bool { Self.clientDisconnectCodes.contains(rawValue) }

    private static let clientDisconnectCodes: Set<UInt8> = [
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
    ]
    private static let connackCodes: Set<UInt8> = [
        0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A,
        0x9B, 0x9C, 0x9D, 0x9F,
    ]
    private static let publishCodes: Set<UInt8> = [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]
    private static let subackCodes: Set<UInt8> = [
        0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2,
    ]
    private static let unsubackCodes: Set<UInt8> = [0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]
    // 0x8C is in the list of section 2.4, not in that of 3.14.2.1.
    private static let disconnectCodes: Set<UInt8> = [
        0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
        0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
    ]
}

import NIOCore

/// The properties of MQTT 5.0 (section 2.2.2.2). The raw value is the identifier on the wire.
public enum PropertyIdentifier: UInt8, Sendable, Hashable, CaseIterable {
    /// Of PUBLISH and the will: 0 where the payload is bytes, 1 where it is UTF-8 (section 3.3.2.3.2).
    case payloadFormatIndicator = 1
    /// Of PUBLISH and the will: seconds after which a message is not delivered any more (section 3.3.2.3.3).
    case messageExpiryInterval = 2
    /// Of PUBLISH and the will: what the payload is, a MIME type as a rule (section 3.3.2.3.9).
    case contentType = 3
    /// Of PUBLISH and the will: the topic for the response (section 3.3.2.3.5).
    case responseTopic = 8
    /// Of PUBLISH and the will: bytes that tell the requester which request a response answers (section 3.3.2.3.6).
    case correlationData = 9
    /// Of SUBSCRIBE, and of the PUBLISH packets that it brings: 1 to 268,435,455 (section 3.8.2.1.2).
    case subscriptionIdentifier = 11
    /// Of CONNECT, CONNACK and DISCONNECT: seconds that a session outlives its connection; 4,294,967,295 is for ever
    /// (section 3.1.2.11.2).
    case sessionExpiryInterval = 17
    /// Of CONNACK: the client identifier that the server has chosen for a client without one (section 3.2.2.3.7).
    case assignedClientIdentifier = 18
    /// Of CONNACK: seconds, which the client uses instead of the keep alive that it asked for (section 3.2.2.3.14).
    case serverKeepAlive = 19
    /// Of CONNECT, CONNACK and AUTH: the name of the enhanced authentication (section 4.12).
    case authenticationMethod = 21
    /// Of CONNECT, CONNACK and AUTH: bytes whose meaning is the method's (section 4.12).
    case authenticationData = 22
    /// Of CONNECT: 0 or 1, whether packets other than PUBLISH, CONNACK and DISCONNECT may have reason strings and user
    /// properties (section 3.1.2.11.7).
    case requestProblemInformation = 23
    /// Of the will: seconds between the end of the connection and the will (section 3.1.3.2.2).
    case willDelayInterval = 24
    /// Of CONNECT: 0 or 1, whether CONNACK is to have response information (section 3.1.2.11.6).
    case requestResponseInformation = 25
    /// Of CONNACK: what a client is to base its response topics on (section 3.2.2.3.15).
    case responseInformation = 26
    /// Of CONNACK and DISCONNECT: another server that the client may use (section 4.11).
    case serverReference = 28
    /// Of acknowledgements, CONNACK, DISCONNECT and AUTH: the reason in words, for people (section 4.13).
    case reasonString = 31
    /// Of CONNECT and CONNACK: how many publications of QoS 1 and 2 the other end may have unacknowledged, 1 to 65,535
    /// (section 3.1.2.11.3).
    case receiveMaximum = 33
    /// Of CONNECT and CONNACK: the highest topic alias that the other end may use (section 3.1.2.11.5).
    case topicAliasMaximum = 34
    /// Of PUBLISH: a number that stands for the topic on this connection, from 1 (section 3.3.2.3.4).
    case topicAlias = 35
    /// Of CONNACK: 0 or 1, the highest QoS that the server takes; 2 where it is absent (section 3.2.2.3.4).
    case maximumQoS = 36
    /// Of CONNACK: 0 or 1, whether the server has retained messages; absent, it has (section 3.2.2.3.5).
    case retainAvailable = 37
    /// Of every packet but the pings: a name and a value, which may come several times (section 2.2.2.2).
    case userProperty = 38
    /// Of CONNECT and CONNACK: bytes of the largest packet that this end takes, above 0 (section 3.1.2.11.4).
    case maximumPacketSize = 39
    /// Of CONNACK: 0 or 1, whether filters may have wildcards; absent, they may (section 3.2.2.3.11).
    case wildcardSubscriptionAvailable = 40
    /// Of CONNACK: 0 or 1, whether there are subscription identifiers; absent, there are (section 3.2.2.3.12).
    case subscriptionIdentifierAvailable = 41
    /// Of CONNACK: 0 or 1, whether there are shared subscriptions; absent, there are (section 3.2.2.3.13).
    case sharedSubscriptionAvailable = 42

    /// What a value looks like on the wire.
    package enum Form: Sendable { case byte, twoBytes, fourBytes, variable, string, binary, pair }

    package var form: Form {
        switch self {
        case .payloadFormatIndicator, .requestProblemInformation, .requestResponseInformation, .maximumQoS,
            .retainAvailable, .wildcardSubscriptionAvailable, .subscriptionIdentifierAvailable,
            .sharedSubscriptionAvailable:
            .byte
        case .serverKeepAlive, .receiveMaximum, .topicAliasMaximum, .topicAlias: .twoBytes
        case .messageExpiryInterval, .sessionExpiryInterval, .willDelayInterval, .maximumPacketSize: .fourBytes
        case .subscriptionIdentifier: .variable
        case .contentType, .responseTopic, .assignedClientIdentifier, .authenticationMethod, .responseInformation,
            .serverReference, .reasonString:
            .string
        case .correlationData, .authenticationData: .binary
        case .userProperty: .pair
        }
    }

    /// Whether a value has the property's form and fits into its field.
    package func accepts(_ value: Property.Value) -> Bool {
        switch (form, value) {
        case (.byte, .integer(let number)): number <= 0xFF
        case (.twoBytes, .integer(let number)): number <= 0xFFFF
        case (.fourBytes, .integer): true
        case (.variable, .integer(let number)): number <= 268_435_455
        case (.string, .string(let text)): text.utf8.count <= 65_535
        case (.binary, .binary(let data)): data.readableBytes <= 65_535
        case (.pair, .pair(let name, let value)): name.utf8.count <= 65_535 && value.utf8.count <= 65_535
        default: false
        }
    }

    /// Where the property may stand.
    package func isAllowed(in place: PropertyPlace) -> Bool {
        switch self {
        case .payloadFormatIndicator, .messageExpiryInterval, .contentType, .responseTopic, .correlationData:
            place == .publish || place == .will
        case .subscriptionIdentifier: place == .publish || place == .subscribe
        case .sessionExpiryInterval: place == .connect || place == .connack || place == .disconnect
        case .assignedClientIdentifier, .serverKeepAlive, .responseInformation, .maximumQoS, .retainAvailable,
            .wildcardSubscriptionAvailable, .subscriptionIdentifierAvailable, .sharedSubscriptionAvailable:
            place == .connack
        case .authenticationMethod, .authenticationData: place == .connect || place == .connack || place == .auth
        case .requestProblemInformation, .requestResponseInformation: place == .connect
        case .willDelayInterval: place == .will
        case .serverReference: place == .connack || place == .disconnect
        case .reasonString: place.isAnswer
        case .receiveMaximum, .topicAliasMaximum, .maximumPacketSize: place == .connect || place == .connack
        case .topicAlias: place == .publish
        case .userProperty: true
        }
    }

    /// Whether a packet may carry the property more than once.
    package func mayRepeat(in place: PropertyPlace) -> Bool {
        self == .userProperty || (self == .subscriptionIdentifier && place == .publish)
    }
}

/// A place that properties stand in: a kind of packet, or the will in CONNECT.
package enum PropertyPlace: UInt8, Sendable {
    case will, connect, connack, publish, puback, pubrec, pubrel, pubcomp, subscribe, suback, unsubscribe, unsuback
    case disconnect, auth

    var isAnswer: Bool {
        switch self {
        case .connack, .puback, .pubrec, .pubrel, .pubcomp, .suback, .unsuback, .disconnect, .auth: true
        default: false
        }
    }
}

/// One property with its value.
public struct Property: Sendable, Hashable {
    /// What a value is: a number of any width, a string, bytes, or the two strings of a user property.
    public enum Value: Sendable, Hashable {
        /// A number of one, two or four bytes, or a variable byte integer, as the identifier has it.
        case integer(UInt32)
        /// UTF-8 without U+0000, at most 65,535 bytes (section 1.5.4).
        case string(String)
        /// At most 65,535 bytes (section 1.5.6).
        case binary(ByteBuffer)
        /// Name and value of a user property, each a string as above (section 1.5.7).
        case pair(String, String)
    }

    /// Which property it is.
    public let identifier: PropertyIdentifier
    /// In the form that belongs to the identifier.
    public let value: Value

    package init(_ identifier: PropertyIdentifier, _ value: Value) {
        self.identifier = identifier
        self.value = value
    }
}

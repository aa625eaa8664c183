import NIOCore

/// The properties of MQTT 5.0 (section 2.2.2.2). The raw value is the identifier on the wire.
public enum PropertyIdentifier: UInt8, Sendable, Hashable, CaseIterable {
    case payloadFormatIndicator = 1
    case messageExpiryInterval = 2
    case contentType = 3
    case responseTopic = 8
    case correlationData = 9
    case subscriptionIdentifier = 11
    case sessionExpiryInterval = 17
    case assignedClientIdentifier = 18
    case serverKeepAlive = 19
    case authenticationMethod = 21
    case authenticationData = 22
    case requestProblemInformation = 23
    case willDelayInterval = 24
    case requestResponseInformation = 25
    case responseInformation = 26
    case serverReference = 28
    case reasonString = 31
    case receiveMaximum = 33
    case topicAliasMaximum = 34
    case topicAlias = 35
    case maximumQoS = 36
    case retainAvailable = 37
    case userProperty = 38
    case maximumPacketSize = 39
    case wildcardSubscriptionAvailable = 40
    case subscriptionIdentifierAvailable = 41
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
        case integer(UInt32)
        case string(String)
        case binary(ByteBuffer)
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

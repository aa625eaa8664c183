import MQTTPackets

/// Section 2.2.2.2 as a table of its own, written from the specification and not from the code.
enum PropertyTable {
    static let places: [PropertyPlace] = [
        .will, .connect, .connack, .publish, .puback, .pubrec, .pubrel, .pubcomp, .subscribe, .suback, .unsubscribe,
        .unsuback, .disconnect, .auth,
    ]

    static let allowed: [PropertyIdentifier: [PropertyPlace]] = [
        .payloadFormatIndicator: [.publish, .will],
        .messageExpiryInterval: [.publish, .will],
        .contentType: [.publish, .will],
        .responseTopic: [.publish, .will],
        .correlationData: [.publish, .will],
        .subscriptionIdentifier: [.publish, .subscribe],
        .sessionExpiryInterval: [.connect, .connack, .disconnect],
        .assignedClientIdentifier: [.connack],
        .serverKeepAlive: [.connack],
        .authenticationMethod: [.connect, .connack, .auth],
        .authenticationData: [.connect, .connack, .auth],
        .requestProblemInformation: [.connect],
        .willDelayInterval: [.will],
        .requestResponseInformation: [.connect],
        .responseInformation: [.connack],
        .serverReference: [.connack, .disconnect],
        .reasonString: [.connack, .puback, .pubrec, .pubrel, .pubcomp, .suback, .unsuback, .disconnect, .auth],
        .receiveMaximum: [.connect, .connack],
        .topicAliasMaximum: [.connect, .connack],
        .topicAlias: [.publish],
        .maximumQoS: [.connack],
        .retainAvailable: [.connack],
        .userProperty: places,
        .maximumPacketSize: [.connect, .connack],
        .wildcardSubscriptionAvailable: [.connack],
        .subscriptionIdentifierAvailable: [.connack],
        .sharedSubscriptionAvailable: [.connack],
    ]

    /// Every property at every place that it may stand at.
    static let pairs: [(identifier: PropertyIdentifier, place: PropertyPlace)] = PropertyIdentifier.allCases.flatMap {
        identifier in (allowed[identifier] ?? []).map { (identifier, $0) }
    }

    /// A property with a value that is in range.
    static func sample(_ identifier: PropertyIdentifier) -> [UInt8] {
        let value: [UInt8] =
            switch identifier.form {
            case .byte, .variable: [1]
            case .twoBytes: [0, 1]
            case .fourBytes: [0, 0, 0, 1]
            case .string: [0, 1, 0x61]
            case .binary: [0, 1, 0xFF]
            case .pair: [0, 1, 0x6B, 0, 1, 0x76]
            }
        return [identifier.rawValue] + value
    }

    static func value(_ identifier: PropertyIdentifier) -> Property.Value {
        let bytes = sample(identifier)
        return switch identifier.form {
        case .byte, .twoBytes, .fourBytes, .variable: .integer(1)
        case .string: .string("a")
        case .binary: .binary(.init(bytes: bytes.suffix(1)))
        case .pair: .pair("k", "v")
        }
    }

    /// What has to stand beside a property so that it is alone to blame.
    static func company(_ identifier: PropertyIdentifier?, in place: PropertyPlace) -> [UInt8] {
        let needsMethod = place == .auth || (place == .connect && identifier == .authenticationData)
        return needsMethod && identifier != .authenticationMethod ? sample(.authenticationMethod) : []
    }

    /// The shortest packet that has these properties at the place.
    static func packet(_ place: PropertyPlace, _ properties: [UInt8]) -> [UInt8] {
        packet(place, length: variable(properties.count), properties)
    }

    static func packet(_ place: PropertyPlace, length: [UInt8], _ properties: [UInt8]) -> [UInt8] {
        let group = length + properties
        let connect: [UInt8] = [0, 4] + Array("MQTT".utf8) + [5]
        return switch place {
        case .will: framed(0x10, connect + [6, 0, 60, 0, 0, 0] + group + [0, 1, 0x74, 0, 0])
        case .connect: framed(0x10, connect + [2, 0, 60] + group + [0, 0])
        case .connack: framed(0x20, [0, 0] + group)
        case .publish: framed(0x30, [0, 1, 0x61] + group + [0x78])
        case .puback: framed(0x40, [0, 1, 0] + group)
        case .pubrec: framed(0x50, [0, 1, 0] + group)
        case .pubrel: framed(0x62, [0, 1, 0] + group)
        case .pubcomp: framed(0x70, [0, 1, 0] + group)
        case .subscribe: framed(0x82, [0, 1] + group + [0, 1, 0x61, 0])
        case .suback: framed(0x90, [0, 1] + group + [0])
        case .unsubscribe: framed(0xA2, [0, 1] + group + [0, 1, 0x61])
        case .unsuback: framed(0xB0, [0, 1] + group + [0])
        case .disconnect: framed(0xE0, [0] + group)
        case .auth: framed(0xF0, [0x18] + group)
        }
    }

    static func properties(of packet: Packet?, at place: PropertyPlace) -> Properties? {
        switch packet {
        case .connect(let connect): place == .will ? connect.will?.properties : connect.properties
        case .connack(let connack): connack.properties
        case .publish(let publish): publish.properties
        case .puback(let answer), .pubrec(let answer), .pubrel(let answer), .pubcomp(let answer): answer.properties
        case .subscribe(let subscribe): subscribe.properties
        case .suback(let suback): suback.properties
        case .unsubscribe(let unsubscribe): unsubscribe.properties
        case .unsuback(let unsuback): unsuback.properties
        case .disconnect(let disconnect): disconnect.properties
        case .auth(let auth): auth.properties
        case .pingreq, .pingresp, nil: nil
        }
    }
}

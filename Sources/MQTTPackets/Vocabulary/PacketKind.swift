/// The fifteen kinds of control packet. The raw value is the upper half of a packet's first byte.
public enum PacketKind: UInt8, Sendable, Hashable, CaseIterable {
    /// CONNECT (MQTT 5.0, section 3.1).
    case connect = 1
    /// CONNACK (MQTT 5.0, section 3.2).
    case connack
    /// PUBLISH (MQTT 5.0, section 3.3).
    case publish
    /// PUBACK (MQTT 5.0, section 3.4).
    case puback
    /// PUBREC (MQTT 5.0, section 3.5).
    case pubrec
    /// PUBREL (MQTT 5.0, section 3.6).
    case pubrel
    /// PUBCOMP (MQTT 5.0, section 3.7).
    case pubcomp
    /// SUBSCRIBE (MQTT 5.0, section 3.8).
    case subscribe
    /// SUBACK (MQTT 5.0, section 3.9).
    case suback
    /// UNSUBSCRIBE (MQTT 5.0, section 3.10).
    case unsubscribe
    /// UNSUBACK (MQTT 5.0, section 3.11).
    case unsuback
    /// PINGREQ (MQTT 5.0, section 3.12).
    case pingreq
    /// PINGRESP (MQTT 5.0, section 3.13).
    case pingresp
    /// DISCONNECT (MQTT 5.0, section 3.14).
    case disconnect
    /// AUTH (MQTT 5.0, section 3.15).
    case auth

    /// The lower half of the first byte, where it does not carry a message's flags.
    package var reservedFlags: UInt8 {
        switch self {
        case .pubrel, .subscribe, .unsubscribe: 0b0010
        default: 0
        }
    }
}

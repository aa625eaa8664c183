/// The version of the protocol that a connection speaks. The raw value is the protocol level of CONNECT.
public enum ProtocolVersion: UInt8, Sendable, Hashable, CaseIterable, Comparable {
    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// MQTT 3.1, protocol name `MQIsdp`.
    case v3_1 = 3
    // swift-format-ignore: AlwaysUseLowerCamelCase
    /// MQTT 3.1.1.
    case v3_1_1 = 4
    /// MQTT 5.0.
    case v5 = 5

    /// The protocol name that CONNECT carries for this version.
    public var protocolName: String { self == .v3_1 ? "MQIsdp" : "MQTT" }

    /// Orders by age.
    public static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
}

extension ProtocolVersion: CustomStringConvertible {
    /// As people write it: `MQTT 3.1.1`.
    public var description: String {
        switch self {
        case .v3_1: "MQTT 3.1"
        case .v3_1_1: "MQTT 3.1.1"
        case .v5: "MQTT 5.0"
        }
    }
}

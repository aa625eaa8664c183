/// UNSUBSCRIBE (MQTT 5.0, section 3.10).
package struct Unsubscribe: Sendable, Hashable {
    package var packetID: UInt16
    package var filters: [String]
    package var properties: Properties

    package init(packetID: UInt16, filters: [String], properties: Properties = Properties()) {
        self.packetID = packetID
        self.filters = filters
        self.properties = properties
    }
}

/// UNSUBACK (MQTT 5.0, section 3.11). Before 5.0 it carries no codes.
package struct Unsuback: Sendable, Hashable {
    package var packetID: UInt16
    package var reasonCodes: [ReasonCode]
    package var properties: Properties

    package init(packetID: UInt16, reasonCodes: [ReasonCode] = [], properties: Properties = Properties()) {
        self.packetID = packetID
        self.reasonCodes = reasonCodes
        self.properties = properties
    }
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP (MQTT 5.0, sections 3.4 to 3.7): they differ in nothing but their kind.
package struct Acknowledgement: Sendable, Hashable {
    package var packetID: UInt16
    package var reasonCode: ReasonCode
    package var properties: Properties

    package init(packetID: UInt16, reasonCode: ReasonCode = .success, properties: Properties = Properties()) {
        self.packetID = packetID
        self.reasonCode = reasonCode
        self.properties = properties
    }
}

import NIOCore

/// PUBLISH (MQTT 5.0, section 3.3), as an owned value.
package struct Publish: Sendable, Hashable {
    package var topic: String
    package var payload: ByteBuffer
    package var qos: QoS
    package var isRetained: Bool
    package var isDuplicate: Bool
    /// Nil at QoS 0 only [MQTT-2.2.1-2].
    package var packetID: UInt16?
    package var properties: Properties

    package init(
        topic: String,
        payload: ByteBuffer,
        qos: QoS = .atMostOnce,
        isRetained: Bool = false,
        isDuplicate: Bool = false,
        packetID: UInt16? = nil,
        properties: Properties = Properties()
    ) {
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.isRetained = isRetained
        self.isDuplicate = isDuplicate
        self.packetID = packetID
        self.properties = properties
    }
}

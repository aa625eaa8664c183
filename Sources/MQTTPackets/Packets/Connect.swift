import NIOCore

/// CONNECT (MQTT 5.0, section 3.1).
package struct Connect: Sendable, Hashable {
    package var version: ProtocolVersion
    /// Clean Start of 5.0, Clean Session before.
    package var cleanStart: Bool
    /// In seconds; 0 turns it off.
    package var keepAlive: UInt16
    package var clientID: String
    package var will: Will?
    package var userName: String?
    package var password: ByteBuffer?
    package var properties: Properties

    package init(
        version: ProtocolVersion,
        clientID: String,
        cleanStart: Bool = true,
        keepAlive: UInt16 = 60,
        will: Will? = nil,
        userName: String? = nil,
        password: ByteBuffer? = nil,
        properties: Properties = Properties()
    ) {
        self.version = version
        self.clientID = clientID
        self.cleanStart = cleanStart
        self.keepAlive = keepAlive
        self.will = will
        self.userName = userName
        self.password = password
        self.properties = properties
    }

    /// Seconds that the session outlives its connection; `UInt32.max` is for ever. Clean Session 0 of 3.1.1 is for ever.
    package var sessionExpiryInterval: UInt32 {
        guard version == .v5 else { return cleanStart ? 0 : .max }
        return properties[integer: .sessionExpiryInterval] ?? 0
    }
}

/// The message that the server publishes when a connection ends abnormally (MQTT 5.0, section 3.1.2.5).
public struct Will: Sendable, Hashable {
    /// Where it is published.
    public var topic: String
    /// What the application says.
    public var payload: ByteBuffer
    /// With which it is published.
    public var qos: QoS
    /// Whether it is retained.
    public var isRetained: Bool
    /// Those of a PUBLISH, and the will delay interval.
    public var properties: Properties

    /// A will; it is published to `topic`.
    public init(
        topic: String,
        payload: ByteBuffer,
        qos: QoS = .atMostOnce,
        isRetained: Bool = false,
        properties: Properties = Properties()
    ) {
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.isRetained = isRetained
        self.properties = properties
    }
}

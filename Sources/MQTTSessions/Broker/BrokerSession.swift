import MQTTPackets

/// The broker's end of a session: what the QoS handshakes remember, in both directions (MQTT 5.0, section 4.1).
///
/// It decides and does not act. Each packet of a handshake is a call, named in the past tense of the wire, and what
/// comes back is a trivial value that says what to do; the caller keeps message and connection, and does it.
///
///     from the client                         to the client
///     PUBLISH 1  publishReceived → PUBACK     nextStep → PUBLISH 1   pubackReceived → over
///     PUBLISH 2  publishReceived → PUBREC     nextStep → PUBLISH 2   pubrecReceived → PUBREL
///     PUBREL     pubrelReceived  → PUBCOMP                           pubcompReceived → over
package struct BrokerSession: Sendable {
    package let clientID: String
    /// Tells this session from any other that ever has the same client identifier.
    package let incarnation: UInt64
    /// Seconds that the session outlives its connection; `UInt32.max` for ever.
    package var expiryInterval: UInt32
    package var outbound = OutboundQueue()
    package var inbound = ReceiveWindow()

    package init(clientID: String, incarnation: UInt64, expiryInterval: UInt32) {
        self.clientID = clientID
        self.incarnation = incarnation
        self.expiryInterval = expiryInterval
    }

    /// Whether the session outlives its connection, so that its changes must last.
    package var isPersistent: Bool { expiryInterval > 0 }

    package mutating func connectionBegan() { inbound.connectionBegan() }

    package mutating func connectionEnded() { outbound.connectionEnded() }
}

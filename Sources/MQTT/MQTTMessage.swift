import MQTTPackets
import MQTTSessions

/// A message as a subscriber gets it (MQTT 5.0, section 3.3).
public struct MQTTMessage: Sendable {
    /// The name of the topic that it was published to.
    public let topic: String
    /// The application's bytes. A small payload shares up to a kilobyte of memory with others that came with it.
    public let payload: ByteBuffer
    /// The one that it was delivered with.
    public let qos: QoS
    /// Whether it stood there before it was subscribed to; or, with Retain As Published, how it was published.
    public let isRetained: Bool
    /// Whether it may have come before (section 3.3.1.1).
    public let isDuplicate: Bool
    /// Without topic alias and subscription identifiers. Empty before 5.0.
    public let properties: Properties
    let acknowledgement: Acknowledgement?

    /// The payload as text; ill-formed UTF-8 is repaired with U+FFFD.
    public var payloadString: String { String(buffer: payload) }

    /// Acknowledges the message where the subscription leaves that to the application. Once is enough; at QoS 0 it
    /// does nothing.
    ///
    /// In 5.0 an error tells the server that the message was refused (section 3.4.2.1); it does not come again then.
    /// Acknowledgements leave in the order in which the messages came: one that never is holds back all behind it.
    public func acknowledge(_ reasonCode: ReasonCode = .success) {
        precondition(reasonCode.isAllowed(in: .puback), "\(reasonCode) has no place in PUBACK")
        acknowledgement?.send(reasonCode)
    }

    /// The one that it was delivered with; nil at QoS 0.
    package var packetID: UInt16? { acknowledgement?.receipt.packetID }

    /// What the message holds in a sequence, about.
    var bytesHeld: Int { 160 + topic.utf8.count + payload.readableBytes + properties.bytesHeld }

    /// The way back of a message of QoS 1 or 2.
    struct Acknowledgement: Sendable {
        let receipt: Receipt
        let outbox: Outbox
        /// Set where several sequences have the message: the last of them acknowledges.
        let share: (all: SharedAcknowledgement, sequence: Int)?

        func send(_ reasonCode: ReasonCode) {
            if let share, !share.all.isLast(share.sequence) { return }
            outbox.acknowledge(receipt, reasonCode)
        }
    }
}

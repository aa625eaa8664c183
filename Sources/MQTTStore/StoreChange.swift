import MQTTPackets

/// One change that has to last. A store commits changes in the order of their tickets, all or none of a batch.
///
/// Sessions are named by their incarnation, so that nothing late attaches to a new session with an old client identifier.
public enum StoreChange: Sendable {
    case sessionBegan(incarnation: UInt64, clientID: String, expiryInterval: UInt32)
    /// The interval counts from the end of the connection.
    case sessionExpiryChanged(incarnation: UInt64, expiryInterval: UInt32)
    case sessionEnded(incarnation: UInt64)
    case subscribed(incarnation: UInt64, filter: String, options: SubscriptionOptions, identifier: UInt32)
    case unsubscribed(incarnation: UInt64, filter: String)
    /// A message was queued for a session under a number, which its packet identifier is derived from.
    case queued(Message, incarnation: UInt64, number: UInt64, qos: QoS)
    /// PUBREC came for the message.
    case received(incarnation: UInt64, number: UInt64)
    /// The message is over: acknowledged, expired or dropped.
    case finished(incarnation: UInt64, number: UInt64)
    /// A publisher's QoS 2 packet identifier was received, or released.
    case packetReceived(incarnation: UInt64, packetID: UInt16)
    case packetReleased(incarnation: UInt64, packetID: UInt16)
    case retained(Message)
    case retainedCleared(topic: String)
}

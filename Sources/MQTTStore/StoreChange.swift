import MQTTPackets

/// One change that has to last. A store commits changes in the order in which it is given them, all or none of a batch.
///
/// Sessions are named by their incarnation, which no two sessions ever share, so that nothing late attaches to a new
/// session with an old client identifier. Applying a change twice is the same as applying it once. A change of a session
/// that has ended is to be ignored, as is the end of a message that is not there.
public enum StoreChange: Sendable {
    /// A session began, as connected. With an interval of 0 it is stored for its will alone.
    case sessionBegan(incarnation: UInt64, clientID: String, expiryInterval: UInt32)
    /// The interval, in seconds, counts from the end of the connection.
    case sessionExpiryChanged(incarnation: UInt64, expiryInterval: UInt32)
    /// A client has resumed the session: its expiry interval does not run any more.
    case sessionConnected(incarnation: UInt64)
    /// At this time of the broker, in milliseconds.
    case sessionDisconnected(incarnation: UInt64, at: Int64)
    /// The session and all that belongs to it is gone.
    case sessionEnded(incarnation: UInt64)
    /// The will of the session's connection; nil takes it away.
    case will(Will?, incarnation: UInt64)

    /// Takes the place of an earlier subscription to the same filter.
    case subscribed(StoredSubscription, incarnation: UInt64)
    /// The subscription to this filter is gone.
    case unsubscribed(incarnation: UInt64, filter: String)

    /// A message was queued for a session. Changes that follow one another may be about the same `Message` object, which
    /// needs to be written once.
    case queued(StoredMessage, incarnation: UInt64)
    /// Messages of QoS 2 with numbers below this one may have been sent.
    case sendMark(incarnation: UInt64, end: UInt64)
    /// PUBREC came for the message: its payload is not needed any more.
    case received(incarnation: UInt64, number: UInt64)
    /// The message is over: acknowledged, expired or dropped.
    case finished(incarnation: UInt64, number: UInt64)
    /// This packet identifier is not to be given to a message of the session any more.
    case retired(incarnation: UInt64, packetID: UInt16)

    /// A publisher's QoS 2 packet identifier was received: a PUBLISH with it is the same message again.
    case packetReceived(incarnation: UInt64, packetID: UInt16)
    /// It was released by PUBREL: a PUBLISH with it is a new message.
    case packetReleased(incarnation: UInt64, packetID: UInt16)

    /// Takes the place of the topic's retained message.
    case retained(StoredRetained)
    /// The topic has no retained message any more.
    case retainedCleared(topic: String)

    /// Takes the place of an earlier replay of the same filter.
    case replay(StoredReplay, incarnation: UInt64)
    /// The session has all that the filter's replay was to bring.
    case replayEnded(incarnation: UInt64, filter: String)
    /// The retained message of this topic has been queued before its turn, for all replays up to this sequence. An empty
    /// topic forgets all of these.
    case replayPulled(incarnation: UInt64, topic: String, sequence: UInt64)

    /// Takes the place of the one before. Each batch begins with one.
    case broker(StoredBroker)
}

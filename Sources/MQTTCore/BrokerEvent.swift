import MQTTPackets

/// What happened in a broker, in the order in which it did.
///
/// Later versions add cases: a `switch` over events needs a `default`.
public enum BrokerEvent: Sendable {
    /// A CONNECT has come that is in order; whether it is accepted is not said yet.
    case clientConnecting(ClientInfo)
    /// A CONNECT was accepted. Its CONNACK leaves now, or as soon as what it says is stored.
    case clientConnected(ClientInfo)
    /// All that waited for the client when it connected has been sent to it.
    case clientReady(ClientInfo)
    /// A client whose CONNECT was accepted has gone; its session may stay.
    case clientDisconnected(ClientInfo, DisconnectReason)
    /// What a client did, or its connection, was in error: `clientDisconnected` follows if it was connected.
    case clientError(ClientInfo, DisconnectReason)
    /// A connection ended in error, and never said who it is: the client identifier is empty, and where no CONNECT came
    /// version and user name mean nothing.
    case connectionError(ClientInfo, DisconnectReason)
    /// A client was silent for one and a half times its keep alive: `clientDisconnected` follows.
    case keepAliveTimeout(ClientInfo)
    /// PINGREQ came.
    case pingReceived(ClientInfo)
    /// A message was accepted and is on its way to its receivers.
    ///
    /// `by` is nil for wills, whose client has gone, for host code, and for messages about clients that
    /// `BrokerConfiguration.clientTopics` asks for; `Message.publisher` names the client of a will. The broker's figures
    /// below `$SYS/broker` are not told.
    case published(Message, by: ClientInfo?)
    /// A receiver has acknowledged a message with PUBACK or PUBREC. At QoS 0 there is no acknowledgement and no event.
    case delivered(Message, to: ClientInfo)
    /// What was granted of one SUBSCRIBE, with the QoS that was granted.
    case subscribed(ClientInfo, [Subscription])
    /// The topic filters of one UNSUBSCRIBE that there was a subscription for.
    case unsubscribed(ClientInfo, filters: [String])
    /// Copies did not reach a receiver. The message is nil where a whole queue went; the receiver's client identifier
    /// where there was none that a member of a shared subscription could take, or no room to retain a message.
    case dropped(Message?, receiver: String?, cause: DropCause, count: Int)
    /// Another connection has come with the client identifier of this one: `clientDisconnected` follows.
    case sessionTakenOver(ClientInfo)
    /// A session has outlived its expiry interval, and is gone with all that waited for it.
    case sessionExpired(clientID: String)
    /// The will of a client was published; `published` came before.
    case willSent(Message, of: String)
    /// The reader was too slow: so many events are missing here.
    case lost(Int)
}

/// A subscription as its client asked for it.
public struct Subscription: Sendable, Hashable {
    /// The topic filter, with `$share/group/` where it is shared.
    public var filter: String
    /// The rest of what the client asked for; in events `qos` is the one that was granted.
    public var options: SubscriptionOptions

    /// A subscription.
    public init(filter: String, options: SubscriptionOptions = SubscriptionOptions()) {
        self.filter = filter
        self.options = options
    }
}

/// Events one after the other, from this number on.
package struct EventBatch: Sendable {
    package let first: UInt64
    package let events: [BrokerEvent]
}

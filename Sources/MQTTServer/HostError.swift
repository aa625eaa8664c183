import MQTTPackets

/// Why the broker did not do what host code asked for.
public enum HostError: Error, Sendable, Hashable, CustomStringConvertible {
    /// `run()` was not called yet, or is over, or the broker is ending.
    case notRunning
    /// The topic name or filter is none, or is longer than the limits allow.
    case invalidTopic(String)
    /// There is no room: every receiver's queue is full, there may be no more retained messages, or another limit is
    /// reached.
    case quotaExceeded
    /// The payload is larger than the limit of a packet.
    case packetTooLarge
    /// The store has no room for what would have to last. It has again once sessions have drained.
    case storeFull
    /// The store has failed, so that nothing more is kept: `run()` throws why.
    case storeFailed
    /// There is no session with this client identifier.
    case noSession(clientID: String)
    /// The channel is not on one of the broker's event loops.
    case foreignChannel
    /// Anything else, as a client would be told it.
    case refused(ReasonCode)

    /// One phrase.
    public var description: String {
        switch self {
        case .notRunning: "the broker is not running"
        case .invalidTopic(let topic): "\"\(LogText.printable(topic))\" is no valid topic, or too long"
        case .quotaExceeded: "a limit is reached: nobody has room for this"
        case .packetTooLarge: "the message is larger than a packet may be"
        case .storeFull: "the store is full"
        case .storeFailed: "the store has failed"
        case .noSession(let clientID): "there is no session of the client \"\(LogText.printable(clientID))\""
        case .foreignChannel: "the channel is not on one of the broker's event loops"
        case .refused(let reason): "refused: \(reason)"
        }
    }

    init(_ reason: ReasonCode, topic: String) {
        self =
            switch reason {
            case .topicNameInvalid, .topicFilterInvalid: .invalidTopic(topic)
            case .quotaExceeded: .quotaExceeded
            case .packetTooLarge: .packetTooLarge
            case .serverBusy: .storeFull
            default: .refused(reason)
            }
    }
}

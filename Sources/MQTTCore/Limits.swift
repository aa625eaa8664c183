/// What a client can make the broker spend, at most.
public struct Limits: Sendable {
    /// Of a packet that a client sends. Larger ones are answered with 0x95.
    public var packetBytesMax = 16 << 20
    /// PUBLISH packets of QoS 1 and 2 without their final answer, from one 5.0 connection. More are answered with 0x93.
    public var receiveMaximum = 100
    /// PUBLISH packets of QoS 1 and 2 sent to a connection and not yet acknowledged by it.
    public var inFlightMax = 100
    /// Topic aliases that a 5.0 client may use, and that the broker uses where the client lets it.
    public var topicAliasMaximum: UInt16 = 32
    /// Messages that wait for a session. Beyond, new ones are dropped.
    public var queuedMessagesMax = 100_000
    /// Bytes that wait for a session.
    public var queuedBytesMax = 64 << 20
    /// Bytes that wait to be written to a connection. Beyond, QoS 0 messages are dropped.
    public var sendBufferBytesMax = 8 << 20
    /// Bytes that wait to be written, above which QoS 1 and 2 messages stay in the queue.
    public var sendBufferBytesPaced = 256 << 10
    /// Bytes of answers that a client does not take, above which it is not read from.
    public var sendBufferBytesUnread = 1 << 20
    /// Of a client identifier. Longer ones are refused with 0x85.
    public var clientIDBytesMax = 1_024
    /// Of a topic filter. Deeper ones are refused with 0x8F.
    public var topicLevelsMax = 128
    /// Subscriptions of one session. More are refused with 0x97.
    public var subscriptionsMax = 100_000
    /// Deliveries of one turn; the rest of a burst is handled in the next.
    public var deliveriesPerTurn = 5_000

    /// The defaults.
    public init() {}
}

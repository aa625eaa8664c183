import NIOCore

/// An application message that outlives the turn in which it was published: queued, in flight, retained or delayed.
///
/// Topic, properties and payload stand one after the other in storage of their own size, which all receivers share.
/// It is never changed; what differs from receiver to receiver (QoS, packet identifier, alias, remaining expiry) is
/// stamped on when it is sent.
public final class Message: Sendable {
    /// Topic, forwarded properties and payload.
    package let bytes: ByteBuffer
    /// The layout of `bytes`, with QoS and retain flag as published.
    package let view: PublishView
    /// The client identifier of the publisher; nil for the broker itself.
    public let publisher: String?
    /// Milliseconds of the monotonic clock at which the message expires; `Int64.max` for never.
    package let expiresAt: Int64
    package let topicHash: UInt64

    package init(
        copying source: Span<UInt8>,
        _ published: PublishView,
        publisher: String?,
        expiresAt: Int64,
        topicHash: UInt64
    ) {
        var forwardedBytes = 0
        published.forEachForwardedProperty(source) { forwardedBytes += $0.count }
        let total = published.topic.count + forwardedBytes + published.payload.count
        var storage = ByteBuffer()
        storage.reserveCapacity(total)
        storage.writeBytes(source.extracting(published.topic).bytes)
        for part in Self.forwardedParts(source, published) { storage.writeBytes(source.extracting(part).bytes) }
        storage.writeBytes(source.extracting(published.payload).bytes)
        bytes = storage
        view = PublishView(
            firstByte: published.firstByte,
            topicBytes: published.topic.count,
            propertyBytes: forwardedBytes,
            payloadBytes: published.payload.count
        )
        self.publisher = publisher
        self.expiresAt = expiresAt
        self.topicHash = topicHash
    }

    private static func forwardedParts(_ source: Span<UInt8>, _ view: PublishView) -> [Range<Int>] {
        guard view.needsRewriting else { return view.properties.isEmpty ? [] : [view.properties] }
        var parts: [Range<Int>] = []
        view.forEachForwardedProperty(source) { parts.append($0) }
        return parts
    }

    /// The name of the topic that the message was published to.
    public var topic: String { string(in: view.topic) }

    /// The application's bytes, shared with the message and not copied.
    public var payload: ByteBuffer {
        bytes.getSlice(at: bytes.readerIndex + view.payload.lowerBound, length: view.payload.count) ?? ByteBuffer()
    }

    /// The payload as text; ill-formed UTF-8 is repaired with U+FFFD.
    public var payloadString: String { string(in: view.payload) }

    private func string(in range: Range<Int>) -> String {
        let bytes = bytes  // a span may borrow from a local, not from a class
        return bytes.readableBytesUInt8Span.string(in: range)
    }

    /// The QoS that it was published with.
    public var qos: QoS { view.qos }
    /// Whether it was published with the retain flag.
    public var isRetained: Bool { view.isRetained }

    /// What the message takes in memory: its bytes and about what the objects around them take.
    package var bytesHeld: Int { bytes.capacity + 160 }

    /// Whole seconds until it expires, as they are sent on [MQTT-3.3.2-6]; nil for never.
    package func remainingExpiry(at now: Int64) -> UInt32? {
        guard expiresAt != .max else { return nil }
        return UInt32(clamping: (max(0, expiresAt - now) + 999) / 1_000)
    }
}

import NIOCore

/// An application message that outlives the turn in which it was published: queued, in flight, retained or delayed.
///
/// Topic, properties and payload stand one after the other in storage of their own size, which all receivers share; a
/// large payload stands in a buffer beside it, so that it goes out without being copied for each receiver.
/// It is never changed; what differs from receiver to receiver (QoS, packet identifier, alias, remaining expiry) is
/// stamped on when it is sent.
public final class Message: Sendable {
    /// From here on a payload stands beside topic and properties.
    private static let largePayloadBytesMin = 16 << 10

    /// Topic, forwarded properties and, unless it is large, payload.
    package let bytes: [UInt8]
    /// The payload, where it is large: then it is not in `bytes`.
    package let largePayload: ByteBuffer?
    /// The layout of `bytes`, as if every payload stood there, with QoS and retain flag as published.
    package let view: PublishView
    /// The client identifier of the publisher; nil for the broker itself.
    public let publisher: String?
    /// Milliseconds of the monotonic clock at which the message expires; `Int64.max` for never.
    package let expiresAt: Int64
    package let topicHash: UInt64
    /// What the message takes in memory: its bytes and about what the objects around them take.
    package let bytesHeld: Int

    /// `payload` is the payload in a buffer of its own, where there is one already.
    package init(
        copying source: Span<UInt8>,
        _ published: PublishView,
        payload: ByteBuffer? = nil,
        publisher: String?,
        expiresAt: Int64,
        topicHash: UInt64
    ) {
        var forwardedBytes = 0
        published.forEachForwardedProperty(source) { forwardedBytes += $0.count }
        let isLarge = published.payload.count >= Self.largePayloadBytesMin
        let total = published.topic.count + forwardedBytes + (isLarge ? 0 : published.payload.count)
        bytes = [UInt8](unsafeUninitializedCapacity: total) { storage, count in
            let kept = isLarge ? 0..<0 : published.payload
            count = Self.copy(source, published, payload: kept, into: UnsafeMutableRawBufferPointer(storage))
        }
        largePayload = isLarge ? payload ?? source.buffer(in: published.payload) : nil
        view = PublishView(
            firstByte: published.firstByte,
            topicBytes: published.topic.count,
            propertyBytes: forwardedBytes,
            payloadBytes: published.payload.count
        )
        self.publisher = publisher
        self.expiresAt = expiresAt
        self.topicHash = topicHash
        bytesHeld = total + (largePayload?.storageCapacity ?? 0) + Self.bytesAround
    }

    /// What a program publishes. `properties` is their encoded form.
    package init(
        _ publish: Publish,
        properties: ByteBuffer,
        publisher: String?,
        expiresAt: Int64,
        seed: UInt64
    ) {
        let payloadBytes = publish.payload.readableBytes
        let view = PublishView(
            firstByte: 0x30 | publish.qos.rawValue << 1 | (publish.isRetained ? 1 : 0),
            topicBytes: publish.topic.utf8.count,
            propertyBytes: properties.readableBytes,
            payloadBytes: payloadBytes
        )
        let isLarge = payloadBytes >= Self.largePayloadBytesMin
        let total = view.payload.lowerBound + (isLarge ? 0 : payloadBytes)
        let bytes = [UInt8](unsafeUninitializedCapacity: total) { storage, count in
            var writer = RawWriter(UnsafeMutableRawBufferPointer(storage))
            writer.copy(publish.topic)
            properties.withUnsafeReadableBytes { writer.copy($0) }
            if !isLarge { publish.payload.withUnsafeReadableBytes { writer.copy($0) } }
            count = writer.count
        }
        // In storage of its own: the program's may be much larger.
        largePayload = isLarge ? publish.payload.withUnsafeReadableBytes { ByteBuffer(bytes: $0) } : nil
        self.view = view
        self.publisher = publisher
        self.expiresAt = expiresAt
        topicHash = TopicHash.hash(bytes.span.extracting(view.topic), seed: seed)
        self.bytes = bytes
        bytesHeld = total + (largePayload?.storageCapacity ?? 0) + Self.bytesAround
    }

    /// Topic, forwarded properties and payload, one after the other.
    private static func copy(
        _ source: Span<UInt8>,
        _ view: PublishView,
        payload: Range<Int>,
        into target: UnsafeMutableRawBufferPointer
    ) -> Int {
        var at = copy(source, view.topic, to: target, at: 0)
        view.forEachForwardedProperty(source) { range in
            at += copy(source, range, to: target, at: at)
        }
        at += copy(source, payload, to: target, at: at)
        return at
    }

    private static func copy(
        _ source: Span<UInt8>,
        _ range: Range<Int>,
        to target: UnsafeMutableRawBufferPointer,
        at: Int
    ) -> Int {
        guard !range.isEmpty else { return 0 }
        source.extracting(range).withUnsafeBytes { part in
            UnsafeMutableRawBufferPointer(rebasing: target[at..<(at + range.count)]).copyMemory(from: part)
        }
        return range.count
    }

    /// The name of the topic that the message was published to.
    public var topic: String { string(in: view.topic) }

    /// The application's bytes.
    public var payload: ByteBuffer { largePayload ?? ByteBuffer(bytes: bytes[view.payload]) }

    /// The payload as text; ill-formed UTF-8 is repaired with U+FFFD.
    public var payloadString: String { largePayload.map(String.init(buffer:)) ?? string(in: view.payload) }

    private func string(in range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

    /// The QoS that it was published with.
    public var qos: QoS { view.qos }
    /// Whether it was published with the retain flag.
    public var isRetained: Bool { view.isRetained }

    /// The objects that a message consists of, beside its bytes.
    private static let bytesAround = 208

    /// Whole seconds until it expires, as they are sent on [MQTT-3.3.2-6]; nil for never.
    package func remainingExpiry(at now: Int64) -> UInt32? {
        guard expiresAt != .max else { return nil }
        return UInt32(clamping: (max(0, expiresAt - now) + 999) / 1_000)
    }
}

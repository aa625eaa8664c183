import NIOCore

/// The form in which stores keep messages.
///
///     ┌──────────┬────────────┬──────────┬───────────┬────────────┬────────────┬───────────┬───────┬────────────┬─────────┐
///     │ flags  1 │ publisher 2│ topic  2 │ properties 4│ payload 4 │ expires  8 │ publisher │ topic │ properties │ payload │
///     └──────────┴────────────┴──────────┴───────────┴────────────┴────────────┴───────────┴───────┴────────────┴─────────┘
///
/// Numbers are big-endian. `flags` is the first byte of PUBLISH, with the uppermost bit set where there is a publisher: a
/// length says no such thing, since a client identifier may have 0 bytes and 65,535.
extension Message {
    private static let headBytes = 21
    private static let publisherFlag: UInt8 = 0x80

    /// How many bytes `encode` appends.
    public var encodedBytes: Int {
        Self.headBytes + (publisher?.utf8.count ?? 0) + view.topic.count + view.properties.count + view.payload.count
    }

    /// Appends the message in the form that `init(decoding:)` reads. The form does not change within a major version.
    public func encode(into buffer: inout ByteBuffer) {
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: encodedBytes) { target in
            var writer = RawWriter(target)
            encode(into: &writer)
            return writer.count
        }
    }

    package func encode(into writer: inout RawWriter) {
        writer.integer(view.firstByte | (publisher == nil ? 0 : Self.publisherFlag))
        writer.integer(UInt16(clamping: publisher?.utf8.count ?? 0))
        writer.integer(UInt16(clamping: view.topic.count))
        writer.integer(UInt32(clamping: view.properties.count))
        writer.integer(UInt32(clamping: view.payload.count))
        writer.integer(expiresAt)
        if let publisher { writer.copy(publisher) }
        bytes.withUnsafeBytes { writer.copy($0) }
        largePayload?.withUnsafeReadableBytes { writer.copy($0) }
    }

    /// Reads what `encode` has written, all of it. Nil where the bytes are no message.
    public convenience init?(decoding encoded: ByteBuffer) {
        var encoded = encoded
        guard let flags = encoded.readInteger(as: UInt8.self), flags & 0x70 == 0x30, flags & 6 != 6,
            let publisherBytes = encoded.readInteger(as: UInt16.self),
            let topicBytes = encoded.readInteger(as: UInt16.self),
            let propertyBytes = encoded.readInteger(as: UInt32.self),
            let payloadBytes = encoded.readInteger(as: UInt32.self),
            let expiresAt = encoded.readInteger(as: Int64.self),
            let publisher = encoded.readBytes(length: Int(publisherBytes)).flatMap({
                String(validating: $0, as: UTF8.self)
            }),
            flags & Self.publisherFlag != 0 || publisherBytes == 0,
            encoded.readableBytes == Int(topicBytes) + Int(propertyBytes) + Int(payloadBytes)
        else { return nil }
        let view = PublishView(
            firstByte: flags & ~Self.publisherFlag,
            topicBytes: Int(topicBytes),
            propertyBytes: Int(propertyBytes),
            payloadBytes: Int(payloadBytes)
        )
        let span = encoded.readableBytesUInt8Span
        guard Topics.isValidName(span.extracting(view.topic)),
            propertyBytes == 0 || (try? Properties(decoding: span, view.properties, in: .publish)) != nil
        else { return nil }
        self.init(
            copying: span,
            view,
            publisher: flags & Self.publisherFlag != 0 ? publisher : nil,
            expiresAt: expiresAt,
            topicHash: TopicHash.hash(span.extracting(view.topic), seed: 0)
        )
    }
}

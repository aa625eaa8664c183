import MQTTPackets
import NIOCore
import Testing

/// The view that the broker forwards from, against the packet decoded from the same bytes.
@Suite struct PublishViewTests {
    @Test("a view says what the packet says, wherever it begins", arguments: ProtocolVersion.allCases)
    func view(_ version: ProtocolVersion) throws {
        try withSeed { generator, seed in
            var packets = RandomPackets(generator: generator)
            for _ in 0..<10_000 {
                let publish = packets.publish(version)
                let start = packets.integer(3)
                let stream = [UInt8](repeating: 0xFF, count: start) + encodeOne(.publish(publish), version) + [0xFF]
                let header = try #require(try readHeader(stream, at: start))
                let view = try PublishView(stream.span, at: start, header: header, version: version)
                guard failure(view, stream, publish) == nil else {
                    Issue.record("\(failure(view, stream, publish) ?? ""): \(hex(stream)), seed \(seed)")
                    return
                }
            }
        }
    }

    private func failure(_ view: PublishView, _ stream: [UInt8], _ publish: Publish) -> String? {
        let properties = publish.properties
        let identifiers = properties.subscriptionIdentifiers
        if Array(stream[view.topic]) != Array(publish.topic.utf8) { return "topic" }
        if ByteBuffer(bytes: stream[view.payload]) != publish.payload { return "payload" }
        if view.qos != publish.qos || view.isRetained != publish.isRetained { return "flags" }
        if view.isDuplicate != publish.isDuplicate || view.packetID != publish.packetID ?? 0 { return "identity" }
        if UInt32(view.topicAlias) != properties[integer: .topicAlias] ?? 0 { return "alias" }
        if view.messageExpiryInterval != properties[integer: .messageExpiryInterval] { return "expiry" }
        if view.hasSubscriptionIdentifiers != !identifiers.isEmpty { return "subscription identifiers" }
        return forwardedFailure(view, stream, properties)
    }

    /// Forwarded is everything, in order, but alias, expiry and subscription identifiers.
    private func forwardedFailure(_ view: PublishView, _ stream: [UInt8], _ properties: Properties) -> String? {
        var expected = properties
        expected.removeAll(.topicAlias)
        expected.removeAll(.messageExpiryInterval)
        expected.removeAll(.subscriptionIdentifier)
        var wanted = ByteBuffer()
        expected.encode(into: &wanted)
        var forwarded = ByteBuffer()
        var hasEmptyPart = false
        view.forEachForwardedProperty(stream.span) {
            hasEmptyPart = hasEmptyPart || $0.isEmpty
            forwarded.writeBytes(stream[$0])
        }
        if hasEmptyPart { return "an empty part" }
        if view.needsRewriting != (expected != properties) { return "needs rewriting" }
        return forwarded == wanted && wanted.readableBytes == expected.encodedBytes ? nil : "forwarded properties"
    }

    @Test("a view is refused where the packet is, with the same code", arguments: ProtocolVersion.allCases)
    func refused(_ version: ProtocolVersion) {
        withSeed { generator, seed in
            var packets = RandomPackets(generator: generator)
            for _ in 0..<10_000 {
                var bytes = encodeOne(.publish(packets.publish(version)), version)
                for _ in 0...packets.integer(2) {
                    bytes[packets.integer(bytes.count - 1)] = UInt8(packets.integer(255))
                }
                bytes[0] = 0x30 | bytes[0] & 0x0F
                guard let header = try? readHeader(bytes),
                    header.packetBytes <= bytes.count
                else { continue }
                let view = Result { try PublishView(bytes.span, at: 0, header: header, version: version) }
                let code: ReasonCode? =
                    if case .failure(let error as DecodingError) = view { error.reasonCode } else { nil }
                if reasonCode(of: bytes, version) != code { Issue.record("\(hex(bytes)), seed \(seed)") }
            }
        }
    }

    @Test("a view over a message's own bytes lays out topic, properties and payload")
    func ownLayout() {
        let view = PublishView(firstByte: 0x33, topicBytes: 3, propertyBytes: 7, payloadBytes: 5)
        #expect(view.topic == 0..<3 && view.properties == 3..<10 && view.payload == 10..<15)
        #expect(view.qos == .atLeastOnce && view.isRetained && !view.isDuplicate && !view.needsRewriting)
        var parts: [Range<Int>] = []
        view.forEachForwardedProperty([UInt8](repeating: 0, count: 15).span) { parts.append($0) }
        #expect(parts == [3..<10])
        let bare = PublishView(firstByte: 0x30, topicBytes: 3, propertyBytes: 0, payloadBytes: 5)
        bare.forEachForwardedProperty([UInt8](repeating: 0, count: 8).span) { parts.append($0) }
        #expect(parts.count == 1)
    }

    @Test("a message kept from a view is the packet without what is never forwarded")
    func message() throws {
        try withSeed { generator, seed in
            var packets = RandomPackets(generator: generator)
            for _ in 0..<2_000 {
                var publish = packets.publish(.v5)
                let stream = encodeOne(.publish(publish), .v5)
                let header = try #require(try readHeader(stream))
                let view = try PublishView(stream.span, at: 0, header: header, version: .v5)
                let message = Message(copying: stream.span, view, publisher: nil, expiresAt: .max, topicHash: 0)
                publish.properties.removeAll(.topicAlias)
                publish.properties.removeAll(.messageExpiryInterval)
                publish.properties.removeAll(.subscriptionIdentifier)
                publish.packetID = nil
                publish.isDuplicate = false
                #expect(Publish(message) == publish, "seed \(seed)")
            }
        }
    }
}

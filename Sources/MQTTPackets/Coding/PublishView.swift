/// A PUBLISH as a view of the bytes that it stands in: positions and numbers, nothing retained.
///
///     ┌────────┬───────────┬───────┬──────┬────────────┬─────────┐
///     │ header │ topic len │ topic │ [id] │ properties │ payload │
///     └────────┴───────────┴───────┴──────┴────────────┴─────────┘
///                            ▲ topic        ▲ properties ▲ payload
///
/// `properties` holds what is passed on untouched. Where the packet carries a topic alias, an expiry or subscription
/// identifiers, which are never passed on as they are, `needsRewriting` is set and the range holds them too.
@usableFromInline
package struct PublishView: Sendable, Equatable {
    @usableFromInline package var firstByte: UInt8
    package var packetID: UInt16 = 0
    /// 0 is none.
    @usableFromInline package var topicAlias: UInt16 = 0
    /// In seconds; nil is for ever.
    @usableFromInline package var messageExpiryInterval: UInt32?
    @usableFromInline package var hasSubscriptionIdentifiers = false
    package var topic: Range<Int>
    package var properties: Range<Int>
    package var payload: Range<Int>

    @inlinable package var qos: QoS { QoS(rawValue: firstByte >> 1 & 3) ?? .atMostOnce }
    @inlinable package var isRetained: Bool { firstByte & 1 != 0 }
    package var isDuplicate: Bool { firstByte & 8 != 0 }
    @inlinable package var needsRewriting: Bool {
        topicAlias != 0 || messageExpiryInterval != nil || hasSubscriptionIdentifiers
    }

    /// Reads and checks a whole PUBLISH that begins at `start`. An empty topic is accepted with an alias only.
    package init(
        _ bytes: Span<UInt8>,
        at start: Int,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodingError) {
        firstByte = header.firstByte
        guard firstByte & 0b0110 != 0b0110 else { throw .malformed("QoS 3") }  // [MQTT-3.3.1-4]
        if firstByte & 0b1110 == 0b1000 { throw .malformed("DUP with QoS 0") }  // [MQTT-3.3.1-2]
        var cursor = PacketCursor(at: start &+ header.headerBytes, end: start &+ header.packetBytes)
        topic = try cursor.prefixed(bytes)
        if firstByte & 0b0110 != 0 {
            packetID = try cursor.twoBytes(bytes)
            if packetID == 0 { throw .protocolError("packet identifier 0") }  // [MQTT-2.2.1-3]
        }
        properties = cursor.at..<cursor.at
        payload = properties
        if version == .v5 {
            properties = try cursor.propertyRange(bytes)
            if !properties.isEmpty { try scanProperties(bytes) }
        }
        payload = cursor.at..<cursor.end
        if topic.isEmpty {
            if topicAlias == 0 { throw .protocolError("empty topic without an alias") }
        } else if !Topics.isValidName(bytes.extracting(topic)) {
            throw .malformed("topic name with wildcards, U+0000 or ill-formed UTF-8")  // [MQTT-3.3.2-2]
        }
    }

    private mutating func scanProperties(_ bytes: Span<UInt8>) throws(DecodingError) {
        var cursor = PacketCursor(at: properties.lowerBound, end: properties.upperBound)
        var seen: UInt64 = 0
        while cursor.remaining > 0 {
            if scanCommonProperty(bytes, &cursor, &seen) { continue }
            let property = try cursor.property(bytes, in: .publish, seen: &seen)
            switch property.identifier {
            case .topicAlias: topicAlias = UInt16(property.integer)
            case .messageExpiryInterval: messageExpiryInterval = property.integer
            case .subscriptionIdentifier: hasSubscriptionIdentifiers = true
            default: break
            }
        }
    }

    /// The two that may stand in every message. False where there is anything to be said about them.
    @inline(__always)
    private mutating func scanCommonProperty(
        _ bytes: Span<UInt8>,
        _ cursor: inout PacketCursor,
        _ seen: inout UInt64
    ) -> Bool {
        let at = cursor.at
        let aliasBit: UInt64 = 1 << UInt64(PropertyIdentifier.topicAlias.rawValue)
        switch bytes[at] {
        case PropertyIdentifier.subscriptionIdentifier.rawValue where cursor.remaining >= 2:
            guard (1..<0x80).contains(bytes[at &+ 1]) else { return false }
            hasSubscriptionIdentifiers = true
            cursor.advance(2)
        case PropertyIdentifier.topicAlias.rawValue where cursor.remaining >= 3 && seen & aliasBit == 0:
            topicAlias = UInt16(bytes[at &+ 1]) << 8 | UInt16(bytes[at &+ 2])
            guard topicAlias != 0 else { return false }
            seen |= aliasBit
            cursor.advance(3)
        default: return false
        }
        return true
    }

    /// A view over bytes that hold topic, properties and payload one after the other, as `Message` lays them out.
    package init(firstByte: UInt8, topicBytes: Int, propertyBytes: Int, payloadBytes: Int) {
        self.firstByte = firstByte
        topic = 0..<topicBytes
        properties = topicBytes..<(topicBytes &+ propertyBytes)
        payload = (topicBytes &+ propertyBytes)..<(topicBytes &+ propertyBytes &+ payloadBytes)
    }

    /// Calls `body` with each part of the properties that is passed on.
    package func forEachForwardedProperty(
        _ bytes: Span<UInt8>,
        _ body: (Range<Int>) -> Void
    ) {
        guard needsRewriting else {
            if !properties.isEmpty { body(properties) }
            return
        }
        var cursor = PacketCursor(at: properties.lowerBound, end: properties.upperBound)
        while cursor.remaining > 0 {
            var seen: UInt64 = 0
            guard let property = try? cursor.property(bytes, in: .publish, seen: &seen) else { return }
            switch property.identifier {
            case .topicAlias, .messageExpiryInterval, .subscriptionIdentifier: continue
            default: body(property.whole)
            }
        }
    }
}

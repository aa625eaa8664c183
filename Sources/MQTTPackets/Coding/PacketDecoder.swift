import NIOCore

/// Bytes to packets, for either end.
package struct PacketDecoder: Sendable {
    /// Nil until CONNECT has been seen; until then nothing else is taken.
    package var version: ProtocolVersion?
    package var packetBytesMax: Int

    package init(version: ProtocolVersion?, packetBytesMax: Int = 268_435_460) {
        self.version = version
        self.packetBytesMax = packetBytesMax
    }

    /// Takes one packet off the buffer; nil, and nothing taken, while it is not complete.
    package mutating func next(_ buffer: inout ByteBuffer) throws(DecodingError) -> Packet? {
        let decoded = try decodeFirst(buffer.readableBytesUInt8Span)
        guard let (packet, packetBytes) = decoded else { return nil }
        buffer.moveReaderIndex(forwardBy: packetBytes)
        if case .connect(let connect) = packet { version = connect.version }
        return packet
    }

    private func decodeFirst(_ bytes: Span<UInt8>) throws(DecodingError) -> (Packet, Int)? {
        guard let header = try FixedHeader.read(bytes, at: 0, packetBytesMax: packetBytesMax) else { return nil }
        let kind = try Self.checkFlags(header, version: version ?? .v5)
        // Refused from its header: whoever has not sent CONNECT has nothing kept for it.
        if version == nil && kind != .connect { throw .protocolError("\(kind) before CONNECT") }  // [MQTT-3.1.0-1]
        guard bytes.count >= header.packetBytes else { return nil }
        return (try Self.decode(bytes, at: 0, header: header, version: version ?? .v5), header.packetBytes)
    }

    /// The kind of a packet, once the flags beside it are known to be right [MQTT-2.1.3-1].
    @discardableResult
    package static func checkFlags(
        _ header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodingError) -> PacketKind {
        guard let kind = header.kind else { throw .malformed("packet type 0") }
        if kind == .auth && version < .v5 { throw .malformed("AUTH before MQTT 5.0") }
        guard kind != .publish else { return kind }
        var flags = header.firstByte & 0x0F
        // MQTT 3.1 lets these be sent again with DUP.
        if version == .v3_1 && kind.reservedFlags != 0 { flags &= 0b0111 }
        guard flags == kind.reservedFlags else { throw .malformed("reserved flags of \(kind)") }
        return kind
    }

    /// Decodes the packet that stands, whole, at `start`. What follows it is not looked at.
    package static func decode(
        _ bytes: Span<UInt8>,
        at start: Int,
        header: FixedHeader,
        version: ProtocolVersion,
        filtersMax: Int = .max
    ) throws(DecodingError) -> Packet {
        let kind = try checkFlags(header, version: version)
        var cursor = PacketCursor(at: start + header.headerBytes, end: start + header.packetBytes)
        let packet: Packet
        switch kind {
        case .publish: return .publish(try publish(bytes, at: start, header: header, version: version))
        case .connect: packet = .connect(try cursor.connect(bytes))
        case .connack: packet = .connack(try cursor.connack(bytes, version))
        case .puback: packet = .puback(try cursor.acknowledgement(bytes, version, .puback, .puback))
        case .pubrec: packet = .pubrec(try cursor.acknowledgement(bytes, version, .pubrec, .pubrec))
        case .pubrel: packet = .pubrel(try cursor.acknowledgement(bytes, version, .pubrel, .pubrel))
        case .pubcomp: packet = .pubcomp(try cursor.acknowledgement(bytes, version, .pubcomp, .pubcomp))
        case .subscribe: packet = .subscribe(try cursor.subscribe(bytes, version, filtersMax: filtersMax))
        case .suback: packet = .suback(try cursor.suback(bytes, version))
        case .unsubscribe: packet = .unsubscribe(try cursor.unsubscribe(bytes, version, filtersMax: filtersMax))
        case .unsuback: packet = .unsuback(try cursor.unsuback(bytes, version))
        case .pingreq: packet = .pingreq
        case .pingresp: packet = .pingresp
        case .disconnect: packet = .disconnect(try cursor.disconnect(bytes, version))
        case .auth: packet = .auth(try cursor.auth(bytes))
        }
        guard cursor.remaining == 0 else { throw .malformed("\(cursor.remaining) bytes too many in \(kind)") }
        return packet
    }

    /// Decodes PUBACK, PUBREC, PUBREL or PUBCOMP without the detour over `Packet`: half of what a broker reads.
    package static func acknowledgement(
        _ bytes: Span<UInt8>,
        at start: Int,
        header: FixedHeader,
        kind: PacketKind,
        version: ProtocolVersion
    ) throws(DecodingError) -> Acknowledgement {
        var cursor = PacketCursor(at: start + header.headerBytes, end: start + header.packetBytes)
        let place: PropertyPlace =
            switch kind {
            case .puback: .puback
            case .pubrec: .pubrec
            case .pubrel: .pubrel
            default: .pubcomp
            }
        let answer = try cursor.acknowledgement(bytes, version, kind, place)
        guard cursor.remaining == 0 else { throw .malformed("\(cursor.remaining) bytes too many in \(kind)") }
        return answer
    }

    /// The protocol level of a CONNECT that does not decode, as far as it can be told.
    package static func connectLevel(_ bytes: Span<UInt8>) -> UInt8? {
        guard bytes.count > 0, bytes[0] >> 4 == PacketKind.connect.rawValue else { return nil }
        guard let header = try? FixedHeader.read(bytes, at: 0, packetBytesMax: .max) else { return nil }
        var cursor = PacketCursor(at: header.headerBytes, end: bytes.count)
        guard let name = try? cursor.prefixed(bytes), name.count == 4 || name.count == 6 else { return nil }
        return try? cursor.byte(bytes)
    }

    private static func publish(
        _ bytes: Span<UInt8>,
        at start: Int,
        header: FixedHeader,
        version: ProtocolVersion
    ) throws(DecodingError) -> Publish {
        let view = try PublishView(bytes, at: start, header: header, version: version)
        return Publish(
            topic: bytes.string(in: view.topic),
            payload: bytes.buffer(in: view.payload),
            qos: view.qos,
            isRetained: view.isRetained,
            isDuplicate: view.isDuplicate,
            packetID: view.qos == .atMostOnce ? nil : view.packetID,
            properties: try Properties(decoding: bytes, view.properties, in: .publish)
        )
    }
}

/// The first bytes of every packet: kind, flags and the length of what follows (MQTT 5.0, section 2.1).
@usableFromInline
package struct FixedHeader: Sendable, Hashable {
    package let firstByte: UInt8
    /// How many bytes the header itself has: 2 to 5.
    @usableFromInline package let headerBytes: Int
    @usableFromInline package let remainingBytes: Int

    @inlinable package var packetBytes: Int { headerBytes + remainingBytes }
    package var kind: PacketKind? { PacketKind(rawValue: firstByte >> 4) }

    package init(firstByte: UInt8, headerBytes: Int, remainingBytes: Int) {
        self.firstByte = firstByte
        self.headerBytes = headerBytes
        self.remainingBytes = remainingBytes
    }

    /// Reads the header at `start`; nil while it is not complete.
    ///
    /// A packet that is larger than `packetBytesMax` is refused here, before any of it needs to be kept.
    package static func read(
        _ bytes: Span<UInt8>,
        at start: Int,
        packetBytesMax: Int
    ) throws(DecodingError) -> FixedHeader? {
        guard bytes.count &- start >= 2 else { return nil }
        let firstByte = bytes[start]
        var remaining = Int(bytes[start &+ 1])
        var headerBytes = 2
        if remaining >= 0x80 {
            remaining &= 0x7F
            var shift = 7
            while true {
                guard shift <= 21 else { throw .malformed("remaining length of more than four bytes") }
                guard start &+ headerBytes < bytes.count else { return nil }
                let byte = bytes[start &+ headerBytes]
                remaining |= Int(byte & 0x7F) << shift
                headerBytes &+= 1
                shift &+= 7
                if byte < 0x80 {
                    if byte == 0 { throw .malformed("remaining length in more bytes than needed") }  // [MQTT-1.5.5-1]
                    break
                }
            }
        }
        if headerBytes &+ remaining > packetBytesMax {
            throw DecodingError(
                .packetTooLarge,
                "a packet of \(headerBytes + remaining) bytes, at most \(packetBytesMax)"
            )
        }
        return FixedHeader(firstByte: firstByte, headerBytes: headerBytes, remainingBytes: remaining)
    }
}

import NIOCore

/// A position in the bytes of one packet, from which its fields are read in turn.
///
/// It carries no bytes, so that it stays a trivial value; every read is given them, and checks that they are there.
package struct PacketCursor: Sendable {
    package private(set) var at: Int
    package let end: Int

    package init(at: Int, end: Int) {
        self.at = at
        self.end = end
    }

    package var remaining: Int { end &- at }

    package mutating func byte(_ bytes: Span<UInt8>) throws(DecodingError) -> UInt8 {
        guard at < end else { throw Self.short }
        defer { at &+= 1 }
        return bytes[at]
    }

    package mutating func twoBytes(_ bytes: Span<UInt8>) throws(DecodingError) -> UInt16 {
        guard remaining >= 2 else { throw Self.short }
        defer { at &+= 2 }
        return UInt16(bytes[at]) << 8 | UInt16(bytes[at &+ 1])
    }

    package mutating func fourBytes(_ bytes: Span<UInt8>) throws(DecodingError) -> UInt32 {
        let upper = try twoBytes(bytes)
        return UInt32(upper) << 16 | UInt32(try twoBytes(bytes))
    }

    /// A variable byte integer: at most four bytes, and no more than needed [MQTT-1.5.5-1].
    package mutating func variable(_ bytes: Span<UInt8>) throws(DecodingError) -> UInt32 {
        var value: UInt32 = 0
        for shift in stride(from: 0, to: 28, by: 7) {
            let next = try byte(bytes)
            value |= UInt32(next & 0x7F) << UInt32(shift)
            guard next < 0x80 else { continue }
            if next == 0 && shift > 0 { throw .malformed("variable byte integer in more bytes than needed") }
            return value
        }
        throw .malformed("variable byte integer of more than four bytes")
    }

    /// Over bytes that are there.
    mutating func advance(_ count: Int) { at &+= count }

    package mutating func skip(_ count: Int) throws(DecodingError) -> Range<Int> {
        guard count >= 0, remaining >= count else { throw Self.short }
        defer { at &+= count }
        return at..<(at &+ count)
    }

    /// The range of a length-prefixed field.
    package mutating func prefixed(_ bytes: Span<UInt8>) throws(DecodingError) -> Range<Int> {
        try skip(Int(try twoBytes(bytes)))
    }

    /// The range of a length-prefixed string, which is checked.
    package mutating func utf8(_ bytes: Span<UInt8>) throws(DecodingError) -> Range<Int> {
        let range = try prefixed(bytes)
        guard UTF8Check.isValid(bytes.extracting(range)) else { throw .malformed("ill-formed UTF-8") }
        return range
    }

    package mutating func string(_ bytes: Span<UInt8>) throws(DecodingError) -> String {
        bytes.string(in: try utf8(bytes))
    }

    package mutating func binary(_ bytes: Span<UInt8>) throws(DecodingError) -> ByteBuffer {
        bytes.buffer(in: try prefixed(bytes))
    }

    private static var short: DecodingError { .malformed("packet ends within a field") }
}

extension Span<UInt8> {
    /// The bytes as a string; they have been checked before.
    package func string(in range: Range<Int>) -> String {
        extracting(range).withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) }
    }

    /// A copy of the bytes in storage of their own size.
    package func buffer(in range: Range<Int>) -> ByteBuffer {
        extracting(range).withUnsafeBufferPointer { ByteBuffer(bytes: $0) }
    }

    package func isEqual(to other: [UInt8]) -> Bool {
        guard count == other.count else { return false }
        let (mine, others) = (bytes, other.span.bytes)
        var at = 0
        while at &+ 8 <= count {
            let word = mine.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self)
            guard word == others.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self) else { return false }
            at &+= 8
        }
        while at < count {
            guard self[at] == other[at] else { return false }
            at &+= 1
        }
        return true
    }

    package func toArray() -> [UInt8] { withUnsafeBufferPointer(Array.init) }
}

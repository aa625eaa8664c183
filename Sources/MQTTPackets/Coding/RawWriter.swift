/// Writes into memory that has room for all that will be written: without the checks, one for each part, that a
/// `ByteBuffer` makes.
@usableFromInline
package struct RawWriter {
    @usableFromInline let target: UnsafeMutableRawBufferPointer
    /// How many bytes have been written.
    @usableFromInline package private(set) var count = 0

    @inlinable
    package init(_ target: UnsafeMutableRawBufferPointer) { self.target = target }

    /// In network byte order.
    @inlinable
    package mutating func integer<Integer: FixedWidthInteger>(_ value: Integer) {
        target.storeBytes(of: value.bigEndian, toByteOffset: count, as: Integer.self)
        count &+= MemoryLayout<Integer>.size
    }

    @inlinable
    package mutating func copy(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        UnsafeMutableRawBufferPointer(rebasing: target[count..<(count &+ bytes.count)]).copyMemory(from: bytes)
        count &+= bytes.count
    }

    /// A part of `source`.
    @inlinable
    package mutating func copy(_ source: Span<UInt8>, _ range: Range<Int>) {
        guard !range.isEmpty else { return }
        source.extracting(range).withUnsafeBytes { copy($0) }
    }

    @inlinable
    package mutating func copy(_ text: String) {
        var text = text
        text.withUTF8 { copy(UnsafeRawBufferPointer($0)) }
    }

    /// A variable byte integer (MQTT 5.0, section 1.5.5).
    @inlinable
    package mutating func variable(_ value: Int) {
        var rest = value
        while rest >= 0x80 {
            integer(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        integer(UInt8(rest))
    }
}

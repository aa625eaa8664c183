import NIOCore

/// Writing of the data types of MQTT 5.0, section 1.5.
package enum PrimitiveCoding {
    package static func variableBytes(_ value: Int) -> Int {
        value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x20_0000 ? 3 : 4
    }

    package static func writeVariable(_ value: Int, into buffer: inout ByteBuffer) {
        precondition((0...268_435_455).contains(value), "a variable byte integer has at most 28 bits")
        var rest = value
        repeat {
            let low = UInt8(rest & 0x7F)
            rest >>= 7
            buffer.writeInteger(rest > 0 ? low | 0x80 : low)
        } while rest > 0
    }

    package static func write(_ text: String, into buffer: inout ByteBuffer) {
        precondition(text.utf8.count <= 65_535, "a string has at most 65,535 bytes")
        buffer.writeInteger(UInt16(text.utf8.count))
        buffer.writeString(text)
    }

    package static func write(_ data: ByteBuffer, into buffer: inout ByteBuffer) {
        precondition(data.readableBytes <= 65_535, "binary data has at most 65,535 bytes")
        buffer.writeInteger(UInt16(data.readableBytes))
        buffer.writeImmutableBuffer(data)
    }
}

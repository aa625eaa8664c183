import MQTTPackets
import NIOCore

/// Bytes as the tables write them: hexadecimal digits, `'text'` (without spaces), `61*200` for a byte repeated.
func bytes(_ notation: String) -> [UInt8] {
    notation.split(separator: " ").flatMap { token -> [UInt8] in
        if token.hasPrefix("'") { return Array(token.dropFirst().dropLast().utf8) }
        let parts = token.split(separator: "*")
        let digits = Array(parts[0])
        let once = stride(from: 0, to: digits.count - 1, by: 2).compactMap {
            UInt8(String(digits[$0...($0 + 1)]), radix: 16)
        }
        precondition(once.count * 2 == digits.count, "\(token) is not hexadecimal")
        let count = parts.count == 2 ? Int(parts[1]) ?? 0 : 1
        return (0..<count).flatMap { _ in once }
    }
}

func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined(separator: " ")
}

func variable(_ value: Int) -> [UInt8] {
    var buffer = ByteBuffer()
    PrimitiveCoding.writeVariable(value, into: &buffer)
    return Array(buffer.readableBytesView)
}

/// A packet with the remaining length that its body has.
func framed(_ firstByte: UInt8, _ body: some Collection<UInt8>) -> [UInt8] {
    [firstByte] + variable(body.count) + body
}

func prefixed(_ data: some Collection<UInt8>) -> [UInt8] {
    [UInt8(data.count >> 8), UInt8(data.count & 0xFF)] + data
}

extension Property {
    static func number(_ identifier: PropertyIdentifier, _ value: UInt32) -> Property {
        Property(identifier, .integer(value))
    }

    static func text(_ identifier: PropertyIdentifier, _ value: String) -> Property {
        Property(identifier, .string(value))
    }

    static func data(_ identifier: PropertyIdentifier, _ value: [UInt8]) -> Property {
        Property(identifier, .binary(ByteBuffer(bytes: value)))
    }

    static func user(_ name: String, _ value: String) -> Property { Property(.userProperty, .pair(name, value)) }
}

func readHeader(_ bytes: [UInt8], at start: Int = 0, limit: Int = .max) throws(DecodingError) -> FixedHeader? {
    try FixedHeader.read(bytes.span, at: start, packetBytesMax: limit)
}

/// What the bytes of one packet come to; nil while they are not complete.
func decodeOne(_ bytes: some Sequence<UInt8>, _ version: ProtocolVersion) throws(DecodingError) -> Packet? {
    var decoder = PacketDecoder(version: version)
    var buffer = ByteBuffer(bytes: bytes)
    return try decoder.next(&buffer)
}

func reasonCode(of bytes: some Sequence<UInt8>, _ version: ProtocolVersion) -> ReasonCode? {
    do throws(DecodingError) {
        _ = try decodeOne(bytes, version)
        return nil
    } catch {
        return error.reasonCode
    }
}

func encodeOne(_ packet: Packet, _ version: ProtocolVersion) -> [UInt8] {
    Array(PacketEncoder(version: version).encode(packet).readableBytesView)
}

/// Bytes that need not be a packet: if they decode, the packet survives being encoded, and so do its bytes.
///
/// Bytes are compared beside values since strings are equal under canonical equivalence.
func roundTripFailure(_ bytes: some Sequence<UInt8>, _ version: ProtocolVersion) -> String? {
    do throws(DecodingError) {
        guard let packet = try decodeOne(bytes, version) else { return nil }
        let encoded = encodeOne(packet, version)
        do throws(DecodingError) {
            guard let again = try decodeOne(encoded, version) else { return "incomplete: \(hex(encoded))" }
            if again != packet { return "not equal: \(packet) and \(again)" }
            if encodeOne(again, version) != encoded { return "bytes differ: \(hex(encoded))" }
            return nil
        } catch {
            return "\(packet) is encoded as \(hex(encoded)), which is refused: \(error)"
        }
    } catch {
        return error.reasonCode.isError && !error.explanation.isEmpty ? nil : "an error that answers nothing: \(error)"
    }
}

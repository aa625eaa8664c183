import MQTTPackets
import NIOCore
import Testing

@Suite struct FixedHeaderTests {
    @Test("[MQTT-1.5.5-1] every remaining length is read from the bytes that it is written in, and from no prefix")
    func lengths() throws {
        let borders = [0, 1, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_454, 268_435_455]
        for (index, length) in borders.enumerated() {
            let header = [0x30] + variable(length)
            #expect(header.count - 1 == PrimitiveCoding.variableBytes(length))
            for count in 0..<header.count {
                #expect(try readHeader(Array(header[..<count])) == nil)
            }
            let read = try #require(try readHeader(header))
            #expect(read == FixedHeader(firstByte: 0x30, headerBytes: header.count, remainingBytes: length), "\(index)")
            #expect(read.packetBytes == header.count + length && read.kind == .publish)
            let shifted = [0xFF, 0xFF] + header + [0xFF]
            #expect(try readHeader(shifted, at: 2) == read)
        }
    }

    @Test("a packet over the limit is refused from its header, at the byte that tells")
    func limit() throws {
        for limit in [2, 127, 128, 129, 130, 131, 16_384, 16_386, 16_387, 1_048_576] {
            for total in [limit - 1, limit, limit + 1, limit * 2] where total >= 2 {
                guard let header = header(packetBytes: total) else { continue }
                var decoder = PacketDecoder(version: .v5, packetBytesMax: limit)
                for count in 0..<header.count {
                    var part = ByteBuffer(bytes: header[..<count])
                    #expect(try decoder.next(&part) == nil)
                }
                let read = Result { try readHeader(header, limit: limit) }
                let code = (read.failure as? DecodingError)?.reasonCode
                #expect(code == (total > limit ? .packetTooLarge : nil), "\(total) of \(limit)")
            }
        }
    }

    /// A PUBLISH header of a packet of that many bytes; nil where there is none.
    private func header(packetBytes: Int) -> [UInt8]? {
        (1...4).lazy.map { count in (count, packetBytes - 1 - count) }
            .first { count, length in length >= 0 && PrimitiveCoding.variableBytes(length) == count }
            .map { _, length in [0x30] + variable(length) }
    }

    @Test("a packet of just the limit decodes, one byte more does not")
    func exactly() throws {
        for version in ProtocolVersion.allCases {
            let payload = ByteBuffer(repeating: 0x61, count: 300)
            let bytes = encodeOne(.publish(Publish(topic: "a", payload: payload)), version)
            var enough = PacketDecoder(version: version, packetBytesMax: bytes.count)
            var buffer = ByteBuffer(bytes: bytes)
            #expect(try enough.next(&buffer) != nil)
            var tooSmall = PacketDecoder(version: version, packetBytesMax: bytes.count - 1)
            var first = ByteBuffer(bytes: bytes.prefix(3))
            #expect(throws: DecodingError.self) { try tooSmall.next(&first) }
        }
    }

    @Test("wrong flags and packet types are refused before the body has come")
    func earlyRefusal() {
        for first in UInt8.min...UInt8.max where first >> 4 != 3 {
            for version in ProtocolVersion.allCases {
                let kind = PacketKind(rawValue: first >> 4)
                let mayRepeat = version == .v3_1 && [.pubrel, .subscribe, .unsubscribe].contains(kind)
                let flags = mayRepeat ? first & 0x07 : first & 0x0F
                let wanted: UInt8 = [.pubrel, .subscribe, .unsubscribe].contains(kind) ? 2 : 0
                let isRight = kind != nil && flags == wanted && (kind != .auth || version == .v5)
                #expect(
                    reasonCode(of: [first, 0xFF, 0x7F], version) == (isRight ? nil : .malformedPacket),
                    "\(hex([first])) of \(version)"
                )
            }
        }
    }

    @Test("[MQTT-3.1.0-1] before CONNECT any other packet is refused from its header")
    func connectFirst() throws {
        for row in PacketCase.decodable {
            var decoder = PacketDecoder(version: nil)
            var buffer = ByteBuffer(bytes: row.bytes)
            if row.packet?.kind == .connect {
                #expect(try decoder.next(&buffer) == row.packet)
                #expect(decoder.version == row.version)
            } else {
                buffer = ByteBuffer(bytes: row.bytes.prefix(5))
                #expect(throws: DecodingError.self) { try decoder.next(&buffer) }
            }
        }
        var decoder = PacketDecoder(version: nil)
        var huge = ByteBuffer(bytes: [0x30, 0xFF, 0xFF, 0xFF, 0x7F])
        #expect(throws: DecodingError(.protocolError, "publish before CONNECT")) { try decoder.next(&huge) }
    }

    @Test("what comes after CONNECT is read in its version")
    func versionFromConnect() throws {
        for version in ProtocolVersion.allCases {
            var decoder = PacketDecoder(version: nil)
            let publish = Packet.publish(Publish(topic: "a", payload: ByteBuffer(string: "h")))
            var buffer = ByteBuffer(
                bytes: encodeOne(.connect(Connect(version: version, clientID: "c")), .v5) + encodeOne(publish, version)
            )
            #expect(try decoder.next(&buffer)?.kind == .connect)
            #expect(try decoder.next(&buffer) == publish)
        }
    }
}

extension Result {
    fileprivate var failure: Failure? {
        guard case .failure(let failure) = self else { return nil }
        return failure
    }
}

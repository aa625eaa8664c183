import MQTTPackets
import NIOCore
import Testing

/// Every row of the table in every way that bytes arrive.
@Suite struct PacketCaseTests {
    @Test("the table has every kind of packet in every version")
    func tableIsComplete() {
        for version in ProtocolVersion.allCases {
            for kind in PacketKind.allCases where kind != .auth || version == .v5 {
                #expect(
                    PacketCase.decodable.contains { $0.version == version && $0.packet?.kind == kind },
                    "no \(kind) of \(version)"
                )
            }
        }
    }

    @Test("bytes that come whole decode to their packet or to their error", arguments: PacketCase.all)
    func whole(_ row: PacketCase) throws {
        expectWholePacket(row)
        var decoder = PacketDecoder(version: row.version)
        var buffer = ByteBuffer(bytes: row.bytes)
        switch row.outcome {
        case .canonical(let packet), .accepted(let packet):
            #expect(try decoder.next(&buffer) == packet)
            #expect(buffer.readableBytes == 0)
        case .refused(let code):
            #expect(reasonCode(of: row.bytes, row.version) == code)
        }
    }

    /// A row must not be refused merely because its author miscounted.
    private func expectWholePacket(_ row: PacketCase) {
        let header = try? readHeader(row.bytes)
        guard let header, (try? PacketDecoder.checkFlags(header, version: row.version)) != nil else { return }
        #expect(header.packetBytes == row.bytes.count, "the row's remaining length")
    }

    @Test("nothing is taken before a packet is complete, wherever it is split", arguments: PacketCase.all)
    func splitEverywhere(_ row: PacketCase) throws {
        for count in 0..<row.bytes.count {
            var decoder = PacketDecoder(version: row.version)
            var buffer = ByteBuffer(bytes: row.bytes[..<count])
            do throws(DecodingError) {
                #expect(try decoder.next(&buffer) == nil)
                #expect(buffer.readerIndex == 0 && buffer.readableBytes == count)
                buffer.writeBytes(row.bytes[count...])
                #expect(try decoder.next(&buffer) == row.packet)
            } catch {
                guard case .refused(let code) = row.outcome else { throw error }
                #expect(error.reasonCode == code, "after \(count) bytes")
            }
        }
    }

    @Test("a packet may come one byte at a time", arguments: PacketCase.all)
    func byteByByte(_ row: PacketCase) throws {
        var decoder = PacketDecoder(version: row.version)
        var buffer = ByteBuffer()
        var decoded: Packet?
        do throws(DecodingError) {
            for (index, byte) in row.bytes.enumerated() {
                buffer.writeInteger(byte)
                decoded = try decoder.next(&buffer)
                if decoded != nil { #expect(index == row.bytes.count - 1) }
            }
            #expect(decoded != nil && decoded == row.packet)
        } catch {
            guard case .refused(let code) = row.outcome else { throw error }
            #expect(error.reasonCode == code)
        }
    }

    @Test("what follows a packet is left for the next", arguments: PacketCase.all)
    func backToBack(_ row: PacketCase) throws {
        var decoder = PacketDecoder(version: row.version)
        var buffer = ByteBuffer(bytes: [0xC0, 0x00] + row.bytes + row.bytes + [0xD0, 0x00])
        #expect(try decoder.next(&buffer) == .pingreq)
        do throws(DecodingError) {
            #expect(try decoder.next(&buffer) == row.packet)
            #expect(try decoder.next(&buffer) == row.packet)
            decoder.version = row.version
            #expect(try decoder.next(&buffer) == .pingresp)
            #expect(try decoder.next(&buffer) == nil)
        } catch {
            guard case .refused(let code) = row.outcome else { throw error }
            #expect(error.reasonCode == code)
        }
    }

    @Test("a packet decodes alike wherever in the bytes it stands", arguments: PacketCase.decodable)
    func atAnOffset(_ row: PacketCase) throws {
        let stream = [0xFF, 0xFF, 0xFF] + row.bytes + [0xFF, 0xFF]
        let header = try #require(try readHeader(stream, at: 3))
        #expect(try PacketDecoder.decode(stream.span, at: 3, header: header, version: row.version) == row.packet)
    }

    @Test("a packet is encoded as the bytes that it has in the table", arguments: PacketCase.decodable)
    func encode(_ row: PacketCase) throws {
        switch row.outcome {
        case .canonical(let packet):
            #expect(hex(encodeOne(packet, row.version)) == hex(row.bytes))
        case .accepted(let packet):
            let encoded = encodeOne(packet, row.version)
            #expect(hex(encoded) != hex(row.bytes), "the row is canonical")
            #expect(try decodeOne(encoded, row.version) == packet)
        case .refused: break
        }
    }

    @Test("a thousand packets may come in one read", arguments: ProtocolVersion.allCases)
    func thousandInOneRead(_ version: ProtocolVersion) throws {
        let rows = PacketCase.decodable.filter { $0.version == version && $0.packet?.kind != .connect }
        let packets = (0..<1_000).compactMap { rows[$0 % rows.count].packet }
        let encoder = PacketEncoder(version: version)
        var buffer = ByteBuffer()
        for packet in packets { encoder.encode(packet, into: &buffer) }
        var decoder = PacketDecoder(version: version)
        var decoded: [Packet] = []
        while let packet = try decoder.next(&buffer) { decoded.append(packet) }
        #expect(decoded == packets)
        #expect(buffer.readableBytes == 0)
    }

    @Test("a packet cut short at any byte, its length corrected, is refused or is another packet")
    func truncated() {
        for row in PacketCase.all {
            guard let body = body(of: row) else { continue }
            for count in 0...body.count {
                let cut = framed(row.bytes[0], body[..<count])
                #expect(roundTripFailure(cut, row.version) == nil, "\(row.testDescription): \(hex(cut))")
            }
        }
    }

    @Test("a packet with bytes too many, its length corrected, is refused or is another packet")
    func extended() {
        for row in PacketCase.all {
            guard let body = body(of: row) else { continue }
            for extra: [UInt8] in [[0], [1], [0xFF], [0, 0], [0, 1, 0x61], [0x26, 0, 0, 0, 0]] {
                let longer = framed(row.bytes[0], body + extra)
                #expect(roundTripFailure(longer, row.version) == nil, "\(row.testDescription): \(hex(longer))")
            }
        }
    }

    @Test("a packet with any one byte changed is refused or is another packet")
    func changed() {
        for row in PacketCase.all where row.bytes.count < 1_000 {
            for index in row.bytes.indices {
                for mask: UInt8 in [1, 2, 4, 8, 16, 32, 64, 128, 0xFF, row.bytes[index], row.bytes[index] ^ 0x7F] {
                    var changed = row.bytes
                    changed[index] ^= mask
                    #expect(roundTripFailure(changed, row.version) == nil, "\(row.testDescription): \(hex(changed))")
                }
            }
        }
    }

    private func body(of row: PacketCase) -> [UInt8]? {
        guard let header = try? readHeader(row.bytes) else { return nil }
        return Array(row.bytes.dropFirst(header.headerBytes))
    }
}

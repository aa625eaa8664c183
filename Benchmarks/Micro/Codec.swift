import Benchmark
import MQTTPackets
import NIOCore

func codecBenchmarks() {
    decodePublish("Codec: decode PUBLISH, 3.1.1, QoS 0", Samples.publish, .v3_1_1)
    decodePublish("Codec: decode PUBLISH, 5.0, QoS 1, properties", Samples.publishWithProperties, .v5)
    decode("Codec: decode CONNECT, 5.0", .connect(Samples.connect))
    decode("Codec: decode SUBSCRIBE, 5.0, three filters", .subscribe(Samples.subscribe))
    decodePuback("Codec: decode PUBACK, 5.0")
    encode("Codec: encode PUBLISH, 5.0, QoS 1, properties", .publish(Samples.publishWithProperties))
    encode("Codec: encode CONNECT, 5.0", .connect(Samples.connect))
    encode("Codec: encode SUBSCRIBE, 5.0, three filters", .subscribe(Samples.subscribe))
    encode("Codec: encode PUBACK, 5.0", .puback(Acknowledgement(packetID: 7)))
}

/// As a broker reads it: a view of the bytes.
private func decodePublish(_ name: String, _ publish: Publish, _ version: ProtocolVersion) {
    let bytes = PacketEncoder(version: version).encode(.publish(publish))
    measure(name, expecting: publish.payload.readableBytes) {
        {
            decoded(bytes) { span, header in
                try PublishView(span, at: 0, header: header, version: version).payload.count
            }
        }
    }
}

/// As a broker reads acknowledgements.
private func decodePuback(_ name: String) {
    let bytes = PacketEncoder(version: .v5).encode(.puback(Acknowledgement(packetID: 7)))
    measure(name, expecting: 7) {
        {
            decoded(bytes) { span, header in
                Int(
                    try PacketDecoder.acknowledgement(span, at: 0, header: header, kind: .puback, version: .v5).packetID
                )
            }
        }
    }
}

private func decode(_ name: String, _ packet: Packet) {
    let bytes = PacketEncoder(version: .v5).encode(packet)
    measure(name, expecting: Int(packet.kind.rawValue)) {
        {
            decoded(bytes) { span, header in
                let packet = try PacketDecoder.decode(span, at: 0, header: header, version: .v5)
                blackHole(packet)
                return Int(packet.kind.rawValue)
            }
        }
    }
}

private func decoded(_ bytes: ByteBuffer, _ body: (Span<UInt8>, FixedHeader) throws -> Int) -> Int {
    let span = bytes.readableBytesUInt8Span
    do {
        guard let header = try FixedHeader.read(span, at: 0, packetBytesMax: .max) else { return -1 }
        return try body(span, header)
    } catch {
        fatalError("\(error)")
    }
}

/// Into a buffer that has room.
private func encode(_ name: String, _ packet: Packet) {
    let encoder = PacketEncoder(version: .v5)
    measure(name, expecting: encoder.encode(packet).readableBytes) {
        var buffer = ByteBuffer()
        return {
            buffer.clear()
            encoder.encode(packet, into: &buffer)
            return buffer.readableBytes
        }
    }
}

import MQTTPackets
import NIOCore
import Testing

@Suite struct MessageCodingTests {
    private static func message(payloadBytes: Int, publisher: String?) -> Message {
        var properties = Properties()
        properties.appendUserProperty("name", "value")
        properties[string: .contentType] = "text"
        let payload = ByteBuffer(repeating: 7, count: payloadBytes)
        let publish = Publish(
            topic: "a/ü",
            payload: payload,
            qos: .exactlyOnce,
            isRetained: true,
            properties: properties
        )
        return Message(publish, publisher: publisher, expiresAt: 123_456_789_012)
    }

    @Test(
        "a message that is written and read again is the same",
        arguments: [0, 1, 200, 20_000],
        [nil, "", "client", String(repeating: "x", count: 65_535)]
    )
    func roundTrip(payloadBytes: Int, publisher: String?) throws {
        let message = Self.message(payloadBytes: payloadBytes, publisher: publisher)
        var encoded = ByteBuffer()
        message.encode(into: &encoded)
        #expect(encoded.readableBytes == message.encodedBytes)
        let decoded = try #require(Message(decoding: encoded))
        #expect(decoded.topic == message.topic)
        #expect(decoded.payload == message.payload)
        #expect(decoded.qos == message.qos)
        #expect(decoded.isRetained)
        #expect(decoded.publisher == publisher)
        #expect(decoded.expiresAt == message.expiresAt)
        #expect(Publish(decoded).properties == Publish(message).properties)
    }

    @Test("a message that was cut off anywhere, or has a byte too many, is none")
    func truncation() {
        var encoded = ByteBuffer()
        Self.message(payloadBytes: 30, publisher: "client").encode(into: &encoded)
        for length in 0..<encoded.readableBytes {
            let part = encoded.getSlice(at: encoded.readerIndex, length: length) ?? ByteBuffer()
            #expect(Message(decoding: part) == nil, "\(length) of \(encoded.readableBytes) bytes")
        }
        encoded.writeInteger(UInt8(0))
        #expect(Message(decoding: encoded) == nil)
    }

    @Test("whatever stands there, reading it ends well")
    func flippedBits() {
        var encoded = ByteBuffer()
        Self.message(payloadBytes: 3, publisher: "c").encode(into: &encoded)
        for bit in 0..<(encoded.readableBytes * 8) {
            var bytes = Array(encoded.readableBytesView)
            bytes[bit / 8] ^= 1 << UInt8(bit % 8)
            guard let message = Message(decoding: ByteBuffer(bytes: bytes)) else { continue }
            #expect(message.encodedBytes <= bytes.count)
            #expect(Topics.isValidName(message.topic))
        }
    }
}

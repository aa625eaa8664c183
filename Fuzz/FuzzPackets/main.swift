// The codec under libFuzzer: `make fuzz`.
//
// An input is one byte that selects the protocol version (0: that of CONNECT), then a stream of packets. Whatever the bytes, decoding ends
// with packets or with a `DecodingError`; what was decoded encodes to a packet that decodes to an equal one; and the
// view of a PUBLISH agrees with the packet. The same bytes are also tried as topic, filter and properties.

import MQTTPackets
import NIOCore

#if canImport(Darwin)
import Darwin
#elseif canImport(Glibc)
import Glibc
#endif

/// What libFuzzer's own `main` calls. SwiftPM renames `main`, so it is called from here.
@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ argumentCount: UnsafeMutablePointer<Int32>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ handle: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

private func demand(_ holds: Bool, _ sentence: String, _ packet: Packet? = nil) {
    guard !holds else { return }
    print("\(sentence): \(packet.map(String.init(describing:)) ?? "")")
    fflush(nil)
    abort()
}

/// Decodes a whole stream. A trap is a finding; an error of the decoder is not.
private func decodeStream(_ stream: [UInt8], _ version: ProtocolVersion?) {
    var decoder = PacketDecoder(version: version, packetBytesMax: 1 << 20)
    var buffer = ByteBuffer(bytes: stream)
    do throws(DecodingError) {
        while true {
            let start = buffer.readerIndex
            guard let packet = try decoder.next(&buffer) else { break }
            guard let version = decoder.version else { return demand(false, "a packet before CONNECT", packet) }
            checkRoundTrip(packet, version)
            if case .publish(let publish) = packet { checkView(stream, at: start, publish, version) }
        }
    } catch {
        demand(error.reasonCode.isError && !error.explanation.isEmpty, "an error that answers nothing")
    }
}

private func checkRoundTrip(_ packet: Packet, _ version: ProtocolVersion) {
    var encoded = PacketEncoder(version: version).encode(packet)
    let first = encoded
    var decoder = PacketDecoder(version: version)
    let again = try? decoder.next(&encoded)
    demand(again == packet && encoded.readableBytes == 0, "what decodes is encoded otherwise", packet)
    // Strings are equal under canonical equivalence, bytes are not.
    demand(PacketEncoder(version: version).encode(packet) == first, "encoded twice is not the same", packet)
    demand(again.map { PacketEncoder(version: version).encode($0) } == first, "the bytes are not kept", packet)
}

private func checkView(_ stream: [UInt8], at start: Int, _ publish: Publish, _ version: ProtocolVersion) {
    let bytes = stream.span
    guard let header = try? FixedHeader.read(bytes, at: start, packetBytesMax: .max),
        let view = try? PublishView(bytes, at: start, header: header, version: version)
    else { return demand(false, "a packet without a view", .publish(publish)) }
    var forwarded: [UInt8] = []
    view.forEachForwardedProperty(bytes) { forwarded += stream[$0] }
    var properties = publish.properties
    for identifier in [PropertyIdentifier.topicAlias, .messageExpiryInterval, .subscriptionIdentifier] {
        properties.removeAll(identifier)
    }
    var expected = ByteBuffer()
    properties.encode(into: &expected)
    demand(forwarded.elementsEqual(expected.readableBytesView), "forwarded properties", .publish(publish))
    demand(stream[view.topic].elementsEqual(publish.topic.utf8), "the view's topic", .publish(publish))
    let payload = publish.payload.readableBytesView
    demand(stream[view.payload].elementsEqual(payload), "the view's payload", .publish(publish))
    demand(publish.topic.isEmpty || Topics.isValidName(publish.topic), "a topic that is no name", .publish(publish))
    let message = Message(copying: bytes, view, publisher: nil, expiresAt: .max, topicHash: 0)
    demand(Publish(message).properties == properties, "the properties of the message kept", .publish(publish))
}

private func checkTopics(_ bytes: [UInt8]) {
    let isWellFormed = String(validating: bytes, as: UTF8.self) != nil && !bytes.contains(0)
    demand(UTF8Check.isValid(bytes.span) == isWellFormed, "judged otherwise than by the standard library")
    let hasWildcard = bytes.contains(Topics.singleLevel) || bytes.contains(Topics.multiLevel)
    demand(Topics.isValidName(bytes.span) == (isWellFormed && !bytes.isEmpty && !hasWildcard), "a topic name")
    if !hasWildcard { demand(Topics.isValidFilter(bytes.span) == Topics.isValidName(bytes.span), "a filter") }
    guard let text = String(validating: bytes, as: UTF8.self), let parsed = ParsedFilter(text) else { return }
    demand(Topics.isValidFilter(bytes.span) && Topics.isValidFilter(parsed.filter.span), "a part that is no filter")
    let whole = parsed.group.map { Array("$share/\($0)/".utf8) } ?? []
    demand(whole + parsed.filter == bytes, "a filter that its parts do not make")
}

private func checkProperties(_ bytes: [UInt8]) {
    for raw: UInt8 in 0...13 {
        guard let place = PropertyPlace(rawValue: raw),
            let properties = try? Properties(decoding: bytes.span, 0..<bytes.count, in: place)
        else { continue }
        var encoded = ByteBuffer()
        properties.encode(into: &encoded)
        demand(encoded.readableBytes == properties.encodedBytes, "the length of properties")
        let again = try? Properties(decoding: encoded.readableBytesUInt8Span, 0..<encoded.readableBytes, in: place)
        demand(again == properties, "what decodes is encoded otherwise")
    }
}

var argumentCount = CommandLine.argc
var arguments = CommandLine.unsafeArgv
let status = runDriver(&argumentCount, &arguments) { bytes, count in
    let input = Array(UnsafeBufferPointer(start: bytes, count: count))
    guard let selector = input.first else { return 0 }
    let stream = Array(input.dropFirst())
    decodeStream(stream, [nil, .v3_1, .v3_1_1, .v5][Int(selector % 4)])
    checkTopics(stream)
    checkProperties(stream)
    return 0
}
exit(status)

// The packet decoder under libFuzzer: `make fuzz`.
//
// An input is one byte that selects the protocol version, then a stream of packets. Whatever the bytes, decoding ends
// with packets or with a `DecodingError`, and what was decoded encodes again.

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

/// What the first byte of an input selects; without a version the stream has to begin with CONNECT.
private let versions: [ProtocolVersion?] = [nil, .v3_1, .v3_1_1, .v5]

/// Decodes a whole stream. A trap is a finding; an error of the decoder is not.
private func decode(_ stream: UnsafeRawBufferPointer, selector: UInt8) {
    var decoder = PacketDecoder(version: versions[Int(selector) % versions.count])
    var buffer = ByteBuffer(bytes: stream)
    while let packet = try? decoder.next(&buffer) {
        checkEncoding(of: packet, version: decoder.version ?? .v5)
    }
}

/// What was decoded encodes to a packet that decodes, and encodes to the same bytes again.
private func checkEncoding(of packet: Packet, version: ProtocolVersion) {
    let encoder = PacketEncoder(version: version)
    let bytes = encoder.encode(packet)
    var decoder = PacketDecoder(version: version)
    var buffer = bytes
    guard let again = try? decoder.next(&buffer) else { preconditionFailure("does not decode again: \(packet)") }
    precondition(encoder.encode(again) == bytes, "encodes differently: \(packet) \(again)")
}

var argumentCount = CommandLine.argc
var arguments = CommandLine.unsafeArgv
let status = runDriver(&argumentCount, &arguments) { bytes, count in
    let input = UnsafeRawBufferPointer(start: bytes, count: count)
    if let selector = input.first {
        decode(UnsafeRawBufferPointer(rebasing: input.dropFirst()), selector: selector)
    }
    return 0
}
exit(status)

import MQTTPackets
import NIOCore

/// The bytes that one connection is to be sent, as a chain of chunks.
///
///     full:  [chunk 64 KiB] [payload, shared] [chunk] …      current: [ chunk being filled ]
///
/// Small packets are copied into the current chunk. A large payload that has storage of its own is referenced in its
/// place between two chunks, however many connections it goes to.
package struct SendBuffer: Sendable {
    private static let chunkBytesMax = 64 << 10
    /// From here on a reference costs less than a copy.
    static let referencedBytesMin = 1_024

    private var current: ByteBuffer
    private var full: [ByteBuffer] = []
    /// Readable bytes in all chunks.
    package private(set) var bytes = 0
    package private(set) var packets = 0
    /// About what a turn leaves in the first chunk, so that it need not grow.
    private var expectedBytes = 0

    package init() { current = ByteBuffer() }

    package var isEmpty: Bool { bytes == 0 }

    /// Takes everything out, in order.
    package mutating func take() -> [ByteBuffer] {
        var out: [ByteBuffer] = []
        swap(&out, &full)
        if current.readableBytes > 0 {
            out.append(current)
            current = ByteBuffer()
        }
        expectedBytes = min(max(out.first?.readableBytes ?? 0, expectedBytes / 2), Self.chunkBytesMax)
        bytes = 0
        packets = 0
        return out
    }

    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    mutating func appendAnswer(_ firstByte: UInt8, _ packetID: UInt16, _ reason: ReasonCode, _ version: ProtocolVersion)
    {
        packets &+= 1
        reserveFirst()
        if reason == .success || version < .v5 {
            current.writeInteger(UInt32(firstByte) << 24 | 2 << 16 | UInt32(packetID))
            bytes &+= 4
        } else {
            current.writeInteger(UInt32(firstByte) << 24 | 3 << 16 | UInt32(packetID))
            current.writeInteger(reason.rawValue)
            bytes &+= 5
        }
        sealIfFull()
    }

    mutating func append(_ packet: Packet, _ version: ProtocolVersion) {
        packets &+= 1
        let before = current.readableBytes
        PacketEncoder(version: version).encode(packet, into: &current)
        bytes += current.readableBytes - before
        sealIfFull()
    }

    /// A PUBLISH whose topic, properties and payload stand in `source`. `payload` is the payload in storage of its own,
    /// where there is one: then it is referenced, not copied.
    mutating func appendPublish(
        _ head: PublishHead,
        _ identifiers: [UInt32],
        _ source: Span<UInt8>,
        _ view: PublishView,
        sharing payload: ByteBuffer?
    ) {
        let isShared = payload != nil
        let written = head.packetBytes &- (isShared ? view.payload.count : 0)
        packets &+= 1
        bytes &+= head.packetBytes
        // A chunk is not outgrown: its storage would double, and half of it be empty.
        if current.readableBytes &+ written > Self.chunkBytesMax && current.readableBytes > 0 { seal() }
        reserveFirst()
        current.writeWithUnsafeMutableBytes(minimumWritableBytes: written) { target in
            head.write(to: target, identifiers, source, view, includingPayload: !isShared)
        }
        if let payload {
            seal()
            full.append(payload)
        } else {
            sealIfFull()
        }
    }

    private mutating func reserveFirst() {
        if full.isEmpty && current.writerIndex == 0 { current.reserveCapacity(expectedBytes) }
    }

    private mutating func sealIfFull() {
        if current.readableBytes >= Self.chunkBytesMax { seal() }
    }

    private mutating func seal() {
        full.append(current)
        current = ByteBuffer()
    }
}

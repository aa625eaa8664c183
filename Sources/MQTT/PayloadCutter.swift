import MQTTPackets
import NIOCore

/// Cuts the payloads out of a burst, so that a message that is kept does not keep all that was read with it.
///
/// ```
/// burst  ┌─────────┬─────────┬─────────┬────────────────────┬─────────┐
///        │ PUBLISH │ PUBLISH │ PUBLISH │ PUBLISH            │ PUBLISH │
///        └─────────┴─────────┴─────────┴────────────────────┴─────────┘
///              └─────── piece ───────┘      └─ a copy of its own
/// ```
///
/// Small ones are slices of a piece that is copied once for all of them: an allocation for each would be the dearest part
/// of a small message.
struct PayloadCutter {
    /// No message keeps more than this beside its own payload.
    private static let pieceBytesMax = 1_024
    /// Larger ones share nothing.
    private static let sharedBytesMax = 256

    private let burst: ByteBuffer
    private var piece = ByteBuffer()
    /// Where it stood in the burst.
    private var pieceRange = 0..<0

    init(_ burst: ByteBuffer) { self.burst = burst }

    /// The payload at these positions of `bytes`, which are the burst's.
    mutating func cut(_ range: Range<Int>, _ bytes: Span<UInt8>) -> ByteBuffer {
        guard range.count <= Self.sharedBytesMax else {
            // One that fills half of what was read is a slice of it.
            let slice = burst.getSlice(at: burst.readerIndex + range.lowerBound, length: range.count)
            if let slice, range.count >= burst.storageCapacity / 2 { return slice }
            return bytes.buffer(in: range)
        }
        guard !range.isEmpty else { return ByteBuffer() }
        if !(pieceRange.lowerBound <= range.lowerBound && range.upperBound <= pieceRange.upperBound) {
            pieceRange = range.lowerBound..<min(range.lowerBound + Self.pieceBytesMax, bytes.count)
            piece = bytes.buffer(in: pieceRange)
        }
        return piece.getSlice(at: range.lowerBound - pieceRange.lowerBound, length: range.count)
            ?? bytes.buffer(in: range)
    }
}

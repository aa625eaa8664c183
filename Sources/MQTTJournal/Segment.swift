import NIOCore
import SystemPackage

/// An open file of the journal. Whoever reads from it keeps it open, also when it has been removed.
final class SegmentFile: Sendable {
    let number: UInt32
    let name: String
    let file: any File
    /// What the checksums of its batches begin with.
    let seed: UInt32

    init(number: UInt32, name: String, file: any File, seed: UInt32) {
        self.number = number
        self.name = name
        self.file = file
        self.seed = seed
    }
}

/// A file of the journal, and how much of it counts.
///
///     ┌────────┬─────────┬─────────┬─────────┬───────────────┐
///     │ header │ batch 7 │ batch 8 │ batch 9 │ not used yet  │
///     └────────┴─────────┴─────────┴─────────┴───────────────┘
///                                            ▲ end           ▲ capacity
final class Segment {
    /// A message that has more than one receiver.
    struct Shared {
        var receivers: UInt32
        let bytes: UInt32
    }

    let file: SegmentFile
    /// Where the next batch goes.
    var end: Int
    var capacity: Int
    /// Bytes of records that hold something which is not over.
    var liveBytes = 0
    /// By the offset of the message's record.
    var shared: [UInt32: Shared] = [:]
    /// Whether there may be something behind `end`.
    var isDirty = false
    /// What the next page of its index will say; nil where it gets none any more.
    var page: IndexPageBuilder?
    /// What cannot be read between batches, and where nothing is missing: pages that were torn or damaged.
    var holes: [Range<Int>] = []

    init(_ file: SegmentFile, end: Int, capacity: Int) {
        self.file = file
        self.end = end
        self.capacity = capacity
    }

    var number: UInt32 { file.number }
}

/// The first bytes of a segment.
struct SegmentHeader {
    let number: UInt32
    let epoch: UInt64
    let entropy: UInt64

    var encoded: ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeMultipleIntegers(
            JournalFormat.magic,
            JournalFormat.version,
            number,
            epoch,
            entropy
        )
        buffer.writeInteger(buffer.withUnsafeReadableBytes { JournalFormat.checksum($0) })
        return buffer
    }

    /// What the checksums of its batches begin with.
    var seed: UInt32 { encoded.withUnsafeReadableBytes { JournalFormat.checksum($0, after: 0x4150_5553) } }

    init(number: UInt32, epoch: UInt64, entropy: UInt64) {
        self.number = number
        self.epoch = epoch
        self.entropy = entropy
    }

    /// Nil where there is none.
    init?(_ bytes: UnsafeRawBufferPointer, file: String) throws(JournalError) {
        guard bytes.count >= JournalFormat.headerBytes else { return nil }
        var cursor = RecordCursor(bytes, from: 0, to: JournalFormat.headerBytes)
        guard cursor.integer(UInt64.self) == JournalFormat.magic else { return nil }
        let version: UInt32 = cursor.integer()
        number = cursor.integer()
        epoch = cursor.integer()
        entropy = cursor.integer()
        let checksum: UInt32 = cursor.integer()
        let checked = UnsafeRawBufferPointer(rebasing: bytes[..<(JournalFormat.headerBytes - 4)])
        guard JournalFormat.checksum(checked) == checksum else { return nil }
        guard version == JournalFormat.version else { throw .unknownVersion(file: file, version: version) }
    }
}

extension File {
    func write(_ buffer: ByteBuffer, at offset: Int) throws(FileError) {
        let result: Result<Void, FileError> = buffer.withUnsafeReadableBytes { bytes in
            do throws(FileError) {
                try write(bytes, at: offset)
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
    }
}

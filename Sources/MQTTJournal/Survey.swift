import NIOCore
import SystemPackage

/// Something in a journal that is not as it was written, as a sentence.
public struct JournalFinding: Sendable, Hashable, CustomStringConvertible {
    /// The file that it is about.
    public let file: String
    /// Where in the file it begins.
    public let offset: Int
    /// How many bytes cannot be read; 0 where it is not about bytes.
    public let bytes: Int
    /// Whether something may be missing. Without, it is what a loss of power leaves, and the broker starts on it.
    public let isDamage: Bool
    /// What is wrong there.
    public let reason: String

    /// File, offset and reason.
    public var description: String { "\(file), byte \(offset): \(reason)" }
}

/// Looks through all files of a journal for what is whole, whatever has become of the rest, and changes nothing.
struct Survey {
    /// A segment and its batches, pages of the index among them.
    struct Part {
        let file: SegmentFile
        let size: Int
        /// Nil where the header is lost.
        let seed: UInt32?
        var batches: [BatchReader.Batch] = []
    }

    /// What stands where a batch was expected; a file that is not there is a gap without bytes.
    struct Gap {
        let segment: UInt32
        let name: String
        let range: Range<Int>
        var isFile = true
    }

    private let directory: FilePath
    private let fileSystem: any FileSystem
    private(set) var parts: [Part] = []
    private(set) var findings: [(segment: UInt32, finding: JournalFinding)] = []
    /// The gaps in which something is missing.
    private(set) var damages: [Gap] = []
    private(set) var firstSegment: UInt32 = 1
    private var gaps: [Gap] = []
    private var expected: UInt64?
    var memory = SegmentMemory()

    /// Of a directory that is locked.
    init(_ directory: FilePath, _ fileSystem: any FileSystem) throws {
        self.directory = directory
        self.fileSystem = fileSystem
        var last: UInt32?
        for number in try fileSystem.names(in: directory).compactMap(JournalFormat.segmentNumber).sorted() {
            if let last, number > last + 1 { missing(last + 1, number - 1) }
            try read(number)
            last = number
        }
        if let first = parts.first?.file.number, firstSegment < first { foundFirstMissing() }
        // No whole batch comes behind these.
        for gap in gaps where gap.isFile {
            let reason = "the last \(gap.range.count) bytes are no whole batch: the next start cuts them off"
            found(gap, isDamage: false, reason)
        }
        let first = firstSegment
        parts.removeAll { $0.file.number < first }
        findings.removeAll { $0.segment < first }
        damages.removeAll { $0.segment < first }
    }

    private mutating func missing(_ first: UInt32, _ last: UInt32) {
        gaps.append(Gap(segment: last, name: JournalFormat.segmentName(first), range: 0..<0, isFile: false))
    }

    private mutating func foundFirstMissing() {
        let gap = Gap(
            segment: firstSegment,
            name: JournalFormat.segmentName(firstSegment),
            range: 0..<0,
            isFile: false
        )
        found(gap, isDamage: true, "the file is missing")
        damages.append(gap)
    }

    private mutating func read(_ number: UInt32) throws {
        let name = JournalFormat.segmentName(number)
        let file = try fileSystem.open(directory.appending(name), creates: false)
        let bytes = try memory.load(file)
        let header = try SegmentHeader(bytes, file: name)
        let seed = header?.number == number ? header?.seed : nil
        let segment = SegmentFile(number: number, name: name, file: file, seed: seed ?? 0)
        parts.append(Part(file: segment, size: bytes.count, seed: seed))
        let reader = BatchReader(bytes: bytes, seed: seed)
        if seed == nil {
            let gap = Gap(segment: number, name: name, range: 0..<min(bytes.count, JournalFormat.headerBytes))
            if reader.isBlank(from: gap.range.upperBound) { return gaps.append(gap) }
            found(gap, isDamage: true, "the header of the file was expected")
        }
        read(reader, segment)
    }

    private mutating func read(_ reader: BatchReader, _ segment: SegmentFile) {
        var at = JournalFormat.headerBytes
        while true {
            if let batch = reader.batch(at: at) {
                take(batch, reader, segment)
                at = batch.end
                continue
            }
            if reader.isBlank(from: at) { return }
            // Without the header, a batch in a payload looks like one of the journal's.
            let later = reader.seed == nil ? nil : reader.laterBatch(behind: at)
            let end = later?.records.lowerBound ?? (reader.bytes.lastIndex { $0 != 0 } ?? at) + 1
            gaps.append(Gap(segment: segment.number, name: segment.name, range: at..<end))
            guard later != nil else { return }
            at = end
        }
    }

    private mutating func take(_ batch: BatchReader.Batch, _ reader: BatchReader, _ segment: SegmentFile) {
        if let expected, batch.number == expected {
            for gap in gaps {
                if gap.isFile {
                    found(gap, isDamage: false, "the index there cannot be read: a start reads the whole file")
                } else {
                    foundDamage(gap, found: batch.number)
                }
            }
        } else if expected != nil || !gaps.isEmpty {
            let here = Gap(
                segment: segment.number,
                name: segment.name,
                range: batch.records.lowerBound..<batch.records.lowerBound
            )
            let places = gaps.isEmpty ? [here] : gaps
            for gap in places { foundDamage(gap, found: batch.number) }
            damages += places
        }
        gaps = []
        parts[parts.count - 1].batches.append(batch)
        guard IndexPage(batch, reader.bytes) == nil else {
            expected = batch.number
            return
        }
        expected = batch.number + 1
        for (_, head, cursor) in RecordSequence(reader.bytes, batch.records) where head.kind == .firstSegment {
            var cursor = cursor
            firstSegment = max(firstSegment, cursor.integer())
        }
    }

    private mutating func foundDamage(_ gap: Gap, found number: UInt64) {
        guard gap.isFile else { return found(gap, isDamage: true, "the file is missing") }
        let wanted = expected.map { "batch \($0)" } ?? "the first batch"
        found(gap, isDamage: true, "\(wanted) was expected, and behind \(gap.range.count) bytes stands batch \(number)")
    }

    private mutating func found(_ gap: Gap, isDamage: Bool, _ reason: String) {
        found(gap.segment, gap.name, at: gap.range, isDamage: isDamage, reason)
    }

    private mutating func found(
        _ segment: UInt32,
        _ name: String,
        at range: Range<Int>,
        isDamage: Bool,
        _ reason: String
    ) {
        let finding = JournalFinding(
            file: name,
            offset: range.lowerBound,
            bytes: range.count,
            isDamage: isDamage,
            reason: reason
        )
        findings.append((segment, finding))
    }
}

/// The records between two offsets, one behind the other; their checksums have been looked at.
struct RecordSequence: Sequence, IteratorProtocol {
    private let bytes: UnsafeRawBufferPointer
    private var at: Int
    private let end: Int

    init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        self.bytes = bytes
        at = range.lowerBound
        end = range.upperBound
    }

    mutating func next() -> (offset: Int, head: RecordHead, body: RecordCursor)? {
        guard at < end, let head = RecordHead(unchecked: bytes, at: at), at + head.bytes <= bytes.count else {
            return nil
        }
        defer { at += head.bytes }
        return (at, head, head.body(bytes, at: at))
    }
}

/// One file at a time in memory that is used again.
final class SegmentMemory {
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    deinit { memory.deallocate() }

    /// All bytes of a file; they are there until the next call.
    func load(_ file: any File) throws(FileError) -> UnsafeRawBufferPointer {
        try load(file, 0..<file.bytes)
    }

    func load(_ file: any File, _ range: Range<Int>) throws(FileError) -> UnsafeRawBufferPointer {
        if memory.count < range.count {
            memory.deallocate()
            memory = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: 16)
        }
        let target = UnsafeMutableRawBufferPointer(rebasing: memory[..<range.count])
        let count = try file.read(at: range.lowerBound, into: target)
        return UnsafeRawBufferPointer(rebasing: memory[..<count])
    }
}

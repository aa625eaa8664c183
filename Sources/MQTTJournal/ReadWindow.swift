import MQTTPackets
import MQTTStore
import NIOCore

/// A stretch of a segment in memory, moved along as records are asked for.
final class ReadWindow {
    static let stepBytes = 128 << 10
    /// Where only this record is wanted of its neighbourhood.
    static let aloneBytes = 4 << 10

    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var segment: SegmentFile?
    private var start = 0
    private var count = 0

    deinit { memory.deallocate() }

    /// A record and its head, checked; the bytes are there until the next call. Throws `damaged` where there is none.
    func record(
        _ segment: SegmentFile,
        at offset: Int,
        readingAhead step: Int = stepBytes
    ) throws -> (head: RecordHead, bytes: UnsafeRawBufferPointer) {
        try load(segment, at: offset, count: JournalFormat.recordHeadBytes, step)
        guard let head = RecordHead(unchecked: loaded(from: offset), at: 0) else { throw damage(segment, offset) }
        try load(segment, at: offset, count: head.bytes, step)
        let bytes = loaded(from: offset)
        guard let head = RecordHead(bytes, at: 0) else { throw damage(segment, offset) }
        return (head, UnsafeRawBufferPointer(rebasing: bytes[..<head.bytes]))
    }

    private func damage(_ segment: SegmentFile, _ offset: Int) -> JournalError {
        .damaged(file: segment.name, offset: offset)
    }

    private func loaded(from offset: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: memory[(offset - start)..<count])
    }

    private func load(_ segment: SegmentFile, at offset: Int, count wanted: Int, _ step: Int) throws {
        if self.segment === segment, offset >= start, offset + wanted <= start + count { return }
        let size = max(wanted, step)
        // A length that was damaged is not worth gigabytes of memory.
        if wanted > step, try offset + wanted > segment.file.bytes { throw damage(segment, offset) }
        if memory.count < size {
            memory.deallocate()
            memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
        }
        self.segment = nil
        count = try segment.file.read(at: offset, into: UnsafeMutableRawBufferPointer(rebasing: memory[..<size]))
        start = offset
        self.segment = segment
        guard count >= wanted else { throw damage(segment, offset) }
    }
}

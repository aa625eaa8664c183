import MQTTPackets
import MQTTStore
import NIOCore

/// A stretch of a segment in memory, moved along as records are asked for.
final class ReadWindow {
    private static let stepBytes = 128 << 10

    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var segment: SegmentFile?
    private var start = 0
    private var count = 0

    deinit { memory.deallocate() }

    /// A record and its head, checked; the bytes are there until the next call. Throws `damaged` where there is none.
    func record(_ segment: SegmentFile, at offset: Int) throws -> (head: RecordHead, bytes: UnsafeRawBufferPointer) {
        try load(segment, at: offset, count: JournalFormat.recordHeadBytes)
        guard let head = RecordHead(unchecked: loaded(from: offset), at: 0) else { throw damage(segment, offset) }
        try load(segment, at: offset, count: head.bytes)
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

    private func load(_ segment: SegmentFile, at offset: Int, count wanted: Int) throws {
        if self.segment === segment, offset >= start, offset + wanted <= start + count { return }
        let size = max(wanted, Self.stepBytes)
        // A length that was damaged is not worth gigabytes of memory.
        if wanted > Self.stepBytes, try offset + wanted > segment.file.bytes { throw damage(segment, offset) }
        if memory.count < size {
            memory.deallocate()
            memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
        }
        self.segment = nil
        count = try segment.file.read(at: offset, into: memory)
        start = offset
        self.segment = segment
        guard count >= wanted else { throw damage(segment, offset) }
    }
}

/// Where the messages of a page stand: to be read wherever there is time, whatever becomes of the journal meanwhile.
package struct JournalPage: Sendable {
    let entries: [QueueEntry]
    let files: [UInt32: SegmentFile]
    let bytesMax: Int

    /// What a message without a body counts as.
    static let emptyBytes = 32

    package func read() throws -> [StoredMessage] {
        let window = ReadWindow()
        var messages: [StoredMessage] = []
        messages.reserveCapacity(entries.count)
        var bytes = 0
        for entry in entries where bytes < bytesMax {
            guard let file = files[entry.segment] else { continue }
            let stored = try Self.read(entry, file, window)
            bytes += Self.emptyBytes + (stored.message?.encodedBytes ?? 0)
            messages.append(stored)
        }
        return messages
    }

    private static func read(_ entry: QueueEntry, _ file: SegmentFile, _ window: ReadWindow) throws -> StoredMessage {
        var message: Message?
        if entry.message != 0 {
            let (head, bytes) = try window.record(file, at: Int(entry.message))
            let body = UnsafeRawBufferPointer(rebasing: bytes[JournalFormat.recordHeadBytes...])
            guard head.kind == .message, let decoded = Message(decoding: ByteBuffer(bytes: body)) else {
                throw JournalError.damaged(file: file.name, offset: Int(entry.message))
            }
            message = decoded
        }
        let (head, bytes) = try window.record(file, at: Int(entry.receivers))
        var cursor = head.body(bytes, at: 0)
        cursor.skip(8)
        var receiver = cursor.receiver()
        for _ in 0..<entry.position { receiver = cursor.receiver() }
        guard head.kind == .receivers, !cursor.isBad, receiver.number == entry.number else {
            throw JournalError.damaged(file: file.name, offset: Int(entry.receivers))
        }
        let extra = cursor.extra(of: receiver)
        return StoredMessage(
            number: entry.number,
            message: message,
            qos: receiver.qos,
            isRetained: receiver.isRetained,
            identifiers: extra.identifiers,
            sharedFilter: extra.sharedFilter
        )
    }
}

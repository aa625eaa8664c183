import MQTTPackets
import NIOCore

/// A page of the index of a segment: what the records of a stretch of it say, but for what messages carry. With the pages
/// of a segment a start need not read the rest of it.
///
///     ┌────────┬─────────┬─────────┬──────┬─────────┬─────────┬──────┐
///     │ header │ batch 7 │ batch 8 │ page │ batch 9 │ batch 10│ page │  the end of the file: it is sealed
///     └────────┴─────────┴─────────┴──────┴─────────┴─────────┴──────┘
///              └──── stretch ────┘ ▲  │   └──── stretch ────┘    │
///                                  └──│──────────────────────────┘ each page says where the one before it is
///
/// A page is a batch of its own with one record. Its number is that of the batch behind it, so that nothing is missing
/// where it cannot be read.
struct IndexPage {
    /// Where the page before it begins; 0 where it is the first of its segment.
    let previous: Int
    /// The number of the first batch in the stretch.
    let firstBatch: UInt64
    /// Where the stretch begins.
    let start: Int
    /// The stretch again, without checksums and what messages carry. Empty where that would spare too little: then the
    /// stretch itself is to be read.
    let copies: RecordCursor

    /// Nil where the batch is none.
    init?(_ batch: BatchReader.Batch, _ bytes: UnsafeRawBufferPointer) {
        let at = batch.records.lowerBound
        guard let head = RecordHead(unchecked: bytes, at: at), head.kind == .index,
            at + head.bytes == batch.records.upperBound
        else { return nil }
        var cursor = head.body(bytes, at: at)
        previous = Int(cursor.integer(UInt32.self))
        firstBatch = cursor.integer()
        start = Int(cursor.integer(UInt32.self))
        if cursor.isBad { return nil }
        copies = cursor
    }

    /// The bytes of a body that are kept.
    static func keptBytes(_ kind: JournalFormat.Kind, _ body: RecordCursor) -> Int {
        var body = body
        switch kind {
        case .endMark, .message: return 0
        case .retained:
            body.skip(8)
            return 10 + Int(body.integer(UInt16.self))
        default: return body.remaining
        }
    }
}

/// What the next page of the segment that is being written will say.
struct IndexPageBuilder {
    private var previous = 0
    private var firstBatch: UInt64
    private(set) var start = JournalFormat.headerBytes
    private(set) var copies = ByteBuffer()

    init(firstBatch: UInt64) { self.firstBatch = firstBatch }

    mutating func add(_ head: RecordHead, _ bytes: UnsafeRawBufferPointer, at offset: Int) {
        let body = head.body(bytes, at: offset)
        let kept = min(body.remaining, IndexPage.keptBytes(head.kind, body))
        copies.writeWithUnsafeMutableBytes(minimumWritableBytes: 5 + kept) { target in
            var writer = RawWriter(target)
            writer.integer(UInt32(head.bytes))
            writer.integer(head.kind.rawValue)
            writer.copy(UnsafeRawBufferPointer(rebasing: bytes[body.at..<(body.at + kept)]))
            return writer.count
        }
    }

    func isDue(at end: Int, stretchBytes: Int) -> Bool { end - start >= stretchBytes }

    /// The page of all up to `end`.
    func encode(into encoder: inout BatchEncoder, end: Int) {
        encoder.encodeIndex(previous: previous, firstBatch: firstBatch, start: start, copies: kept(end))
    }

    /// Where the copies would be more than a third of the stretch, reading them spares too little for what they take.
    private func kept(_ end: Int) -> ByteBuffer { copies.readableBytes > (end - start) / 3 ? ByteBuffer() : copies }

    /// Whether a page that ends at `end` says what was added.
    func agrees(with page: IndexPage, end: Int) -> Bool {
        page.previous == previous && page.firstBatch == firstBatch && page.start == start
            && kept(end).readableBytesView.elementsEqual(page.copies.bytes[page.copies.at..<page.copies.end])
    }

    /// A page stands from `offset` to `end`: the next one is about what comes behind it.
    mutating func pageEnded(from offset: Int, to end: Int, nextBatch: UInt64) {
        previous = offset
        firstBatch = nextBatch
        start = end
        // What one large batch took is not kept for all small ones.
        if copies.capacity > 2 << 20 { copies = ByteBuffer() }
        copies.clear()
    }
}

/// The pages of a sealed segment, found from its end.
struct SegmentIndex {
    /// A page and where it stands; the bytes are those of its batch.
    struct Page {
        let bytes: [UInt8]
        let offset: Int
        let number: UInt64
    }

    /// In the order in which they were written.
    let pages: [Page]

    /// Nil where the file does not end with a page, or one of the pages cannot be read.
    init?(_ file: SegmentFile, size: Int) throws(FileError) {
        var pages: [Page] = []
        guard var start = try Self.lastBatch(file, size: size) else { return nil }
        var end = size
        while true {
            var bytes = [UInt8](repeating: 0, count: end - start)
            let count = try Self.read(file, at: start, into: &bytes)
            let reader = { (bytes: UnsafeRawBufferPointer) -> (number: UInt64, previous: Int, start: Int)? in
                let reader = BatchReader(bytes: bytes, seed: file.seed, base: start)
                guard count == bytes.count, let batch = reader.batch(at: 0), batch.end == count,
                    let page = IndexPage(batch, bytes)
                else { return nil }
                return (batch.number, page.previous, page.start)
            }
            guard let page = bytes.withUnsafeBytes(reader) else { return nil }
            pages.append(Page(bytes: bytes, offset: start, number: page.number))
            guard page.previous > 0 else {
                guard page.start == JournalFormat.headerBytes else { return nil }
                break
            }
            guard page.previous < page.start, page.start < start else { return nil }
            (start, end) = (page.previous, page.start)
        }
        self.pages = pages.reversed()
    }

    /// Where the batch begins that ends with the file.
    private static func lastBatch(_ file: SegmentFile, size: Int) throws(FileError) -> Int? {
        let at = size - JournalFormat.endMarkBytes
        guard at > JournalFormat.headerBytes else { return nil }
        var bytes = [UInt8](repeating: 0, count: JournalFormat.endMarkBytes)
        guard try read(file, at: at, into: &bytes) == bytes.count else { return nil }
        let start = bytes.withUnsafeBytes { bytes -> Int? in
            guard let head = RecordHead(bytes, at: 0), head.kind == .endMark else { return nil }
            var cursor = head.body(bytes, at: 0)
            cursor.skip(8)
            return at - Int(cursor.integer(UInt32.self))
        }
        guard let start, start > JournalFormat.headerBytes else { return nil }
        return start
    }

    private static func read(_ file: SegmentFile, at offset: Int, into bytes: inout [UInt8]) throws(FileError) -> Int {
        let result = bytes.withUnsafeMutableBytes { target -> Result<Int, FileError> in
            do throws(FileError) {
                return .success(try file.file.read(at: offset, into: target))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}

/// Finds the batches in the bytes of a segment.
struct BatchReader {
    let bytes: UnsafeRawBufferPointer
    /// Nil where the header is lost: then a batch is taken for what it is in all but its place.
    let seed: UInt32?
    /// Where in the segment the bytes begin.
    var base = 0

    struct Batch {
        let number: UInt64
        let records: Range<Int>
        /// Where the next one begins.
        let end: Int
    }

    /// The batch at `start`, every checksum of which is right; nil where there is none.
    func batch(at start: Int) -> Batch? {
        var (at, chain) = (start, UInt32(0))
        while let head = RecordHead(bytes, at: at) {
            if head.kind == .endMark {
                return end(at, head, start: start, chain: chain)
            }
            chain = head.chained(chain)
            at += head.bytes
        }
        return nil
    }

    private func end(_ at: Int, _ head: RecordHead, start: Int, chain: UInt32) -> Batch? {
        var cursor = head.body(bytes, at: at)
        let number: UInt64 = cursor.integer()
        let size: UInt32 = cursor.integer()
        let stated: UInt32 = cursor.integer()
        let check: UInt32 = cursor.integer()
        guard !cursor.isBad, Int(size) == at - start, stated == chain else { return nil }
        if let seed {
            let place = base + start
            let expected = JournalFormat.check(seed: seed, batch: number, offset: place, bytes: size, chain: chain)
            guard check == expected else { return nil }
        }
        return Batch(number: number, records: start..<at, end: at + head.bytes)
    }

    /// The first whole batch that ends behind `offset`, wherever it begins.
    func laterBatch(behind offset: Int) -> Batch? {
        var at = offset
        // What an end mark begins with: its length, and four bytes on its kind.
        let length = UInt32(JournalFormat.endMarkBytes - 8).bigEndian
        while at + JournalFormat.endMarkBytes <= bytes.count {
            if bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self) == length, bytes[at + 8] == 0,
                let head = RecordHead(bytes, at: at), head.kind == .endMark
            {
                var cursor = head.body(bytes, at: at)
                cursor.skip(8)
                let start = at - Int(cursor.integer(UInt32.self))
                if start >= JournalFormat.headerBytes, let batch = batch(at: start), batch.end == at + head.bytes {
                    return batch
                }
            }
            at += 1
        }
        return nil
    }

    /// Whether nothing but zeros stands from `offset` on.
    func isBlank(from offset: Int) -> Bool {
        var at = offset
        while at + 8 <= bytes.count {
            if bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self) != 0 { return false }
            at += 8
        }
        while at < bytes.count {
            if bytes[at] != 0 { return false }
            at += 1
        }
        return true
    }
}

import MQTTPackets
import MQTTStore
import NIOCore

/// Where the messages of some pages stand: to be read wherever there is time, whatever becomes of the journal meanwhile.
///
/// They are read in the order of the files and not page by page: what many sessions have queued at the same time stands
/// side by side, and a message that several of them have is decoded once.
package struct JournalPlaces: Sendable {
    private struct Place {
        let entry: QueueEntry
        let page: Int
        let position: Int
    }

    /// What a message without a body counts as.
    private static let emptyBytes = 32
    /// Records that are no farther apart are read together.
    private static let gapBytes = 32 << 10

    private let pages: [StoredPage]
    private let places: [Place]
    private let files: [UInt32: SegmentFile]

    init(of pages: [StoredPage], in index: JournalIndex) {
        var places: [Place] = []
        var files: [UInt32: SegmentFile] = [:]
        for (number, page) in pages.enumerated() {
            guard page.count > 0, page.bytes > 0, let session = index.session(page.incarnation) else { continue }
            let most = min(page.count, page.bytes / Self.emptyBytes + 1)
            var bytes = 0
            for (position, entry) in session.queue.entries(from: page.number, count: most).enumerated() {
                guard bytes < page.bytes else { break }
                bytes += Self.bytes(of: entry)
                places.append(Place(entry: entry, page: number, position: position))
                if files[entry.segment] == nil { files[entry.segment] = index.segment(entry.segment)?.file }
            }
        }
        places.sort {
            ($0.entry.segment, $0.entry.receivers, $0.entry.position)
                < ($1.entry.segment, $1.entry.receivers, $1.entry.position)
        }
        self.pages = pages
        self.places = places
        self.files = files
    }

    /// About what a message counts as. How large one is that others have too is seen when it has been read.
    private static func bytes(of entry: QueueEntry) -> Int {
        guard entry.isSole else { return emptyBytes }
        let around = JournalFormat.receiversHeadBytes + JournalFormat.receiverBytes + JournalFormat.recordHeadBytes
        return emptyBytes + max(0, entry.bytes - around)
    }

    /// One page after the other.
    package func read() throws -> [[StoredMessage]] {
        var reader = Reader()
        var read: [[StoredMessage?]] = pages.map { _ in [] }
        for place in places { read[place.page].append(nil) }
        for (at, place) in places.enumerated() {
            guard let file = files[place.entry.segment] else { continue }
            let next = at + 1 < places.count ? places[at + 1].entry : place.entry
            let isNear = next.segment == place.entry.segment && next.receivers - place.entry.receivers < Self.gapBytes
            read[place.page][place.position] = try reader.read(place.entry, file, isNear: isNear)
        }
        return zip(pages, read).map { Self.cut($1, at: $0.bytes) }
    }

    private static func cut(_ messages: [StoredMessage?], at bytesMax: Int) -> [StoredMessage] {
        var kept: [StoredMessage] = []
        var bytes = 0
        for case let message? in messages where bytes < bytesMax {
            bytes += emptyBytes + (message.message?.encodedBytes ?? 0)
            kept.append(message)
        }
        return kept
    }

    /// Reads one record after the other and keeps the last message.
    private struct Reader {
        private let window = ReadWindow()
        private var last: (segment: UInt32, offset: UInt32, message: Message)?

        mutating func read(_ entry: QueueEntry, _ file: SegmentFile, isNear: Bool) throws -> StoredMessage {
            let ahead = isNear ? ReadWindow.stepBytes : ReadWindow.aloneBytes
            let message = entry.message == 0 ? nil : try message(entry, file, ahead)
            let (head, bytes) = try window.record(file, at: Int(entry.receivers), readingAhead: ahead)
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

        private mutating func message(_ entry: QueueEntry, _ file: SegmentFile, _ ahead: Int) throws -> Message {
            if let last, last.segment == entry.segment, last.offset == entry.message { return last.message }
            let (head, bytes) = try window.record(file, at: Int(entry.message), readingAhead: ahead)
            let body = UnsafeRawBufferPointer(rebasing: bytes[JournalFormat.recordHeadBytes...])
            guard head.kind == .message, let message = Message(decoding: ByteBuffer(bytes: body)) else {
                throw JournalError.damaged(file: file.name, offset: Int(entry.message))
            }
            last = (entry.segment, entry.message, message)
            return message
        }
    }
}

extension JournalLog {
    /// A session's messages that are not over, in the order of their numbers, from the first that is at least `number`:
    /// at most `count`, and no more once they have `bytes` together.
    package func messages(
        of incarnation: UInt64,
        from number: UInt64,
        count: Int,
        bytes: Int
    ) throws -> [StoredMessage] {
        let page = StoredPage(incarnation: incarnation, number: number, count: count, bytes: bytes)
        return try JournalPlaces(of: [page], in: index).read()[0]
    }
}

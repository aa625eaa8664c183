import MQTTPackets
import MQTTStore
import NIOCore
import SystemPackage

/// Reads a journal from its first segment to the last batch.
///
/// A batch that is not whole, with no whole one behind it, is what a loss of power has left of the last one: it is cut
/// off. With a whole one behind it anywhere, it was whole once, since each batch is written after the one before was
/// synced: then the journal is damaged. But where the whole one is the next, what stands before it was a page of an index.
struct Recovery {
    private let directory: FilePath
    private let fileSystem: any FileSystem
    private(set) var index = JournalIndex()
    private(set) var epochMax: UInt64 = 0
    private(set) var nextBatch: UInt64 = 1
    private var isFirstBatch = true
    /// Where the last batch of the last segment stands.
    private var lastBatch = 0..<0
    /// Where the page of the index stands that was written with the next batch.
    private var pageStart: Int?
    /// Where something stands that is no batch.
    private var invalid: JournalError?
    /// What the log is to say.
    private(set) var notices: [String] = []
    fileprivate let memory = SegmentMemory()

    private init(_ directory: FilePath, _ fileSystem: any FileSystem) {
        self.directory = directory
        self.fileSystem = fileSystem
    }

    /// All that is in a directory that is locked.
    static func run(_ directory: FilePath, _ fileSystem: any FileSystem) throws -> (Recovery, StoredState) {
        do {
            return try read(directory, fileSystem)
        } catch let damage as JournalError {
            // It may be in a file that does not count any more.
            let survey = try Survey(directory, fileSystem)
            guard survey.damages.isEmpty, try removeSegments(before: survey.firstSegment, directory, fileSystem) else {
                throw damage
            }
            return try read(directory, fileSystem)
        }
    }

    /// False where there is none.
    private static func removeSegments(
        before first: UInt32,
        _ directory: FilePath,
        _ fileSystem: any FileSystem
    ) throws -> Bool {
        let numbers = try fileSystem.names(in: directory).compactMap(JournalFormat.segmentNumber).filter { $0 < first }
        for number in numbers.sorted() { try fileSystem.remove(directory.appending(JournalFormat.segmentName(number))) }
        if !numbers.isEmpty { try fileSystem.syncDirectory(directory) }
        return !numbers.isEmpty
    }

    private static func read(_ directory: FilePath, _ fileSystem: any FileSystem) throws -> (Recovery, StoredState) {
        var recovery = Recovery(directory, fileSystem)
        let numbers = try recovery.removeLeftovers()
        for number in numbers { try recovery.read(number) }
        if let first = numbers.first, recovery.index.firstSegment < first {
            throw JournalError.missing(file: JournalFormat.segmentName(recovery.index.firstSegment))
        }
        try recovery.cut()
        recovery.index.finishReading()
        for segment in recovery.index.segments.dropLast() { segment.page = nil }
        try recovery.index.removeOldSegments(in: directory, fileSystem)
        return (recovery, try recovery.state())
    }

    /// The segments of the last unbroken row, in order; the others and files that were only set aside go.
    private func removeLeftovers() throws -> [UInt32] {
        let names = try fileSystem.names(in: directory)
        let numbers = names.compactMap(JournalFormat.segmentNumber).sorted()
        var start = max(0, numbers.count - 1)
        while start > 0, numbers[start - 1] + 1 == numbers[start] { start -= 1 }
        // Those before a gap are older than a segment that has been removed, and were to be removed before it.
        let leftovers = numbers[..<start].map(JournalFormat.segmentName) + names.filter { $0.hasPrefix("spare-") }
        for name in leftovers.sorted() { try fileSystem.remove(directory.appending(name)) }
        if !leftovers.isEmpty { try fileSystem.syncDirectory(directory) }
        return Array(numbers[start...])
    }

    private mutating func read(_ number: UInt32) throws {
        let name = JournalFormat.segmentName(number)
        let file = try fileSystem.open(directory.appending(name), creates: false)
        let size = try file.bytes
        guard
            let header = try SegmentHeader(try memory.load(file, 0..<min(size, JournalFormat.headerBytes)), file: name),
            header.number == number
        else {
            let bytes = try memory.load(file, 0..<size)
            return try readWithoutHeader(bytes, SegmentFile(number: number, name: name, file: file, seed: 0))
        }
        epochMax = max(epochMax, header.epoch)
        let segment = Segment(
            SegmentFile(number: number, name: name, file: file, seed: header.seed),
            end: JournalFormat.headerBytes,
            capacity: size
        )
        index.append(segment)
        (lastBatch, pageStart) = (0..<0, nil)
        if let pages = try SegmentIndex(segment.file, size: size)?.pages {
            for page in pages { try apply(page, segment) }
        } else {
            segment.page = IndexPageBuilder(firstBatch: nextBatch)
            try scan(BatchReader(bytes: try memory.load(file, 0..<size), seed: header.seed), segment)
        }
    }

    /// Takes up a page of a segment's index instead of the stretch that it is about.
    private mutating func apply(_ page: SegmentIndex.Page, _ segment: Segment) throws {
        try page.bytes.withUnsafeBytes { bytes in
            let reader = BatchReader(bytes: bytes, seed: segment.file.seed, base: page.offset)
            guard let batch = reader.batch(at: 0), let content = IndexPage(batch, bytes),
                content.start == segment.end, isFirstBatch || content.firstBatch == nextBatch
            else { throw invalid ?? JournalError.damaged(file: segment.file.name, offset: segment.end) }
            try noteInvalid()
            (nextBatch, isFirstBatch) = (content.firstBatch, false)
            if content.copies.remaining > 0 {
                try apply(content.copies, to: page.offset, segment)
                nextBatch = batch.number
            } else {
                let stretch = try memory.load(segment.file.file, content.start..<page.offset)
                try scan(BatchReader(bytes: stretch, seed: segment.file.seed, base: content.start), segment)
            }
            guard segment.end == page.offset, nextBatch == batch.number else {
                throw JournalError.damaged(file: segment.file.name, offset: segment.end)
            }
            segment.end += batch.end
        }
    }

    private mutating func apply(_ copies: RecordCursor, to end: Int, _ segment: Segment) throws {
        var cursor = copies
        while cursor.remaining > 0 {
            let place = RecordPlace(segment: segment.number, offset: UInt32(segment.end), bytes: cursor.integer())
            let kind = JournalFormat.Kind(rawValue: cursor.integer())
            let body = min(Int(place.bytes) - JournalFormat.recordHeadBytes, cursor.remaining)
            guard let kind, body >= 0 else { break }
            let rest = RecordCursor(cursor.bytes, from: cursor.at, to: cursor.at + body)
            let kept = RecordCursor(cursor.bytes, from: cursor.at, to: cursor.at + IndexPage.keptBytes(kind, rest))
            guard index.apply(kind, kept, at: place) else { break }
            cursor.skip(kept.end - kept.at)
            segment.end += Int(place.bytes)
        }
        if cursor.isBad { throw JournalError.damaged(file: segment.file.name, offset: end) }
    }

    /// Takes up all batches that there are.
    private mutating func scan(_ reader: BatchReader, _ segment: Segment) throws {
        while true {
            let at = segment.end - reader.base
            if let batch = reader.batch(at: at), isFirstBatch || batch.number == nextBatch {
                try noteInvalid()
                if IndexPage(batch, reader.bytes) == nil {
                    try apply(batch, reader, segment)
                } else {
                    segment.page?.pageEnded(from: segment.end, to: reader.base + batch.end, nextBatch: nextBatch)
                    pageStart = segment.end
                    segment.end = reader.base + batch.end
                }
                continue
            }
            guard !reader.isBlank(from: at) else { return }
            segment.isDirty = true
            let found = JournalError.damaged(file: segment.file.name, offset: segment.end)
            guard let later = reader.laterBatch(behind: at) else {
                invalid = invalid ?? found
                return
            }
            // The next batch stands behind it: it was a page.
            guard !isFirstBatch, later.number == nextBatch else { throw invalid ?? found }
            let end = reader.base + later.records.lowerBound
            notices.append(Self.notice(found))
            segment.holes.append(segment.end..<end)
            segment.page = nil
            segment.end = end
        }
    }

    /// What is not there has not been missed: the batch that comes next stands behind it.
    private mutating func noteInvalid() throws {
        guard let invalid else { return }
        // Which batch comes first nobody knows: it may be the one that cannot be read.
        guard !isFirstBatch else { throw invalid }
        notices.append(Self.notice(invalid))
        self.invalid = nil
    }

    private static func notice(_ error: JournalError) -> String { "\(error), but nothing is missing there" }

    /// The header is synced before the first batch is written: without one nothing else may be there.
    private mutating func readWithoutHeader(_ bytes: UnsafeRawBufferPointer, _ file: SegmentFile) throws {
        let found = JournalError.damaged(file: file.name, offset: 0)
        let start = min(bytes.count, JournalFormat.headerBytes)
        guard BatchReader(bytes: bytes, seed: 0).isBlank(from: start) else { throw found }
        index.append(Segment(file, end: 0, capacity: bytes.count))
        invalid = invalid ?? found
    }

    private mutating func apply(_ batch: BatchReader.Batch, _ reader: BatchReader, _ segment: Segment) throws {
        if isFirstBatch { segment.page = IndexPageBuilder(firstBatch: batch.number) }
        var at = batch.records.lowerBound
        while at < batch.end, let head = RecordHead(unchecked: reader.bytes, at: at) {
            let offset = reader.base + at
            let place = RecordPlace(segment: segment.number, offset: UInt32(offset), bytes: UInt32(head.bytes))
            guard index.apply(head.kind, head.body(reader.bytes, at: at), at: place) else {
                throw JournalError.damaged(file: segment.file.name, offset: offset)
            }
            segment.page?.add(head, reader.bytes, at: at)
            at += head.bytes
        }
        lastBatch = (pageStart ?? segment.end)..<(reader.base + batch.end)
        pageStart = nil
        segment.end = reader.base + batch.end
        nextBatch = batch.number + 1
        isFirstBatch = false
    }

    /// Takes away what a loss of power has left behind the last batch, before anything is written anew.
    private mutating func cut() throws {
        while let last = index.segments.last, last.end <= JournalFormat.headerBytes {
            try fileSystem.remove(directory.appending(last.file.name))
            index.removeLastSegment()
        }
        // A process that was killed has left what it wrote and did not sync to the system. It counts from here on, so it
        // has to last before anything is built on it.
        try fileSystem.syncDirectory(directory)
        guard let last = index.segments.last else { return }
        if last.isDirty || last.capacity > last.end { try last.file.file.truncate(to: last.end) }
        try writeLastBatchAgain(to: last.file.file)
        try last.file.file.sync()
        last.capacity = last.end
        last.isDirty = false
    }

    /// After a sync that failed the system may show what the disk does not have, and take it for written: it has to be
    /// written anew for a sync to mean anything. All batches before the last one were synced.
    private func writeLastBatchAgain(to file: any File) throws {
        guard !lastBatch.isEmpty else { return }
        var bytes = [UInt8](repeating: 0, count: lastBatch.count)
        let count = try bytes.withUnsafeMutableBytes { try file.read(at: lastBatch.lowerBound, into: $0) }
        try bytes[..<count].withUnsafeBytes { try file.write($0, at: lastBatch.lowerBound) }
    }

    private func state() throws -> StoredState {
        let retained = try retained()
        let sessions = index.sessions.values.map(\.stored).sorted { $0.incarnation < $1.incarnation }
        var state = StoredState(broker: index.broker, sessions: sessions, retained: retained)
        state.notices = notices
        return state
    }
}

extension Recovery {
    /// Retained messages this near to one another are read at once, and no more than so many bytes.
    private static let (gapBytesMax, runBytesMax) = (8 << 10, 1 << 20)

    private func retained() throws -> [StoredRetained] {
        let places = index.retained.values.sorted { ($0.segment, $0.offset) < ($1.segment, $1.offset) }
        var retained: [StoredRetained] = []
        retained.reserveCapacity(places.count)
        var start = 0
        while start < places.count {
            let first = places[start]
            var (next, end) = (start + 1, Int(first.offset + first.bytes))
            while next < places.count, places[next].segment == first.segment,
                Int(places[next].offset) < end + Self.gapBytesMax, end - Int(first.offset) < Self.runBytesMax
            {
                end = Int(places[next].offset + places[next].bytes)
                next += 1
            }
            try readRetained(places[start..<next], to: end, into: &retained)
            start = next
        }
        return retained
    }

    private func readRetained(
        _ places: ArraySlice<RecordPlace>,
        to end: Int,
        into retained: inout [StoredRetained]
    ) throws {
        guard let first = places.first, let segment = index.segment(first.segment) else { return }
        let bytes = try memory.load(segment.file.file, Int(first.offset)..<end)
        for place in places {
            let at = Int(place.offset - first.offset)
            guard let head = RecordHead(bytes, at: at), head.bytes == Int(place.bytes),
                let stored = head.retained(UnsafeRawBufferPointer(rebasing: bytes[at..<(at + head.bytes)]))
            else { throw JournalError.damaged(file: segment.file.name, offset: Int(place.offset)) }
            retained.append(stored)
        }
    }
}

extension RecordHead {
    /// The retained message of a record; nil where it has none.
    func retained(_ bytes: UnsafeRawBufferPointer) -> StoredRetained? {
        guard kind == .retained else { return nil }
        var cursor = body(bytes, at: 0)
        let version: UInt64 = cursor.integer()
        cursor.skip(Int(cursor.integer(UInt16.self)))
        guard let message = Message(decoding: cursor.buffer(cursor.remaining)) else { return nil }
        return StoredRetained(message, version: version)
    }
}

extension JournalLog {
    /// Opens the journal in a directory, which is made where it is not there, and reads it.
    package static func open(
        _ directory: FilePath,
        options: Options = Options(),
        fileSystem: any FileSystem
    ) throws -> (log: JournalLog, state: StoredState) {
        try fileSystem.makeDirectory(directory)
        let lock = try fileSystem.lockJournal(directory)
        let (recovery, state) = try Recovery.run(directory, fileSystem)
        return (JournalLog(directory, options, fileSystem, lock: lock, recovered: recovery), state)
    }
}

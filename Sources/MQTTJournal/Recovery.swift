import MQTTPackets
import MQTTStore
import NIOCore
import SystemPackage

/// Reads a journal from its first segment to the last batch.
///
/// A batch that is not whole, with no whole one behind it, is what a loss of power has left of the last one: it is cut
/// off. With a whole one behind it anywhere, it was whole once, since each batch is written after the one before was
/// synced: then the journal is damaged.
struct Recovery {
    private let directory: FilePath
    private let fileSystem: any FileSystem
    private(set) var index = JournalIndex()
    private(set) var epochMax: UInt64 = 0
    private(set) var nextBatch: UInt64 = 1
    private var isFirstBatch = true
    /// Where the last batch of the last segment stands.
    private var lastBatch = 0..<0
    /// Where something stands that is no batch.
    private var invalid: JournalError?
    private var memory = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    private init(_ directory: FilePath, _ fileSystem: any FileSystem) {
        self.directory = directory
        self.fileSystem = fileSystem
    }

    /// All that is in a directory that is locked.
    static func run(_ directory: FilePath, _ fileSystem: any FileSystem) throws -> (Recovery, StoredState) {
        var recovery = Recovery(directory, fileSystem)
        defer { recovery.memory.deallocate() }
        let numbers = try recovery.removeLeftovers()
        for number in numbers { try recovery.read(number) }
        if let first = numbers.first, recovery.index.firstSegment < first {
            throw JournalError.missing(file: JournalFormat.segmentName(recovery.index.firstSegment))
        }
        try recovery.cut()
        recovery.index.finishReading()
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
        let bytes = try load(file)
        guard let header = try SegmentHeader(bytes, file: name), header.number == number else {
            try readWithoutHeader(bytes, SegmentFile(number: number, name: name, file: file, seed: 0))
            return
        }
        epochMax = max(epochMax, header.epoch)
        let segment = Segment(
            SegmentFile(number: number, name: name, file: file, seed: header.seed),
            end: JournalFormat.headerBytes,
            capacity: bytes.count
        )
        index.append(segment)
        lastBatch = 0..<0
        let reader = BatchReader(bytes: bytes, seed: header.seed)
        while let batch = reader.batch(at: segment.end), isFirstBatch || batch.number == nextBatch {
            if let invalid { throw invalid }
            try apply(batch, reader, segment)
        }
        guard !reader.isBlank(from: segment.end) else { return }
        segment.isDirty = true
        let found = JournalError.damaged(file: name, offset: segment.end)
        if reader.laterBatch(behind: segment.end) != nil { throw invalid ?? found }
        invalid = invalid ?? found
    }

    private mutating func load(_ file: any File) throws -> UnsafeRawBufferPointer {
        let size = try file.bytes
        if memory.count < size {
            memory.deallocate()
            memory = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
        }
        let count = try file.read(at: 0, into: UnsafeMutableRawBufferPointer(rebasing: memory[..<size]))
        return UnsafeRawBufferPointer(rebasing: memory[..<count])
    }

    /// The header is synced before the first batch is written: without one nothing else may be there.
    private mutating func readWithoutHeader(_ bytes: UnsafeRawBufferPointer, _ file: SegmentFile) throws {
        let found = JournalError.damaged(file: file.name, offset: 0)
        let start = min(bytes.count, JournalFormat.headerBytes)
        guard BatchReader(bytes: bytes, seed: 0).isBlank(from: start) else { throw found }
        index.append(Segment(file, end: 0, capacity: bytes.count))
        invalid = invalid ?? found
    }

    private mutating func apply(_ batch: BatchReader.Batch, _ reader: BatchReader, _ segment: Segment) throws {
        var at = batch.records.lowerBound
        while at < batch.records.upperBound, let head = RecordHead(unchecked: reader.bytes, at: at) {
            let place = RecordPlace(segment: segment.number, offset: UInt32(at), bytes: UInt32(head.bytes))
            guard index.apply(head.kind, head.body(reader.bytes, at: at), at: place) else {
                throw JournalError.damaged(file: segment.file.name, offset: at)
            }
            at += head.bytes
        }
        lastBatch = segment.end..<batch.end
        segment.end = batch.end
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
        let window = ReadWindow()
        var retained: [StoredRetained] = []
        retained.reserveCapacity(index.retained.count)
        let places = index.retained.values.sorted { ($0.segment, $0.offset) < ($1.segment, $1.offset) }
        for place in places {
            guard let segment = index.segment(place.segment) else { continue }
            let (head, bytes) = try window.record(segment.file, at: Int(place.offset))
            guard let stored = head.retained(bytes) else {
                throw JournalError.damaged(file: segment.file.name, offset: Int(place.offset))
            }
            retained.append(stored)
        }
        let sessions = index.sessions.values.map(\.stored).sorted { $0.incarnation < $1.incarnation }
        return StoredState(broker: index.broker, sessions: sessions, retained: retained)
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
        let lock: any File
        do throws(FileError) {
            lock = try fileSystem.lock(directory.appending("lock"))
        } catch let error where error.code == Errno.wouldBlock.rawValue {
            throw JournalError.inUse(directory: directory.string)
        }
        let (recovery, state) = try Recovery.run(directory, fileSystem)
        return (JournalLog(directory, options, fileSystem, lock: lock, recovered: recovery), state)
    }
}

import MQTTStore
import NIOCore
import SystemPackage

/// The journal without threads and time: an append-only log in segments, and the index of what is not over.
///
///      oldest                                        current     next  reserves
///     ┌────────┐ ┌────────┐ ┌────────┐ ┌────────┐ ┌────────┐   ┌ ─ ─ ┐ ┌ ─ ─ ┐ ┌ ─ ─ ┐
///     │▓░░░▓░░░│ │░░▓▓▓░░░│ │▓▓░▓▓▓▓░│ │▓▓▓▓▓▓▓▓│ │▓▓▓▓    │   │     │ │     │ │     │
///     └────────┘ └────────┘ └────────┘ └────────┘ └────────┘   └ ─ ─ ┘ └ ─ ─ ┘ └ ─ ─ ┘
///       │ what is live (▓) is copied ───────────────────▲         ▲       ▲ for compaction and for what the broker
///       ▼ then the file is removed                                │         still has to commit where the disk is full
///                                                                 │ set aside ahead
///
/// A batch is written, synced, and only then taken up into the index, from its own bytes, as when the journal is read.
/// Where a write fails for want of room nothing has happened, and the same batch or another can be committed later. Any
/// other failure is final.
///
/// A batch that finds no room goes to the drain reserve, and from then on the journal says that it is full: the broker is
/// to commit only what lets sessions drain. It is full until all files are set aside again.
package final class JournalLog {
    package struct Options: Sendable {
        package var segmentBytes = 64 << 20
        /// How much comes together before a page of the index is written.
        package var stretchBytes = 1 << 20
        /// Whether a commit waits for the disk.
        package var syncs = true
        /// What is set aside for batches of a full disk; at least a segment.
        package var reserveBytes = 0
        /// Goes into all checksums, so that nobody can know them beforehand.
        package var entropy: UInt64 = 0

        package init() {}
    }

    /// A file that has been set aside.
    struct Spare {
        let name: String
        let file: any File
        var capacity: Int
    }

    typealias Slot = ReferenceWritableKeyPath<JournalLog, Spare?>

    /// How far the oldest segment has been compacted.
    struct CompactionPoint {
        var segment: UInt32
        var offset: Int
    }

    let directory: FilePath
    let options: Options
    let fileSystem: any FileSystem
    /// Keeps others out while it is open.
    let lock: any File
    var index = JournalIndex()
    var encoder = BatchEncoder()
    var pageEncoder = BatchEncoder()
    /// Bytes of the pages that were written since the last batch.
    var pageBytes = 0
    /// Whether the last segment is the one being written: not before the first commit.
    var hasCurrent = false
    let epoch: UInt64
    var nextBatch: UInt64
    var next: Spare?
    /// As large as the largest segment, so that it can be copied where there is no other room.
    var compactionReserve: Spare?
    /// For batches where there is no other room.
    var drainReserve: Spare?
    private var spareNames = 0
    var compactionPoint: CompactionPoint?
    /// Bytes that were appended since compaction became due, less those that it copied.
    var debt = 0
    /// The last segment when compaction for want of room began.
    var fullPassEnd: UInt32?
    let window = ReadWindow()
    /// Whether the next batch goes to a segment of its own.
    var wantsNewSegment = false
    /// Whether there has been no room, and not all files are set aside again.
    package internal(set) var isFull = false
    /// Whether the last batch found no room, not even in reserve.
    private var isRefusing = false
    /// What has failed for good: every later commit throws it again.
    package internal(set) var failure: (any Error)?
    package var hasFailed: Bool { failure != nil }
    /// Why compaction has stopped for good.
    package internal(set) var compactionFailure: (any Error)?
    private(set) var counted = StoreStatistics()

    init(
        _ directory: FilePath,
        _ options: Options,
        _ fileSystem: any FileSystem,
        lock: any File,
        recovered: Recovery
    ) {
        self.directory = directory
        self.options = options
        self.fileSystem = fileSystem
        self.lock = lock
        index = recovered.index
        epoch = recovered.epochMax + 1
        nextBatch = recovered.nextBatch
    }

    /// Figures as of now.
    package var statistics: StoreStatistics {
        var statistics = counted
        statistics.totalBytes = index.totalBytes
        // A session counts as what a copy of its state takes, which may be more than the records that it came from.
        statistics.liveBytes = min(index.liveBytes, statistics.totalBytes)
        statistics.isFull = isFull
        statistics.lastFailure = (failure ?? compactionFailure).map { "\($0)" }
        return statistics
    }

    /// Makes all changes last or, where it throws, none; a `FileError` with `isFull` leaves the journal as it was.
    package func commit(_ changes: [StoreChange]) throws {
        if let failure { throw failure }
        encoder.clear()
        let point = isFull ? nil : encodeCopies(budget: copyBudget, isForced: false)
        let copied = encoder.bytes
        encoder.encode(changes)
        guard encoder.bytes > 0 else { return }
        isRefusing = true
        try write(reserve: \.drainReserve)
        isRefusing = false
        fullPassEnd = nil
        counted.commits += 1
        counted.changes += UInt64(changes.count)
        // The batch holds the copies, too: what is owed is what came without them, less what they were.
        debt = isCompactionDue ? max(0, debt + encoder.bytes + pageBytes - 2 * copied) : 0
        pageBytes = 0
        try finish(point)
    }

    /// Copies and appended bytes take turns; a step is bounded, but for a batch that was larger itself.
    private var copyBudget: Int { min(max(debt, 1 << 10), max(256 << 10, encoder.bytes)) }

    /// Writes and syncs what has been encoded, in the reserve where there is no other room, and takes it up.
    func write(reserve: Slot?) throws {
        do {
            let segment = try segment(for: encoder.bytes + JournalFormat.endMarkBytes, reserve: reserve)
            try writePageIfDue(segment)
            encoder.end(batch: nextBatch, seed: segment.file.seed, offset: segment.end)
            segment.isDirty = true
            try segment.file.file.write(encoder.buffer, at: segment.end)
            let start = ContinuousClock.now
            if options.syncs { try finally(segment.file.file.sync) }
            count(start.duration(to: .now))
            apply(to: segment)
        } catch let error as FileError where error.isFull {
            isFull = true
            throw error
        } catch {
            failure = error
            throw error
        }
    }

    /// What fails here fails for good, full or not: nobody knows what is on the disk.
    func finally<Value>(_ body: () throws(FileError) -> Value) throws -> Value {
        do {
            return try body()
        } catch {
            let final = error.isFull ? FileError(error.operation, error.path, code: Errno.ioError.rawValue) : error
            failure = final
            throw final
        }
    }

    private func count(_ wait: Duration) {
        let parts = wait.components
        let microseconds = UInt64(parts.seconds) * 1_000_000 + UInt64(parts.attoseconds / 1_000_000_000_000)
        counted.syncMicroseconds += microseconds
        counted.syncMicrosecondsMax = max(counted.syncMicrosecondsMax, microseconds)
    }

    /// The longest wait is that since it was asked for.
    package func forgetLongestWait() { counted.syncMicrosecondsMax = 0 }

    private func apply(to segment: Segment) {
        // Taken out of its object, to be changed where it stands.
        var page = segment.page
        segment.page = nil
        defer { segment.page = page }
        encoder.buffer.withUnsafeReadableBytes { bytes in
            var at = 0
            while let head = RecordHead(unchecked: bytes, at: at) {
                let place = RecordPlace(
                    segment: segment.number,
                    offset: UInt32(segment.end + at),
                    bytes: UInt32(head.bytes)
                )
                let isUnderstood = index.apply(head.kind, head.body(bytes, at: at), at: place)
                precondition(isUnderstood, "a record of its own cannot be read")
                page?.add(head, bytes, at: at)
                at += head.bytes
            }
        }
        segment.end += encoder.bytes
        nextBatch += 1
    }

    /// The segment that the next batch goes to.
    private func segment(for bytes: Int, reserve: Slot?) throws -> Segment {
        if hasCurrent, !wantsNewSegment, let current = index.segments.last, current.end + bytes <= current.capacity {
            return current
        }
        let (spare, slot) = try takeSpare(JournalFormat.headerBytes + bytes, reserve: reserve)
        let number = (index.segments.last?.number ?? index.firstSegment - 1) + 1
        let header = SegmentHeader(number: number, epoch: epoch, entropy: options.entropy)
        let name = JournalFormat.segmentName(number)
        do {
            try spare.file.write(header.encoded, at: 0)
            try finally(spare.file.sync)
            try fileSystem.rename(directory.appending(spare.name), to: directory.appending(name))
        } catch let error as FileError where error.isFull && !hasFailed {
            if let slot {
                self[keyPath: slot] = spare
            } else {
                try fileSystem.remove(directory.appending(spare.name))
            }
            throw error
        }
        try finally { () throws(FileError) in try fileSystem.syncDirectory(directory) }
        try sealCurrent()
        let file = SegmentFile(number: number, name: name, file: spare.file, seed: header.seed)
        let segment = Segment(file, end: JournalFormat.headerBytes, capacity: spare.capacity)
        segment.page = IndexPageBuilder(firstBatch: nextBatch)
        index.append(segment)
        hasCurrent = true
        wantsNewSegment = false
        return segment
    }

    /// Nothing may stand behind the last batch that could be taken for one, once another segment has batches.
    private func sealCurrent() throws {
        guard let current = index.segments.last, hasCurrent || current.page != nil else { return }
        if !isFull { try writeLastPage(current) }
        try finally { () throws(FileError) in
            try current.file.file.truncate(to: current.end)
            try current.file.file.sync()
        }
        current.capacity = current.end
        current.page = nil
    }

    /// A file for a new segment, and where it was set aside. A reserve is for where there is no other.
    private func takeSpare(_ bytes: Int, reserve: Slot?) throws(FileError) -> (Spare, Slot?) {
        if let spare = take(\.next, bytes) { return (spare, \.next) }
        do throws(FileError) {
            return (try setAside(max(segmentBytes, bytes)), nil)
        } catch let error where error.isFull {
            guard let reserve, let spare = take(reserve, bytes) else { throw error }
            isFull = true
            return (spare, reserve)
        }
    }

    private func take(_ slot: Slot, _ bytes: Int) -> Spare? {
        guard let spare = self[keyPath: slot], bytes <= spare.capacity else { return nil }
        self[keyPath: slot] = nil
        return spare
    }

    private func setAside(_ bytes: Int) throws(FileError) -> Spare {
        spareNames += 1
        let name = "spare-\(spareNames)"
        let path = directory.appending(name)
        let file = try fileSystem.open(path, creates: true)
        do {
            try file.allocate(bytes)
        } catch {
            try fileSystem.remove(path)
            throw error
        }
        return Spare(name: name, file: file, capacity: bytes)
    }

    private var drainReserveBytes: Int { max(options.segmentBytes, options.reserveBytes) }

    /// The size of a file for batches. With what copies of it take beyond, it is a segment.
    private var segmentBytes: Int { max(4_096, options.segmentBytes - options.segmentBytes / 64 - 4_096) }

    /// What all files take, with what is set aside.
    package var diskBytes: Int {
        [next, compactionReserve, drainReserve].reduce(segmentsBytes) { $0 + ($1?.capacity ?? 0) }
    }

    /// What all segments take, with what is not used yet of the current one.
    var segmentsBytes: Int {
        index.totalBytes + (index.segments.last.map { hasCurrent ? $0.capacity - $0.end : 0 } ?? 0)
    }

    /// What they are to take at most: three times what is live, and four segments.
    private var diskBytesMax: Int {
        3 * index.liveBytes + 4 * options.segmentBytes + drainReserveBytes - options.segmentBytes
    }

    /// Sets the files aside that will be needed, as far as there is room, and those first without which a full disk does
    /// not heal.
    package func prepare() throws {
        guard !hasFailed else { return }
        do throws(FileError) {
            // Copies come in more batches than what they are copied from.
            let largest = index.segments.reduce(segmentBytes) { max($0, $1.end) }
            let isWhole = try fill(\.compactionReserve, largest + largest / 64 + 4_096)
            guard try fill(\.drainReserve, drainReserveBytes), isWhole else {
                isFull = true
                return
            }
            // What is over goes first. A disk that was full is to have room for more than what is set aside.
            if next == nil, isFull || diskBytes + segmentBytes <= diskBytesMax { next = try setAside(segmentBytes) }
            isFull = isRefusing
        } catch let error where error.isFull {
            // It is tried again after the next batch.
        } catch {
            failure = error
            throw error
        }
    }

    /// Whether a reserve is as large as it is to be. Where there is less room a smaller one is better than none: each file
    /// that goes makes it larger.
    private func fill(_ slot: Slot, _ bytes: Int) throws(FileError) -> Bool {
        let least = self[keyPath: slot]?.capacity ?? 0
        var size = bytes
        while size > least, size == bytes || size >= least + max(2_048, bytes / 64) {
            do throws(FileError) {
                if let spare = self[keyPath: slot] {
                    try spare.file.allocate(size)
                    self[keyPath: slot]?.capacity = size
                } else {
                    self[keyPath: slot] = try setAside(size)
                }
                break
            } catch let error where error.isFull {
                // A part of it may have been set aside.
                if let spare = self[keyPath: slot] { try spare.file.truncate(to: spare.capacity) }
                size = least + (size - least) / 2
            }
        }
        return self[keyPath: slot].map { $0.capacity >= bytes } ?? false
    }
}

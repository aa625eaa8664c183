import MQTTStore
import SystemPackage

extension JournalIndex {
    /// Removes the files in front of the first segment that counts; whether there were any.
    @discardableResult
    mutating func removeOldSegments(in directory: FilePath, _ fileSystem: any FileSystem) throws(FileError) -> Bool {
        var isRemoved = false
        while let first = segments.first, first.number < firstSegment {
            try fileSystem.remove(directory.appending(first.file.name))
            removeFirstSegment()
            isRemoved = true
        }
        if isRemoved { try fileSystem.syncDirectory(directory) }
        return isRemoved
    }
}

/// Compaction: of the oldest segment only. Were it another, the record of an end could vanish before that of what it
/// ends. What is live is copied with its state as of the copy; in front of the changes of a batch, since these come
/// later. When the segment has been read through, the same batch says which segment is the first that counts, and once it
/// is synced the file goes.
extension JournalLog {
    /// How much of a segment a step reads.
    private static let scanBytes = 512 << 10

    /// Whether there is more that is over than what is live, and some segments.
    var isCompactionDue: Bool {
        guard compactionFailure == nil else { return false }
        let total = segmentsBytes
        return total > 2 * index.liveBytes + options.segmentBytes
            || index.segments.count > 32 + 4 * total / options.segmentBytes
    }

    private var isOldestSealed: Bool { !hasCurrent || wantsNewSegment || index.segments.count > 1 }

    /// One step: a batch of about so many bytes of copies. Whether there is more to do.
    package func compact(budgetBytes: Int = 256 << 10) throws -> Bool {
        try compact(budgetBytes: budgetBytes, isForced: false)
    }

    /// One step where the disk is full; false where it cannot help.
    package func compactFull(budgetBytes: Int = 256 << 10) throws -> Bool {
        guard let first = index.segments.first?.number, let last = index.segments.last?.number else { return false }
        // Once through all segments: until something ends, a second time finds nothing.
        let end = fullPassEnd ?? last
        fullPassEnd = end
        guard first <= end, index.totalBytes - index.liveBytes > options.segmentBytes / 4 else { return false }
        return try compact(budgetBytes: budgetBytes, isForced: true)
    }

    /// Copies all that is live and removes every segment that there is now.
    package func compactAll() throws {
        guard let last = index.segments.last?.number else { return }
        wantsNewSegment = true
        while let first = index.segments.first?.number, first <= last {
            guard try compact(budgetBytes: 1 << 20, isForced: true) else { return }
        }
    }

    /// Takes the room that has come on a full disk, or else makes some. Whether another step may make more.
    package func heal() throws -> Bool {
        try prepare()
        guard isFull, compactionFailure == nil else { return false }
        return try compactFull()
    }

    private func compact(budgetBytes: Int, isForced: Bool) throws -> Bool {
        if let failure { throw failure }
        encoder.clear()
        guard let point = encodeCopies(budget: budgetBytes, isForced: isForced) else {
            if let compactionFailure { throw compactionFailure }
            return false
        }
        if encoder.bytes > 0 { try write(reserve: isForced ? \.compactionReserve : nil) }
        debt = max(0, debt - encoder.bytes)
        try finish(point)
        return isForced || isCompactionDue
    }

    /// What was copied is committed: the next step begins behind it, and files that do not count any more go.
    func finish(_ point: CompactionPoint?) throws {
        if let point { compactionPoint = point }
        let isRemoved: Bool
        do {
            isRemoved = try index.removeOldSegments(in: directory, fileSystem)
        } catch {
            failure = error
            throw error
        }
        // Where the disk is full there is no room before a file has gone.
        let isMissing = next == nil || compactionReserve == nil || drainReserve == nil
        if isFull ? isRemoved : isMissing { try prepare() }
    }

    /// Encodes copies of what is live in the oldest segment; how far it came, nil where there is nothing to do.
    func encodeCopies(budget: Int, isForced: Bool) -> CompactionPoint? {
        guard let oldest = index.segments.first, isOldestSealed, compactionFailure == nil,
            isForced || isCompactionDue || compactionPoint?.segment == oldest.number
        else { return nil }
        var point = compactionPoint ?? CompactionPoint(segment: 0, offset: 0)
        if point.segment != oldest.number {
            point = CompactionPoint(segment: oldest.number, offset: JournalFormat.headerBytes)
        }
        do {
            if oldest.liveBytes == 0 { point.offset = oldest.end }
            var message: (from: Int, to: Int?) = (0, nil)
            let scanEnd = point.offset + Self.scanBytes
            while point.offset < oldest.end {
                if let hole = oldest.holes.first(where: { $0.contains(point.offset) }) {
                    point.offset = hole.upperBound
                    continue
                }
                let (head, bytes) = try window.record(oldest.file, at: point.offset)
                if head.kind != .receivers && (encoder.bytes >= budget || point.offset >= scanEnd) { return point }
                if head.kind == .message { message = (point.offset, nil) }
                if head.kind == .receivers {
                    try copyReceivers(oldest, at: point.offset, message: &message)
                } else {
                    copy(head, bytes, oldest, at: point.offset)
                }
                point.offset += head.bytes
            }
        } catch {
            // What cannot be read stays where it is. All else goes on.
            compactionFailure = error
            encoder.clear()
            return nil
        }
        encoder.encodeFirstSegment(firstWithLiveData(behind: oldest.number))
        return point
    }

    private func firstWithLiveData(behind number: UInt32) -> UInt32 {
        var first = number + 1
        while let segment = index.segment(first), segment.liveBytes == 0, first != index.segments.last?.number {
            first += 1
        }
        return first
    }

    private func copy(_ head: RecordHead, _ bytes: UnsafeRawBufferPointer, _ segment: Segment, at offset: Int) {
        let place = RecordPlace(segment: segment.number, offset: UInt32(offset), bytes: UInt32(head.bytes))
        var cursor = head.body(bytes, at: 0)
        switch head.kind {
        case .broker:
            if index.brokerPlace == place { encoder.copy(bytes, head) }
        case .began, .session:
            if let session = index.session(cursor.integer()), session.anchor == place { encoder.encode(session) }
        case .retained:
            cursor.skip(8)
            if index.retained[Name(cursor.text())] == place { encoder.copy(bytes, head) }
        default: break
        }
    }

    /// Copies the receivers that are not over, behind their message where one of them needs it.
    private func copyReceivers(_ segment: Segment, at offset: Int, message: inout (from: Int, to: Int?)) throws {
        var (head, bytes) = try window.record(segment.file, at: offset)
        var cursor = head.body(bytes, at: 0)
        let needsMessage = cursor.integer(UInt32.self) != 0
        cursor.skip(4)
        var live: [(receiver: RecordCursor.Receiver, hasMessage: Bool)] = []
        while cursor.remaining > 0 {
            let receiver = cursor.receiver()
            guard let entry = index.session(receiver.incarnation)?.queue[receiver.number],
                entry.segment == segment.number, entry.receivers == UInt32(offset)
            else { continue }
            live.append((receiver, entry.message != 0))
        }
        guard !live.isEmpty else { return }
        if needsMessage && message.to == nil && live.contains(where: \.hasMessage) {
            let (messageHead, messageBytes) = try window.record(segment.file, at: message.from)
            message.to = encoder.bytes
            encoder.copy(messageBytes, messageHead)
            (head, bytes) = try window.record(segment.file, at: offset)
        }
        let shared = segment.shared[UInt32(message.from)]?.receivers ?? 1
        for hasMessage in [true, false] {
            let group = live.filter { $0.hasMessage == hasMessage }
            if group.isEmpty { continue }
            let total = hasMessage ? Int(shared) : group.count
            encoder.beginReceivers(of: hasMessage ? message.to : nil, total: total)
            for (receiver, _) in group { encoder.copyReceiver(receiver, from: bytes) }
            encoder.finish()
        }
    }
}

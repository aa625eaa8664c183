import MQTTPackets
import MQTTStore
import NIOCore
import SystemPackage

/// What can be read of a journal: the index of all whole batches, and a way through what is live.
struct Salvage {
    /// A live record and what it holds.
    enum Live {
        case retained(StoredRetained)
        /// A message for those that still wait for it.
        case messages([(incarnation: UInt64, message: StoredMessage)])
    }

    private(set) var index = JournalIndex()
    private(set) var findings: [JournalFinding] = []
    private(set) var summary = JournalSummary()
    /// Messages of sessions of which nothing else is there.
    private(set) var orphans: [UInt64: Int] = [:]
    let survey: Survey

    init(_ survey: Survey) throws {
        self.survey = survey
        findings = survey.findings.map(\.finding)
        for part in survey.parts { try read(part) }
        if !survey.damages.isEmpty {
            for session in index.sessions.values where session.anchor == nil {
                orphans[session.incarnation] = session.queue.count
            }
        }
        index.finishReading()
        summary.segments = survey.parts.count
        summary.sessions = index.sessions.count
        summary.retained = index.retained.count
        summary.queued = index.sessions.values.reduce(0) { $0 + $1.queue.count }
        summary.totalBytes = index.segments.reduce(0) { $0 + $1.end }
        summary.liveBytes = min(index.liveBytes, summary.totalBytes)
    }

    private mutating func read(_ part: Survey.Part) throws {
        // Segments are looked up by the distance of their numbers. No record is in one that is missing.
        while let last = index.segments.last?.number, last + 1 < part.file.number {
            let missing = SegmentFile(number: last + 1, name: "", file: part.file.file, seed: 0)
            index.append(Segment(missing, end: 0, capacity: 0))
        }
        let segment = Segment(part.file, end: JournalFormat.headerBytes, capacity: part.size)
        index.append(segment)
        let bytes = try survey.memory.load(part.file.file)
        for batch in part.batches {
            if let page = IndexPage(batch, bytes) {
                check(page, batch, segment)
            } else {
                if segment.end == JournalFormat.headerBytes && batch.records.lowerBound == segment.end {
                    segment.page = IndexPageBuilder(firstBatch: batch.number)
                } else if batch.records.lowerBound != segment.end {
                    segment.page = nil
                }
                apply(batch, bytes, segment)
            }
            segment.end = batch.end
        }
        segment.page = nil
    }

    private mutating func apply(_ batch: BatchReader.Batch, _ bytes: UnsafeRawBufferPointer, _ segment: Segment) {
        summary.batches += 1
        for (offset, head, body) in RecordSequence(bytes, batch.records.lowerBound..<batch.end) {
            let place = RecordPlace(segment: segment.number, offset: UInt32(offset), bytes: UInt32(head.bytes))
            if !index.apply(head.kind, body, at: place) {
                found(segment.file, offset, head, "the record there makes no sense")
            }
            segment.page?.add(head, bytes, at: offset)
            if head.kind != .endMark { summary.records += 1 }
        }
    }

    /// A start believes what a page says of the batches in front of it.
    private mutating func check(_ page: IndexPage, _ batch: BatchReader.Batch, _ segment: Segment) {
        let start = batch.records.lowerBound
        if let expected = segment.page, start == segment.end, !expected.agrees(with: page, end: start) {
            let reason = "the index there does not say what stands in front of it"
            findings.append(
                JournalFinding(file: segment.file.name, offset: start, bytes: 0, isDamage: true, reason: reason)
            )
        }
        segment.page?.pageEnded(from: start, to: batch.end, nextBatch: batch.number)
    }

    private mutating func found(_ file: SegmentFile, _ offset: Int, _ head: RecordHead, _ reason: String) {
        findings.append(
            JournalFinding(file: file.name, offset: offset, bytes: head.bytes, isDamage: true, reason: reason)
        )
    }

    /// Calls `body` with all that is live but sessions, as it stands in the files.
    mutating func visitLive(_ body: (Live) throws -> Void) throws {
        for part in survey.parts {
            let bytes = try survey.memory.load(part.file.file)
            for batch in part.batches {
                for (offset, head, cursor) in RecordSequence(bytes, batch.records) {
                    switch head.kind {
                    case .retained: try visitRetained(part.file, bytes, offset, head, body)
                    case .receivers: try visitReceivers(part.file, bytes, offset, cursor, body)
                    default: break
                    }
                }
            }
        }
    }

    private mutating func visitRetained(
        _ file: SegmentFile,
        _ bytes: UnsafeRawBufferPointer,
        _ offset: Int,
        _ head: RecordHead,
        _ body: (Live) throws -> Void
    ) throws {
        var cursor = head.body(bytes, at: offset)
        cursor.skip(8)
        let place = RecordPlace(segment: file.number, offset: UInt32(offset), bytes: UInt32(head.bytes))
        guard index.retained[Name(cursor.text())] == place else { return }
        let record = UnsafeRawBufferPointer(rebasing: bytes[offset..<(offset + head.bytes)])
        guard let stored = head.retained(record) else {
            return found(file, offset, head, "the retained message there cannot be understood")
        }
        try body(.retained(stored))
    }

    private mutating func visitReceivers(
        _ file: SegmentFile,
        _ bytes: UnsafeRawBufferPointer,
        _ offset: Int,
        _ cursor: RecordCursor,
        _ body: (Live) throws -> Void
    ) throws {
        var cursor = cursor
        cursor.skip(8)
        var live: [(incarnation: UInt64, message: StoredMessage)] = []
        var message: (offset: UInt32, decoded: Message?) = (0, nil)
        while cursor.remaining > 0 {
            let receiver = cursor.receiver()
            guard let entry = index.session(receiver.incarnation)?.queue[receiver.number],
                entry.segment == file.number, entry.receivers == UInt32(offset)
            else { continue }
            if entry.message != message.offset { message = (entry.message, decode(file, bytes, Int(entry.message))) }
            if entry.message != 0 && message.decoded == nil { continue }
            let extra = cursor.extra(of: receiver)
            let stored = StoredMessage(
                number: receiver.number,
                message: entry.message == 0 ? nil : message.decoded,
                qos: receiver.qos,
                isRetained: receiver.isRetained,
                identifiers: extra.identifiers,
                sharedFilter: extra.sharedFilter
            )
            live.append((receiver.incarnation, stored))
        }
        if !live.isEmpty { try body(.messages(live)) }
    }

    private mutating func decode(_ file: SegmentFile, _ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Message? {
        guard let head = RecordHead(bytes, at: offset) else { return nil }
        var cursor = head.body(bytes, at: offset)
        if head.kind == .message, let message = Message(decoding: cursor.buffer(cursor.remaining)) { return message }
        found(file, offset, head, "the message there cannot be understood")
        return nil
    }
}

/// What is in a journal.
public struct JournalSummary: Sendable, Equatable {
    /// Files.
    public var segments = 0
    /// Whole ones.
    public var batches = 0
    /// Without those that end batches.
    public var records = 0
    /// That are not over.
    public var sessions = 0
    /// Messages in the queues of all sessions.
    public var queued = 0
    /// Topics with a retained message.
    public var retained = 0
    /// Bytes that hold something which is not over.
    public var liveBytes = 0
    /// Of all segments.
    public var totalBytes = 0
}

import MQTTStore
import NIOCore
import SystemPackage

/// What a repair has kept and what it has dropped.
public struct JournalRepair: Sendable {
    /// Of the new journal.
    public private(set) var summary = JournalSummary()
    /// What was wrong with the old one.
    public let findings: [JournalFinding]
    /// What is not in the new one, as far as it is known: sentences.
    public private(set) var losses: [String] = []

    /// The salvaged journal is written file by file, and read again as a broker would read it.
    init(of salvage: Salvage, to directory: FilePath, _ fileSystem: any FileSystem) throws {
        try fileSystem.makeDirectory(directory)
        guard try fileSystem.names(in: directory).isEmpty else {
            throw JournalError.notEmpty(directory: directory.string)
        }
        let lock = try fileSystem.lockJournal(directory)
        var salvage = salvage
        var writer = JournalWriter(directory, fileSystem, entropy: UInt64.random(in: .min ... .max))
        let index = salvage.index
        if let broker = index.broker { try writer.write { $0.encode(broker) } }
        for session in index.sessions.values.sorted(by: { $0.incarnation < $1.incarnation }) {
            try writer.write { $0.encode(session) }
        }
        try salvage.visitLive { live in
            try writer.write { encoder in
                switch live {
                case .retained(let retained): encoder.encode([.retained(retained)])
                case .messages(let messages):
                    encoder.encode(messages.map { .queued($0.message, incarnation: $0.incarnation) })
                }
            }
        }
        try writer.finish()
        findings = salvage.findings
        losses = try Self.losses(salvage)
        let written = try Salvage(Survey(directory, fileSystem))
        if let finding = written.findings.first {
            throw JournalError.damaged(file: finding.file, offset: finding.offset)
        }
        summary = written.summary
        withExtendedLifetime(lock) {}
    }

    private static func losses(_ salvage: Salvage) throws -> [String] {
        var losses: [String] = []
        for gap in salvage.survey.damages where gap.isFile && !gap.range.isEmpty {
            losses += try Remains(gap, salvage).sentences
        }
        for (incarnation, messages) in salvage.orphans.sorted(by: { $0.key < $1.key }) {
            losses.append("the session \(incarnation), whose client is not known, and \(messages) messages for it")
        }
        return losses
    }
}

/// What is still to be read of a stretch that is no batch any more: records that are whole.
private struct Remains {
    private static let namesMax = 20

    private var counts: [(kind: JournalFormat.Kind, count: Int)] = []
    private var clients: [String] = []
    private var topics: [String] = []
    private let place: String

    init(_ gap: Survey.Gap, _ salvage: Salvage) throws {
        place = "\(gap.range.count) bytes of \(gap.name) from byte \(gap.range.lowerBound) on"
        guard let part = salvage.survey.parts.first(where: { $0.file.number == gap.segment }) else { return }
        let bytes = try salvage.survey.memory.load(part.file.file)
        var at = gap.range.lowerBound
        while at < gap.range.upperBound, let head = RecordHead(unchecked: bytes, at: at),
            at + head.bytes <= gap.range.upperBound
        {
            if RecordHead(bytes, at: at) != nil, head.kind != .endMark {
                take(head, head.body(bytes, at: at), salvage.index)
            }
            at += head.bytes
        }
    }

    private mutating func take(_ head: RecordHead, _ body: RecordCursor, _ index: JournalIndex) {
        if let at = counts.firstIndex(where: { $0.kind == head.kind }) {
            counts[at].count += 1
        } else {
            counts.append((head.kind, 1))
        }
        var cursor = body
        switch head.kind {
        case .broker, .message, .firstSegment, .index, .endMark: break
        case .retained:
            cursor.skip(8)
            note(cursor.text(), in: &topics)
        case .retainedCleared: note(cursor.rest(), in: &topics)
        case .receivers:
            cursor.skip(8)
            while cursor.remaining > 0 { note(client(cursor.receiver().incarnation, index), in: &clients) }
        case .began:
            cursor.skip(12)
            note(cursor.text(), in: &clients)
        default: note(client(cursor.integer(), index), in: &clients)
        }
    }

    private func client(_ incarnation: UInt64, _ index: JournalIndex) -> String {
        index.session(incarnation)?.clientID ?? "session \(incarnation)"
    }

    private func note(_ name: String, in names: inout [String]) {
        if names.count <= Self.namesMax && !names.contains(name) { names.append(name) }
    }

    var sentences: [String] {
        let records = counts.filter { $0.kind != .broker }.map { "\($0.count) \($0.kind)" }.joined(separator: ", ")
        var text = place
        if !records.isEmpty { text += "; in them the records \(records)" }
        if !clients.isEmpty { text += "; of the clients \(list(clients))" }
        if !topics.isEmpty { text += "; of the retained topics \(list(topics))" }
        return [text]
    }

    private func list(_ names: [String]) -> String {
        let shown = names.prefix(Self.namesMax).map(\.debugDescription).joined(separator: ", ")
        return names.count > Self.namesMax ? shown + " and more" : shown
    }
}

/// Writes a journal from its first file on. Nothing of it counts before `finish`.
private struct JournalWriter {
    private static let batchBytes = 1 << 20
    private static let segmentBytes = 64 << 20

    private let directory: FilePath
    private let fileSystem: any FileSystem
    private let entropy: UInt64
    private var encoder = BatchEncoder()
    private var number: UInt32 = 0
    private var nextBatch: UInt64 = 1
    private var file: (any File)?
    private var seed: UInt32 = 0
    private var end = 0

    init(_ directory: FilePath, _ fileSystem: any FileSystem, entropy: UInt64) {
        self.directory = directory
        self.fileSystem = fileSystem
        self.entropy = entropy
    }

    mutating func write(_ body: (inout BatchEncoder) -> Void) throws {
        body(&encoder)
        if encoder.bytes > Self.batchBytes { try flush() }
    }

    private mutating func flush() throws {
        if file == nil || end + encoder.bytes > Self.segmentBytes { try beginSegment() }
        encoder.end(batch: nextBatch, seed: seed, offset: end)
        try file?.write(encoder.buffer, at: end)
        end += encoder.bytes
        nextBatch += 1
        encoder.clear()
    }

    private mutating func beginSegment() throws {
        try file?.sync()
        number += 1
        let header = SegmentHeader(number: number, epoch: 1, entropy: entropy)
        let file = try fileSystem.open(directory.appending(JournalFormat.segmentName(number)), creates: true)
        try file.write(header.encoded, at: 0)
        self.file = file
        seed = header.seed
        end = JournalFormat.headerBytes
    }

    mutating func finish() throws {
        if encoder.bytes > 0 { try flush() }
        try file?.sync()
        try fileSystem.syncDirectory(directory)
    }
}

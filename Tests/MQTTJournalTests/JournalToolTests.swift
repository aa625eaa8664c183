import MQTTJournal
import MQTTPackets
import MQTTStore
import MQTTStoreTesting
import NIOCore
import SystemPackage
import Testing

@Suite struct JournalToolTests {
    /// A journal, the batches that were committed to it one by one, and the segment that each is in.
    private struct Sample {
        let directory: TemporaryDirectory
        var batches: [[StoreChange]] = []
        var segments: [Int] = []

        /// Compaction is not due in two and a half segments.
        init(seed: UInt64, segmentBytes: Int = 16 << 10) throws {
            directory = try TemporaryDirectory()
            var changes = ChangeGenerator(seed: seed)
            changes.payloadBytesMax = 300
            let (log, _) = try JournalLog.open(directory, segmentBytes: segmentBytes)
            while log.statistics.totalBytes < segmentBytes * 2 {
                batches.append(changes.batch())
                try log.commit(batches[batches.count - 1])
                segments.append(try directory.segments.count)
            }
        }

        func contents(without isMissing: (Int) -> Bool = { _ in false }) -> StoreContents {
            var contents = StoreContents()
            for (number, batch) in batches.enumerated() where !isMissing(number) { contents.apply(batch) }
            return contents
        }
    }

    /// Repairs a journal, and opens the new one as a broker would; the first of the contents that it has, if any.
    private func repaired(
        _ directory: TemporaryDirectory,
        _ candidates: some Sequence<StoreContents>
    ) throws -> (repair: JournalRepair, found: Int?, differences: [String]) {
        let target = try TemporaryDirectory()
        defer { withExtendedLifetime(target) {} }
        let repair = try JournalTool(directory: directory.path.string).repair(to: target.path.string)
        #expect(try target.check().findings == [])
        let (log, state) = try JournalLog.open(target)
        var differences: [String] = []
        for (number, contents) in candidates.enumerated() {
            let more = try log.differences(from: contents, state: state)
            if more.isEmpty { return (repair, number, []) }
            differences += more.prefix(5)
        }
        return (repair, nil, Array(differences.prefix(20)))
    }

    /// The repaired journal holds this.
    private func expectRepaired(_ directory: TemporaryDirectory, _ contents: StoreContents) throws -> JournalRepair {
        let (repair, _, differences) = try repaired(directory, [contents])
        #expect(differences == [])
        return repair
    }

    @Test("A journal that is sound is found so, and its repair holds the same", arguments: UInt64(0)..<5)
    func sound(_ seed: UInt64) throws {
        let sample = try Sample(seed: seed)
        let contents = sample.contents()
        let (summary, findings) = try sample.directory.check()
        #expect(findings == [])
        #expect(summary.batches == sample.batches.count)
        #expect(summary.segments == (try sample.directory.segments.count))
        #expect(try expectRepaired(sample.directory, contents).losses == [])
    }

    @Test(
        "A flipped bit is found, and its repair keeps everything but the batch that it is in",
        arguments: UInt64(0)..<30
    )
    func flippedBit(_ seed: UInt64) throws {
        let sample = try Sample(seed: seed % 3)
        var random = SplitMix64(seed: seed)
        let names = try sample.directory.segments
        let name = names[random.below(names.count)]
        let bytes = try sample.directory.bytes(name)
        let end = try #require(bytes.lastIndex { $0 != 0 })
        let offset = random.below(end)
        try sample.directory.write([bytes[offset] ^ UInt8(1 << random.below(8))], to: name, at: offset)
        let findings = try sample.directory.check().findings
        #expect(findings.count == 1, "\(name), byte \(offset): \(findings)")
        #expect(findings.allSatisfy { $0.file == name && $0.offset <= offset })
        let all = sample.batches.indices.lazy.map { missing in sample.contents { $0 == missing } }
        let (repair, found, differences) = try repaired(sample.directory, chain(sample.contents(), all))
        #expect(repair.findings == findings)
        #expect(found != nil, "\(name), byte \(offset): more than a batch is missing: \(repair) \(differences)")
        let isLast = found == sample.batches.count
        #expect(found == 0 || isLast || repair.losses != [])
    }

    private func chain(_ first: StoreContents, _ others: some Sequence<StoreContents>) -> some Sequence<StoreContents> {
        [AnySequence([first]), AnySequence(others)].lazy.joined()
    }

    @Test("All damages are found, not the first alone")
    func allDamages() throws {
        let sample = try Sample(seed: 1)
        let name = "00000001.journal"
        let bytes = try sample.directory.bytes(name)
        for offset in [1_000, 5_000, 9_000] { try sample.directory.write([bytes[offset] ^ 1], to: name, at: offset) }
        let findings = try sample.directory.check().findings
        #expect(findings.count == 3)
        #expect(findings.allSatisfy { $0.isDamage && $0.bytes > 0 })
        #expect(throws: JournalError.self) {
            _ = try sample.directory.write([bytes[bytes.count - 1] ^ 1], to: name, at: bytes.count - 1)
            _ = try JournalLog.open(sample.directory)
        }
    }

    @Test("Without a segment the others are kept")
    func missingSegment() throws {
        let sample = try Sample(seed: 2)
        try LocalFileSystem().remove(sample.directory.path.appending("00000002.journal"))
        let findings = try sample.directory.check().findings
        #expect(findings.map(\.file) == ["00000002.journal"])
        #expect(findings.allSatisfy { $0.isDamage })
        _ = try expectRepaired(sample.directory, sample.contents { sample.segments[$0] == 2 })
    }

    @Test("Without the header of a segment nothing is lost", arguments: ["00000001.journal", "00000002.journal"])
    func damagedHeader(_ name: String) throws {
        let sample = try Sample(seed: 3)
        try sample.directory.write([UInt8](repeating: 0x5A, count: 36), to: name)
        #expect(throws: JournalError.self) { try JournalLog.open(sample.directory) }
        let findings = try sample.directory.check().findings
        #expect(findings.map(\.file) == [name])
        #expect(findings.allSatisfy { $0.isDamage && $0.offset == 0 })
        _ = try expectRepaired(sample.directory, sample.contents())
    }

    @Test("A torn tail is no damage, and everything before it is kept")
    func tornTail() throws {
        let sample = try Sample(seed: 4)
        let name = try #require(try sample.directory.segments.last)
        let end = try #require(try sample.directory.bytes(name).lastIndex { $0 != 0 })
        try sample.directory.write([UInt8](repeating: 0, count: 10), to: name, at: end - 9)
        let before = sample.contents { $0 == sample.batches.count - 1 }
        let findings = try sample.directory.check().findings
        #expect(findings.count == 1 && findings.allSatisfy { !$0.isDamage })
        #expect(try expectRepaired(sample.directory, before).losses == [])
        let (log, state) = try JournalLog.open(sample.directory)
        #expect(try log.differences(from: before, state: state) == [])
    }

    @Test("What has been compacted is no damage", arguments: UInt64(0)..<3)
    func compacted(_ seed: UInt64) throws {
        let directory = try TemporaryDirectory()
        var changes = ChangeGenerator(seed: seed)
        do {
            let (log, _) = try JournalLog.open(directory)
            for _ in 0..<300 { try log.commit(changes.batch()) }
        }
        #expect(try directory.segments.first != "00000001.journal")
        #expect(try directory.check().findings == [])
        _ = try expectRepaired(directory, changes.contents)
        let (before, after) = try JournalTool(directory: directory.path.string).compact()
        #expect(after < before)
        #expect(try LocalFileSystem().names(in: directory.path).allSatisfy { !$0.hasPrefix("spare-") })
        let (log, state) = try JournalLog.open(directory)
        #expect(try log.differences(from: changes.contents, state: state) == [])
    }

    @Test("A repair writes nowhere where there is something, and nothing is done to a journal in use")
    func refuses() throws {
        let sample = try Sample(seed: 5)
        let tool = JournalTool(directory: sample.directory.path.string)
        let other = try Sample(seed: 6)
        #expect(throws: JournalError.notEmpty(directory: other.directory.path.string)) {
            try tool.repair(to: other.directory.path.string)
        }
        let empty = try TemporaryDirectory()
        #expect(throws: JournalError.noJournal(directory: empty.path.string)) {
            try JournalTool(directory: empty.path.string).check()
        }
        let (log, _) = try JournalLog.open(sample.directory)
        #expect(throws: JournalError.inUse(directory: sample.directory.path.string)) { try tool.check() }
        #expect(throws: JournalError.inUse(directory: sample.directory.path.string)) { try tool.compact() }
        try log.commit([])
    }

    @Test("A dump is a line for each thing that is live")
    func dump() throws {
        let sample = try Sample(seed: 7)
        let contents = sample.contents()
        var kinds: [Substring: Int] = [:]
        let findings = try JournalTool(directory: sample.directory.path.string).dump { line in
            #expect(line.hasPrefix("{\"kind\":\"") && line.hasSuffix("}") && !line.contains("\n"))
            kinds[line.dropFirst(9).prefix { $0 != "\"" }, default: 0] += 1
        }
        #expect(findings == [])
        #expect(kinds["broker"] == 1)
        #expect(kinds["session"] == contents.sessions.count)
        #expect(kinds["retained", default: 0] == contents.retained.count)
        #expect(
            kinds["message", default: 0] == contents.sessions.keys.reduce(0) { $0 + contents.messages(of: $1).count }
        )
    }
}

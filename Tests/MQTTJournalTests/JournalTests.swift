import MQTTJournal
import MQTTPackets
import MQTTStore
import MQTTStoreTesting
import NIOCore
import Testing

@Suite struct JournalTests {
    @Test("The journal does what every store has to do", arguments: StoreConformance.cases, [4_096, 64 << 20])
    func conforms(_ conformance: StoreConformance.Case, segmentBytes: Int) async throws {
        let directory = try TemporaryDirectory()
        try await conformance.run {
            var configuration = JournalConfiguration()
            configuration.segmentBytes = segmentBytes
            return Journal(directory: directory.path.string, configuration: configuration)
        }
    }

    @Test("Random changes are there after each of many restarts, in tiny segments", arguments: UInt64(0)..<20)
    func keepsRandomChanges(_ seed: UInt64) throws {
        let directory = try TemporaryDirectory()
        var changes = ChangeGenerator(seed: seed)
        changes.payloadBytesMax = seed % 2 == 0 ? 300 : 20_000
        for _ in 0..<12 {
            let (log, state) = try JournalLog.open(directory)
            #expect(try log.differences(from: changes.contents, state: state) == [])
            for _ in 0..<40 {
                try log.commit(changes.batch())
                if seed % 3 == 0 { _ = try log.compact(budgetBytes: 2_000) }
            }
            #expect(try log.differences(from: changes.contents) == [])
        }
    }

    @Test("Compacting everything changes nothing", arguments: UInt64(0)..<5)
    func compactsAll(_ seed: UInt64) throws {
        let directory = try TemporaryDirectory()
        var changes = ChangeGenerator(seed: seed)
        for _ in 0..<5 {
            let (log, state) = try JournalLog.open(directory)
            #expect(try log.differences(from: changes.contents, state: state) == [])
            for _ in 0..<100 { try log.commit(changes.batch()) }
            try log.compactAll()
            #expect(try log.differences(from: changes.contents) == [])
            let statistics = log.statistics
            #expect(statistics.totalBytes < statistics.liveBytes * 3 / 2 + 4_096)
        }
    }

    @Test("A batch that is cut at any byte is not there, and what came before it is")
    func cutsTornTail() throws {
        let directory = try TemporaryDirectory()
        var changes = ChangeGenerator(seed: 3)
        changes.payloadBytesMax = 100
        changes.changesMax = 12
        var before = changes.contents
        var start = 0
        do {
            let (log, _) = try JournalLog.open(directory, segmentBytes: 1 << 20)
            for _ in 0..<20 {
                before = changes.contents
                start = log.statistics.totalBytes
                try log.commit(changes.batch())
            }
        }
        let bytes = try directory.bytes("00000001.journal")
        let end = try #require(bytes.lastIndex { $0 != 0 }) + 1
        for cut in start..<end {
            for filler in [0, 0xA5] as [UInt8] {
                let copy = try directory.copy()
                try copy.write([UInt8](repeating: filler, count: end - cut), to: "00000001.journal", at: cut)
                let (log, state) = try JournalLog.open(copy)
                // A zero may be what was there.
                let isWhole = filler == 0 && bytes[cut..<end].allSatisfy { $0 == 0 }
                let expected = isWhole ? changes.contents : before
                #expect(try log.differences(from: expected, state: state) == [], "cut at \(cut) of \(start)..<\(end)")
                try log.commit([.sessionBegan(incarnation: 1 << 40, clientID: "next", expiryInterval: 1)])
            }
        }
    }

    @Test("A bit that is flipped in front of the last batch is damage, with file and offset")
    func findsDamage() throws {
        let directory = try TemporaryDirectory()
        var changes = ChangeGenerator(seed: 4)
        changes.payloadBytesMax = 100
        var lastStart = 0
        do {
            let (log, _) = try JournalLog.open(directory, segmentBytes: 1 << 20)
            for _ in 0..<30 {
                lastStart = log.statistics.totalBytes
                try log.commit(changes.batch())
            }
        }
        let bytes = try directory.bytes("00000001.journal")
        for offset in stride(from: 0, to: lastStart, by: 7) {
            let copy = try directory.copy()
            try copy.write([bytes[offset] ^ UInt8(1 << (offset % 8))], to: "00000001.journal", at: offset)
            #expect(throws: JournalError.self, "at \(offset)") { try JournalLog.open(copy) }
        }
    }

    @Test("Damage in one segment is found by the batches of the next")
    func findsDamageAcrossSegments() throws {
        let directory = try TemporaryDirectory()
        var changes = ChangeGenerator(seed: 5)
        changes.payloadBytesMax = 100
        do {
            let (log, _) = try JournalLog.open(directory)
            while try directory.segments.count < 4 { try log.commit(changes.batch()) }
        }
        let names = try directory.segments
        for name in names.dropLast() {
            let bytes = try directory.bytes(name)
            let copy = try directory.copy()
            // In its first batch and, so that the file is read, in its index.
            try copy.write([bytes[80] ^ 1], to: name, at: 80)
            try copy.write([bytes[bytes.count - 1] ^ 1], to: name, at: bytes.count - 1)
            #expect(throws: JournalError.self) { try JournalLog.open(copy) }
        }
        let gap = try directory.copy()
        try LocalFileSystem().remove(gap.path.appending(names[1]))
        #expect(throws: JournalError.self) { try JournalLog.open(gap) }
        let headless = try directory.copy()
        try LocalFileSystem().remove(headless.path.appending(names[0]))
        #expect(throws: JournalError.self) { try JournalLog.open(headless) }
    }

    @Test("A journal that is published as a payload is no damage behind a torn tail")
    func ignoresPublishedJournal() throws {
        let directory = try TemporaryDirectory()
        let other = try TemporaryDirectory()
        var changes = ChangeGenerator(seed: 6)
        do {
            let (log, _) = try JournalLog.open(other, segmentBytes: 1 << 16)
            for _ in 0..<20 { try log.commit(changes.batch()) }
        }
        let published = ByteBuffer(bytes: try other.bytes("00000001.journal"))
        let message = Message(
            Publish(topic: "t", payload: published, qos: .atLeastOnce),
            publisher: nil,
            expiresAt: .max
        )
        var contents = StoreContents()
        let first: [StoreChange] = [.sessionBegan(incarnation: 1, clientID: "c", expiryInterval: 9)]
        contents.apply(first)
        var start = 0
        do {
            let (log, _) = try JournalLog.open(directory, segmentBytes: 1 << 20)
            try log.commit(first)
            start = log.statistics.totalBytes
            try log.commit([.queued(StoredMessage(number: 1, message: message, qos: .atLeastOnce), incarnation: 1)])
        }
        try directory.write([0xFF], to: "00000001.journal", at: start + 20)
        let (log, state) = try JournalLog.open(directory)
        #expect(try log.differences(from: contents, state: state) == [])
    }

    @Test("A directory that is open is not opened again")
    func locks() throws {
        let directory = try TemporaryDirectory()
        let (log, _) = try JournalLog.open(directory)
        #expect(throws: JournalError.inUse(directory: directory.path.string)) { try JournalLog.open(directory) }
        try log.commit([])
    }
}

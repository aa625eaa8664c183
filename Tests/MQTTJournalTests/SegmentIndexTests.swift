import MQTTJournal
import MQTTPackets
import MQTTStore
import MQTTStoreTesting
import NIOCore
import SystemPackage
import Testing

@Suite struct SegmentIndexTests {
    private static let segmentBytes = 4 << 20

    /// About five megabytes: one segment that is sealed and one that is not.
    private static func write(_ log: JournalLog, payloadBytes: Int, bytes: Int = 5 << 20) throws -> StoreContents {
        var contents = StoreContents()
        func commit(_ changes: [StoreChange]) throws {
            try log.commit(changes)
            contents.apply(changes)
        }
        try commit(
            (UInt64(1)...50).map { .sessionBegan(incarnation: $0, clientID: "client \($0)", expiryInterval: .max) }
        )
        var number: UInt64 = 0
        while log.statistics.totalBytes < bytes {
            var changes: [StoreChange] = []
            for _ in 0..<100 {
                let payload = ByteBuffer(repeating: UInt8(truncatingIfNeeded: number), count: payloadBytes)
                let message = Message(Publish(topic: "a/\(number % 7)", payload: payload, qos: .atLeastOnce))
                let stored = StoredMessage(number: number, message: message, qos: .atLeastOnce)
                changes += (1...UInt64(1 + number % 2)).map { .queued(stored, incarnation: ($0 * 7 + number) % 50 + 1) }
                if number > 500 && number % 3 == 0 {
                    changes.append(.finished(incarnation: number % 50 + 1, number: number - 350))
                }
                number += 1
            }
            changes.append(
                .retained(
                    StoredRetained(
                        Message(
                            Publish(
                                topic: "r/\(number % 300)",
                                payload: ByteBuffer(string: "\(number)"),
                                isRetained: true
                            )
                        ),
                        version: number
                    )
                )
            )
            try commit(changes)
        }
        return contents
    }

    private static func open(
        _ directory: TemporaryDirectory,
        _ system: any FileSystem = LocalFileSystem()
    ) throws -> (
        log: JournalLog, state: StoredState
    ) {
        var options = JournalLog.Options()
        options.segmentBytes = segmentBytes
        options.syncs = false
        return try JournalLog.open(directory.path, options: options, fileSystem: system)
    }

    @Test("A start on sealed segments is told what scanning them tells", arguments: [0, 30, 200, 3_000])
    func saysWhatScanningSays(_ payloadBytes: Int) throws {
        let directory = try TemporaryDirectory()
        let contents = try Self.write(Self.open(directory).log, payloadBytes: payloadBytes)
        let (log, state) = try Self.open(directory)
        #expect(try log.differences(from: contents, state: state) == [])
        #expect(state.notices == [])
        #expect(try directory.segments.count >= 2)
        let (summary, findings) = try directory.copy().check()
        #expect(findings == [])
        #expect(summary.queued == contents.sessions.keys.reduce(0) { $0 + contents.messages(of: $1).count })
    }

    @Test("A start reads the index of a sealed segment and not what its messages carry")
    func readsLittle() throws {
        let directory = try TemporaryDirectory()
        do {
            _ = try Self.write(Self.open(directory).log, payloadBytes: 1_000)
            // The last segment is sealed by the first commit of the next life.
            try Self.open(directory).log.commit([.retainedCleared(topic: "none")])
            // The room behind it is cut off by the next one.
            _ = try Self.open(directory)
        }
        let system = FailingFileSystem()
        let (log, _) = try Self.open(directory, system)
        let read = system.plan.withLock(\.bytesRead)
        #expect(read < log.statistics.totalBytes / 3, "\(read) of \(log.statistics.totalBytes) bytes were read")
    }

    @Test("A page that cannot be read, anywhere in it, is a notice, and the segment is read instead")
    func damagedPage() throws {
        let directory = try TemporaryDirectory()
        let contents = try Self.write(Self.open(directory).log, payloadBytes: 200)
        let name = "00000001.journal"
        let bytes = try directory.bytes(name)
        for distance in [1, 20, 29, 30, 1_000, 20_000] {
            let copy = try directory.copy()
            let offset = bytes.count - distance
            try copy.write([bytes[offset] ^ 4], to: name, at: offset)
            let (summary, findings) = try copy.check()
            #expect(findings.count == 1 && findings.allSatisfy { !$0.isDamage }, "\(findings)")
            #expect(summary.sessions == 50)
            let (log, state) = try Self.open(copy)
            #expect(state.notices.count == 1)
            #expect(try log.differences(from: contents, state: state) == [])
            // Compaction finds its way around it.
            try log.compactAll()
            #expect(try log.differences(from: contents) == [])
            #expect(try copy.segments.contains(name) == false)
        }
    }

    @Test("What a message carries is checked when it is read")
    func damagedPayload() throws {
        let directory = try TemporaryDirectory()
        let contents = try Self.write(Self.open(directory).log, payloadBytes: 1_000)
        let name = "00000001.journal"
        let bytes = try directory.bytes(name)
        // In the middle of one of the last payloads, all bytes of which are the same.
        let run = try #require(
            stride(from: bytes.count * 3 / 4, to: bytes.count - 900, by: 16).first { start in
                bytes[start..<(start + 900)].allSatisfy { $0 == bytes[start] && $0 != 0 }
            }
        )
        try directory.write([bytes[run] ^ 1], to: name, at: run)
        let (log, state) = try Self.open(directory)
        #expect(contents.differences(from: state) == [])
        #expect(throws: JournalError.self) {
            for incarnation in contents.sessions.keys {
                _ = try log.messages(of: incarnation, from: 0, count: .max, bytes: .max)
            }
        }
    }

    @Test("Three times the live bytes and four segments hold with the index", arguments: [0, 200])
    func boundsDiskUse(_ payloadBytes: Int) throws {
        let directory = try TemporaryDirectory()
        let (log, _) = try Self.open(directory)
        try log.commit([.sessionBegan(incarnation: 1, clientID: "c", expiryInterval: .max)])
        let depth: UInt64 = 20_000
        for number in 0..<(depth * 10) where number % 50 == 0 {
            let batch = (number..<(number + 50)).flatMap { number -> [StoreChange] in
                let payload = ByteBuffer(repeating: 7, count: payloadBytes)
                let message = Message(Publish(topic: "a/b", payload: payload, qos: .atLeastOnce))
                let queued = StoredMessage(number: number, message: message, qos: .atLeastOnce)
                return [.queued(queued, incarnation: 1)]
                    + (number >= depth ? [.finished(incarnation: 1, number: number - depth)] : [])
            }
            try log.commit(batch)
            let statistics = log.statistics
            if number > depth {
                #expect(statistics.totalBytes <= 3 * statistics.liveBytes + 4 * Self.segmentBytes)
            }
        }
    }
}

import CApusPlatform
import MQTTJournal
import MQTTPackets
import MQTTStore
import MQTTStoreTesting
import NIOCore
import SystemPackage
import Testing

@Suite struct CompactionTests {
    private static func queued(_ number: UInt64, of incarnation: UInt64, payloadBytes: Int) -> StoreChange {
        let payload = ByteBuffer(repeating: UInt8(truncatingIfNeeded: number), count: payloadBytes)
        let message = Message(Publish(topic: "a/b", payload: payload, qos: .atLeastOnce))
        return .queued(StoredMessage(number: number, message: message, qos: .atLeastOnce), incarnation: incarnation)
    }

    @Test("Three times the live bytes and four segments hold under random load", arguments: UInt64(0)..<10)
    func boundsRandomLoad(_ seed: UInt64) throws {
        let directory = try TemporaryDirectory()
        var options = JournalLog.Options()
        options.segmentBytes = 64 << 10
        options.syncs = false
        let (log, _) = try JournalLog.open(directory.path, options: options, fileSystem: LocalFileSystem())
        try log.prepare()
        var changes = ChangeGenerator(seed: seed)
        changes.payloadBytesMax = 10_000
        changes.sessions = 20
        var most = 0
        for _ in 0..<2_000 {
            try log.commit(changes.batch())
            most = max(most, log.statistics.liveBytes)
            #expect(log.diskBytes <= 3 * most + 4 * options.segmentBytes)
        }
        #expect(try log.differences(from: changes.contents) == [])
    }

    @Test("Three times the live bytes and four segments hold where queues turn over", arguments: [0, 100, 1_000])
    func boundsChurn(_ depth: UInt64) throws {
        let directory = try TemporaryDirectory()
        var options = JournalLog.Options()
        options.segmentBytes = 64 << 10
        options.syncs = false
        let (log, _) = try JournalLog.open(directory.path, options: options, fileSystem: LocalFileSystem())
        try log.commit((UInt64(1)...20).map { .sessionBegan(incarnation: $0, clientID: "\($0)", expiryInterval: .max) })
        // Some never take their messages, so that these are copied again and again.
        for number in UInt64(0)..<200 { try log.commit([Self.queued(number, of: 20, payloadBytes: 500)]) }
        for number in 0..<(depth * 10 + 5_000) {
            var batch = (UInt64(1)...19).map { Self.queued(number, of: $0, payloadBytes: 40) }
            if number >= depth { batch += (UInt64(1)...19).map { .finished(incarnation: $0, number: number - depth) } }
            try log.commit(batch)
            let most = 3 * log.statistics.liveBytes + 4 * options.segmentBytes
            if number > depth { #expect(log.diskBytes <= most) }
        }
        #expect(try log.messages(of: 20, from: 0, count: .max, bytes: .max).count == 200)
    }

    @Test("A sync that fails is final")
    func failedSyncIsFinal() throws {
        let directory = try TemporaryDirectory()
        let system = FailingFileSystem()
        let (log, _) = try JournalLog.open(directory.path, fileSystem: system)
        let batch: [StoreChange] = [.sessionBegan(incarnation: 1, clientID: "c", expiryInterval: 5)]
        try log.commit(batch)
        system.plan.withLock { $0.failsSyncs = true }
        #expect(throws: FileError.self) { try log.commit(batch) }
        system.plan.withLock { $0.failsSyncs = false }
        #expect(throws: FileError.self) { try log.commit(batch) }
        #expect(throws: FileError.self) { try log.compact() }
    }

    @Test("CRC-32C is the published one, with and without instructions of the processor")
    func checksums() {
        let digits = Array("123456789".utf8)
        #expect(apus_crc32c(0, digits, digits.count) == 0xE306_9283)
        var bytes: [UInt8] = []
        for count in 0..<300 {
            #expect(apus_crc32c(7, bytes, count) == apus_crc32c_portable(7, bytes, count))
            bytes.append(UInt8(truncatingIfNeeded: count &* 31 ^ 0x5A))
        }
    }
}

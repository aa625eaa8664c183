import MQTTJournal
import MQTTPackets
import MQTTStore
import MQTTStoreTesting
import NIOCore
import SystemPackage
import Testing

@Suite struct FullDiskTests {
    private static let beginning: [StoreChange] = [.sessionBegan(incarnation: 1, clientID: "c", expiryInterval: .max)]

    private static var options: JournalLog.Options {
        var options = JournalLog.Options()
        options.segmentBytes = 4_096
        options.reserveBytes = 8_192
        return options
    }

    private static func queued(_ number: UInt64, payloadBytes: Int = 600) -> [StoreChange] {
        let payload = ByteBuffer(repeating: UInt8(truncatingIfNeeded: number), count: payloadBytes)
        let message = Message(Publish(topic: "a/b", payload: payload, qos: .atLeastOnce))
        return [.queued(StoredMessage(number: number, message: message, qos: .atLeastOnce), incarnation: 1)]
    }

    /// Commits messages, as a broker does that goes by what the journal says of itself, until there is no room for more.
    private func fill(_ log: JournalLog, _ contents: inout StoreContents) throws {
        var number = (contents.messages(of: 1).last?.number ?? 0) + 1
        while !log.statistics.isFull {
            try log.commit(Self.queued(number))
            contents.apply(Self.queued(number))
            number += 1
        }
    }

    private func finish(_ number: UInt64, _ log: JournalLog, _ contents: inout StoreContents) throws {
        let batch: [StoreChange] = [.finished(incarnation: 1, number: number)]
        try log.commit(batch)
        contents.apply(batch)
    }

    /// As the journal does it when it has time.
    @discardableResult
    private func heal(_ log: JournalLog) throws -> Bool {
        do {
            return try log.heal()
        } catch let error as FileError where error.isFull {
            return false
        }
    }

    @Test("A full disk has room for what ends messages, and heals when they have ended: again and again")
    func healsFullDisk() throws {
        let directory = try TemporaryDirectory()
        let system = FailingFileSystem()
        system.plan.withLock { $0.room = 70_000 }
        var contents = StoreContents()
        do {
            let (log, _) = try JournalLog.open(directory.path, options: Self.options, fileSystem: system)
            try log.commit(Self.beginning)
            contents.apply(Self.beginning)
            for _ in 0..<10 {
                try fill(log, &contents)
                #expect(contents.messages(of: 1).count > 10)
                #expect(try log.differences(from: contents) == [])
                // No end waits, and nothing but ends makes room.
                for message in contents.messages(of: 1).dropLast(3) {
                    try finish(message.number, log, &contents)
                    try heal(log)
                }
                while try heal(log) {}
                #expect(!log.statistics.isFull)
                #expect(try log.differences(from: contents) == [])
            }
        }
        let (log, state) = try JournalLog.open(directory.path, options: Self.options, fileSystem: system)
        #expect(try log.differences(from: contents, state: state) == [])
    }

    @Test(
        "In whatever order messages end, however large they and the files are, no end waits",
        arguments: UInt64(0)..<30
    )
    func healsAnything(_ seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let directory = try TemporaryDirectory()
        let system = FailingFileSystem()
        // More than what is set aside and the segment that is written take.
        system.plan.withLock { $0.room = Int.random(in: 100_000...300_000, using: &random) }
        var options = JournalLog.Options()
        options.segmentBytes = Int.random(in: 4_096...16_000, using: &random)
        options.reserveBytes = Int.random(in: 6_000...20_000, using: &random)
        let (log, _) = try JournalLog.open(directory.path, options: options, fileSystem: system)
        var contents = StoreContents()
        try log.commit(Self.beginning)
        contents.apply(Self.beginning)
        var number: UInt64 = 1
        for _ in 0..<5 {
            while !log.statistics.isFull {
                let batch = Self.queued(number, payloadBytes: Int.random(in: 0...2_000, using: &random))
                try log.commit(batch)
                contents.apply(batch)
                number += 1
            }
            var ending = contents.messages(of: 1).map(\.number).shuffled(using: &random)
            while ending.count > 3 {
                let batch = ending.suffix(Int.random(in: 1...min(20, ending.count), using: &random)).map {
                    StoreChange.finished(incarnation: 1, number: $0)
                }
                ending.removeLast(batch.count)
                try log.commit(batch)
                contents.apply(batch)
                while try heal(log) {}
            }
            #expect(!log.statistics.isFull)
            #expect(try log.differences(from: contents) == [])
        }
    }

    @Test("A full disk heals when somebody else makes room, without a commit")
    func healsWithRoomFromOutside() throws {
        let directory = try TemporaryDirectory()
        let system = FailingFileSystem()
        system.plan.withLock { $0.room = 70_000 }
        let (log, _) = try JournalLog.open(directory.path, options: Self.options, fileSystem: system)
        var contents = StoreContents()
        try log.commit(Self.beginning)
        contents.apply(Self.beginning)
        try fill(log, &contents)
        while try heal(log) {}
        #expect(log.statistics.isFull)
        system.plan.withLock { $0.room += 20_000 }
        #expect(try !heal(log))
        #expect(!log.statistics.isFull)
        try fill(log, &contents)
        #expect(try log.differences(from: contents) == [])
    }

    @Test("Behind the drain reserve a batch finds no room, changes nothing, and can be committed when there is room")
    func refusesBehindReserve() throws {
        let directory = try TemporaryDirectory()
        let system = FailingFileSystem()
        system.plan.withLock { $0.room = 70_000 }
        let (log, _) = try JournalLog.open(directory.path, options: Self.options, fileSystem: system)
        var contents = StoreContents()
        try log.commit(Self.beginning)
        contents.apply(Self.beginning)
        try fill(log, &contents)
        var number = (contents.messages(of: 1).last?.number ?? 0) + 1
        var refused: FileError?
        while refused == nil {
            do {
                try log.commit(Self.queued(number))
                contents.apply(Self.queued(number))
                number += 1
            } catch let error as FileError {
                refused = error
            }
        }
        #expect(refused?.isFull == true && log.statistics.isFull)
        #expect(try log.differences(from: contents) == [])
        system.plan.withLock { $0.room += 40_000 }
        try heal(log)
        // It is full for as long as this batch waits.
        #expect(log.statistics.isFull)
        try log.commit(Self.queued(number))
        contents.apply(Self.queued(number))
        try heal(log)
        #expect(!log.statistics.isFull)
        #expect(try log.differences(from: contents) == [])
    }

    @Test("A journal that was closed on a full disk says so when it is opened, and drains and heals then")
    func drainsAfterRestart() throws {
        let directory = try TemporaryDirectory()
        let system = FailingFileSystem()
        system.plan.withLock { $0.room = 70_000 }
        var contents = StoreContents()
        do {
            let (log, _) = try JournalLog.open(directory.path, options: Self.options, fileSystem: system)
            try log.commit(Self.beginning)
            contents.apply(Self.beginning)
            try fill(log, &contents)
            // Some of the reserve is used up, too.
            for message in contents.messages(of: 1).prefix(2) { try finish(message.number, log, &contents) }
        }
        let (log, state) = try JournalLog.open(directory.path, options: Self.options, fileSystem: system)
        // What was set aside and cut off was given back, and somebody else takes most of it.
        system.plan.withLock { $0.room = 12_000 }
        try log.prepare()
        #expect(log.statistics.isFull)
        #expect(try log.differences(from: contents, state: state) == [])
        for message in contents.messages(of: 1).dropLast(3) {
            try finish(message.number, log, &contents)
            try heal(log)
        }
        while try heal(log) {}
        #expect(!log.statistics.isFull)
        #expect(try log.differences(from: contents) == [])
    }

    @Test("A disk that has no room for the reserves is full from the beginning, and takes what ends messages")
    func smallDisk() throws {
        let directory = try TemporaryDirectory()
        let system = FailingFileSystem()
        system.plan.withLock { $0.room = 14_000 }
        let (log, _) = try JournalLog.open(directory.path, options: Self.options, fileSystem: system)
        try log.prepare()
        #expect(log.statistics.isFull)
        try log.commit(Self.beginning)
        #expect(log.statistics.isFull)
    }
}

import MQTTJournal
import MQTTStore
import MQTTStoreTesting
import SystemPackage

/// A journal over the simulated file system that lives, dies and lives again, beside the plain model of what it holds.
struct JournalWorld {
    static let directory: FilePath = "/journal"

    var random: SeededGenerator
    let fileSystem: SimulatedFileSystem
    let options: JournalLog.Options
    var generator: ChangeGenerator
    /// What was committed.
    private(set) var committed = StoreContents()
    /// What a batch would make of it of which nobody knows whether it was committed.
    private(set) var possible: StoreContents?
    /// A sync has failed: what is read need not be what is on the disk until the power has gone away.
    private var hasFailedSync = false
    private(set) var commits = 0

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        let isSmall = random.oneIn(3)
        fileSystem = SimulatedFileSystem(seed: ~seed, capacityBytes: isSmall ? 30_000 + random.below(300_000) : .max)
        var options = JournalLog.Options()
        options.segmentBytes = random.pick([4_096, 4_096, 10_000, 65_536])
        options.stretchBytes = random.pick([1, 1_000, 20_000])
        options.reserveBytes = random.pick([0, 20_000, 100_000])
        options.entropy = seed
        self.options = options
        generator = ChangeGenerator(seed: seed)
        generator.changesMax = random.pick([3, 24, 60])
        generator.payloadBytesMax = random.pick([200, 3_000, 12_000])
        generator.sessions = random.pick([2, 8, 20])
    }

    mutating func run() throws {
        for _ in 0..<(3 + random.below(6)) { try live() }
        fileSystem.setCapacity(.max)
        _ = try open()
    }

    private mutating func live() throws {
        if random.oneIn(3) { fileSystem.crashAfter(calls: random.below(40)) }
        do {
            let log = try open()
            plan()
            let batches = random.below(100)
            for _ in 0..<batches { try commit(to: log) }
            try check(log)
        } catch let error as FileError where error.isCrash || hasFailedSync || error.code == Errno.ioError.rawValue {
            // What was committed is known; the rest is for the next life to show.
        }
        if hasFailedSync || !random.oneIn(3) { fileSystem.crash() } else { fileSystem.restart() }
        hasFailedSync = false
    }

    private mutating func plan() {
        if !random.oneIn(3) { fileSystem.crashAfter(calls: random.below(500)) }
        if random.oneIn(8) {
            fileSystem.failSync(after: random.below(60))
            hasFailedSync = true
        }
        if random.oneIn(8) { fileSystem.failWrite(after: random.below(60)) }
    }

    private mutating func open() throws -> JournalLog {
        let (log, state) = try JournalLog.open(Self.directory, options: options, fileSystem: fileSystem)
        if random.oneIn(2) { try log.prepare() }
        let differences = committed.differences(from: state)
        if !differences.isEmpty {
            let others = possible?.differences(from: state) ?? ["there is no batch that may be there"]
            try expect(
                others.isEmpty,
                "opened with neither what was committed:\n\(differences.prefix(12).joined(separator: "\n"))\n"
                    + "nor with the last batch:\n\(others.prefix(12).joined(separator: "\n"))"
            )
            committed = possible ?? committed
        }
        possible = nil
        generator.resume(from: committed)
        try check(log)
        return log
    }

    private mutating func commit(to log: JournalLog) throws {
        let batch = generator.batch()
        possible = generator.contents
        try commit(batch, to: log)
        commits += 1
        committed = generator.contents
        possible = nil
        if random.oneIn(6) { _ = try whereThereIsRoom { try log.compact(budgetBytes: 1 + random.below(10_000)) } }
        if random.oneIn(60) { try whereThereIsRoom { try log.compactAll() } }
        if random.oneIn(15) { try check(log) }
    }

    private mutating func commit(_ batch: [StoreChange], to log: JournalLog) throws {
        for attempt in 0..<40 {
            do {
                return try log.commit(batch)
            } catch let error as FileError where error.isFull {
                try expect(log.statistics.isFull, "a full disk does not show")
                // A commit that found no room has changed nothing.
                if random.oneIn(4) { try check(log) }
                if attempt > 20 {
                    fileSystem.setCapacity(.max)
                } else {
                    var steps = 0
                    while try whereThereIsRoom({ try log.heal() }) == true {
                        steps += 1
                        try expect(steps < 1_000, "compaction does not come to an end: \(log.statistics)")
                    }
                }
            }
        }
        throw SimulationFailure("a commit finds no room though the disk has it")
    }

    @discardableResult
    private func whereThereIsRoom<Result>(_ body: () throws -> Result) throws -> Result? {
        do {
            return try body()
        } catch let error as FileError where error.isFull {
            return nil
        }
    }

    /// Whether the messages of all sessions can be read as they were committed.
    private mutating func check(_ log: JournalLog) throws {
        for incarnation in committed.sessions.keys.sorted() {
            var number: UInt64 = 0
            while true {
                let count = 1 + random.below(40)
                let bytes = random.oneIn(3) ? 1 + random.below(5_000) : .max
                let page = try log.messages(of: incarnation, from: number, count: count, bytes: bytes)
                let differences = committed.differences(
                    fromPage: page,
                    of: incarnation,
                    from: number,
                    count: count,
                    bytes: bytes
                )
                try expect(differences.isEmpty, differences.prefix(12).joined(separator: "\n"))
                guard let last = page.last else { break }
                number = last.number + 1
            }
        }
        try expect(log.statistics.liveBytes >= 0, "\(log.statistics.liveBytes) bytes are live")
    }
}

extension JournalWorld {
    /// Commits some batches, closes, and flips a bit anywhere: the journal is found damaged, or what it holds is what
    /// was committed but for the last batch.
    mutating func runWithFlippedBit() throws {
        fileSystem.setCapacity(.max)
        var before = StoreContents()
        do {
            let log = try open()
            for _ in 0..<(1 + random.below(40)) {
                before = committed
                try commit(to: log)
            }
        }
        fileSystem.crash()
        let names = try fileSystem.names(in: Self.directory).filter { $0.hasSuffix(".journal") }
        let path = Self.directory.appending(random.pick(names))
        let bytes = try fileSystem.open(path, creates: false).bytes
        guard bytes > 0 else { return }
        fileSystem.flipBit(path, at: random.below(bytes * 8))
        do {
            let (_, state) = try JournalLog.open(Self.directory, options: options, fileSystem: fileSystem)
            let differences = committed.differences(from: state)
            let others = before.differences(from: state)
            try expect(
                differences.isEmpty || others.isEmpty,
                "opened with a flipped bit in \(path):\n\(differences.prefix(8).joined(separator: "\n"))\nor:\n"
                    + "\(others.prefix(8).joined(separator: "\n"))"
            )
        } catch is JournalError {
            try repair()
        }
    }

    /// What is written of a damaged journal is sound.
    private func repair() throws {
        let target: FilePath = "/repaired"
        let tool = JournalTool(directory: Self.directory, fileSystem: fileSystem)
        let damages = try tool.check().findings.filter(\.isDamage)
        try expect(!damages.isEmpty, "a check finds nothing where a start finds damage")
        let repair = try tool.repair(to: target.string)
        try expect(repair.findings.filter(\.isDamage) == damages, "\(repair.findings) are not \(damages)")
        let (log, state) = try JournalLog.open(target, options: options, fileSystem: fileSystem)
        try expect(state.sessions.count == repair.summary.sessions, "\(state.sessions.count) sessions were repaired")
        for session in state.sessions {
            let messages = try log.messages(of: session.incarnation, from: 0, count: .max, bytes: .max)
            try expect(
                messages.count == session.queuedMessages,
                "\(messages.count) of \(session.queuedMessages) messages"
            )
        }
    }
}

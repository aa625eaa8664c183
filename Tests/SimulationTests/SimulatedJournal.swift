import MQTTJournal
import MQTTStore
import MQTTStoreTesting
import SystemPackage

/// A journal on a disk that loses power, fails and runs full under a seed, beside the plain model of what it holds.
struct SimulatedJournal {
    private static let directory: FilePath = "/journal"

    private var random: SeededGenerator
    let fileSystem: SimulatedFileSystem
    private let options: JournalLog.Options
    private var log: JournalLog?
    /// What was committed.
    private(set) var committed = StoreContents()
    /// What a batch would make of it of which nobody knows whether it was committed.
    private var possible: StoreContents?
    /// What was committed before the last batch.
    private var before = StoreContents()
    private let isSmall: Bool
    private var refusals = 0
    private(set) var commits = 0

    /// Without syncs it is a journal that must be found to lose things.
    init(seed: UInt64, syncs: Bool = true) {
        random = SeededGenerator(seed: seed)
        isSmall = random.oneIn(3)
        fileSystem = SimulatedFileSystem(seed: ~seed)
        var options = JournalLog.Options()
        options.segmentBytes = random.pick([4_096, 4_096, 10_000, 65_536])
        options.stretchBytes = random.pick([1, 1_000, 20_000])
        options.reserveBytes = random.pick([0, 20_000, 100_000])
        options.entropy = seed
        options.syncs = syncs
        self.options = options
        if isSmall { fileSystem.setCapacity(30_000 + random.below(300_000)) }
    }

    // MARK: Lives

    /// What there is after the end of one life, or of several, some of which end while the journal is read.
    mutating func restart() throws -> StoredState {
        for _ in 0..<3 where random.oneIn(3) {
            end()
            fileSystem.crashAfter(calls: random.below(40))
            let state = try unlessItEnds { try $0.open() }
            fileSystem.calmDown()
            if let state { return state }
        }
        end()
        return try open()
    }

    /// The process ends, with the power or by itself.
    mutating func end() {
        log = nil
        if random.oneIn(3) { fileSystem.restart() } else { fileSystem.crash() }
    }

    mutating func open() throws -> StoredState {
        let (log, state) = try Self.open(fileSystem, options)
        let differences = committed.differences(from: state)
        if !differences.isEmpty {
            let others = possible?.differences(from: state) ?? ["there is no batch that may be there"]
            try expect(
                others.isEmpty,
                "opened with neither what was committed:\n\(differences.prefix(12).joined(separator: "\n"))\n"
                    + "nor with the last batch:\n\(others.prefix(12).joined(separator: "\n"))"
            )
            before = committed
            committed = possible ?? committed
        }
        possible = nil
        self.log = log
        if random.oneIn(2) { try log.prepare() }
        try check()
        return state
    }

    private static func open(
        _ fileSystem: SimulatedFileSystem,
        _ options: JournalLog.Options
    ) throws -> (JournalLog, StoredState) {
        let (log, state) = try JournalLog.open(directory, options: options, fileSystem: fileSystem)
        return (log, state)
    }

    /// What is going to happen to this life.
    mutating func plan() {
        if !random.oneIn(3) { fileSystem.crashAfter(calls: random.below(500)) }
        if random.oneIn(8) { fileSystem.failSync(after: random.below(60)) }
        if random.oneIn(8) { fileSystem.failWrite(after: random.below(60)) }
        if isSmall { fileSystem.setCapacity(fileSystem.bytesTaken + random.below(200_000)) }
    }

    /// Nothing fails any more, and there is room.
    func calmDown() {
        fileSystem.calmDown()
        fileSystem.setCapacity(.max)
    }

    /// Nil where the life has ended, as it was to.
    mutating func unlessItEnds<Value>(_ body: (inout Self) throws -> Value) throws -> Value? {
        do {
            return try body(&self)
        } catch let error as FileError where error.isCrash || error.code == Errno.ioError.rawValue {
            return nil
        }
    }

    // MARK: Commits

    /// Commits a batch, after which the store holds `contents`; false where there is no room for it, so that it is to be
    /// tried again. Now and then compacts.
    mutating func commit(_ batch: [StoreChange], contents: StoreContents) throws -> Bool {
        guard let log else { throw SimulationFailure("the journal is not open") }
        possible = contents
        do {
            try log.commit(batch)
        } catch let error as FileError where error.isFull {
            try expect(log.statistics.isFull, "a full disk does not show")
            // A commit that found no room has changed nothing.
            possible = nil
            try makeRoom(log)
            return false
        }
        commits += 1
        refusals = 0
        (before, committed, possible) = (committed, contents, nil)
        if random.oneIn(6) { try whereThereIsRoom { _ = try log.compact(budgetBytes: 1 + random.below(10_000)) } }
        if random.oneIn(60) { try whereThereIsRoom { try log.compactAll() } }
        if random.oneIn(15) { try check() }
        return true
    }

    /// Room comes from what is over, or at last from outside.
    private mutating func makeRoom(_ log: JournalLog) throws {
        if random.oneIn(4) { try check() }
        refusals += 1
        try expect(refusals < 40, "a commit finds no room though the disk has it")
        if refusals > 20 { fileSystem.setCapacity(.max) }
        for _ in 0..<1_000 {
            var goesOn = false
            try whereThereIsRoom { goesOn = try log.heal() }
            guard goesOn else { return }
        }
        throw SimulationFailure("compaction does not come to an end: \(log.statistics)")
    }

    private func whereThereIsRoom(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let error as FileError where error.isFull {
            return
        }
    }

    // MARK: Reading

    /// A page, which is as it was committed.
    func messages(_ page: StoredPage) throws -> [StoredMessage] {
        guard let log else { throw SimulationFailure("the journal is not open") }
        return try Self.messages(page, log, committed)
    }

    private static func messages(
        _ page: StoredPage,
        _ log: JournalLog,
        _ contents: StoreContents
    ) throws -> [StoredMessage] {
        let (incarnation, number) = (page.incarnation, page.number)
        let messages = try log.messages(of: incarnation, from: number, count: page.count, bytes: page.bytes)
        let differences = contents.differences(
            fromPage: messages,
            of: incarnation,
            from: number,
            count: page.count,
            bytes: page.bytes
        )
        try expect(differences.isEmpty, differences.prefix(12).joined(separator: "\n"))
        return messages
    }

    /// Whether the messages of all sessions can be read as they were committed.
    mutating func check() throws {
        for incarnation in committed.sessions.keys.sorted() {
            var number: UInt64 = 0
            while true {
                let bytes = random.oneIn(3) ? 1 + random.below(5_000) : .max
                let page = StoredPage(
                    incarnation: incarnation,
                    number: number,
                    count: 1 + random.below(40),
                    bytes: bytes
                )
                guard let last = try messages(page).last else { break }
                number = last.number + 1
            }
        }
        try expect(log?.statistics.liveBytes ?? 0 >= 0, "fewer than no bytes are live")
    }

    /// Flips a bit anywhere on a copy of the disk: the journal is found damaged, or what it holds is what was committed
    /// but for the last batch, from which a bit cannot be told that the power took.
    mutating func flipBit() throws {
        let copy = SimulatedFileSystem(copying: fileSystem)
        copy.setCapacity(.max)
        copy.crash()
        let names = try copy.names(in: Self.directory).filter { $0.hasSuffix(".journal") }
        guard !names.isEmpty else { return }
        let path = Self.directory.appending(random.pick(names))
        let bytes = try copy.open(path, creates: false).bytes
        guard bytes > 0 else { return }
        copy.flipBit(path, at: random.below(bytes * 8))
        do {
            let (log, state) = try Self.open(copy, options)
            let candidates = [committed, before] + (possible.map { [$0] } ?? [])
            guard let contents = candidates.first(where: { $0.differences(from: state).isEmpty }) else {
                let differences = committed.differences(from: state).prefix(12).joined(separator: "\n")
                throw SimulationFailure("opened with a flipped bit in \(path):\n\(differences)")
            }
            for incarnation in contents.sessions.keys.sorted() {
                let page = StoredPage(incarnation: incarnation, number: 0, count: .max, bytes: .max)
                _ = try Self.messages(page, log, contents)
            }
        } catch is JournalError {
            try Self.repair(copy, options)
        }
    }

    /// What is written of a damaged journal is sound.
    private static func repair(_ fileSystem: SimulatedFileSystem, _ options: JournalLog.Options) throws {
        let target: FilePath = "/repaired"
        let tool = JournalTool(directory: directory, fileSystem: fileSystem)
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

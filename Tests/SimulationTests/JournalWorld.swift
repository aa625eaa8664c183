import MQTTStore
import MQTTStoreTesting

/// A journal under random batches that lives, dies and lives again.
final class JournalWorld {
    var random: SeededGenerator
    var journal: SimulatedJournal
    var generator: ChangeGenerator

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        journal = SimulatedJournal(seed: random.next())
        generator = ChangeGenerator(seed: seed)
        generator.changesMax = random.pick([3, 24, 60])
        generator.payloadBytesMax = random.pick([200, 3_000, 12_000])
        generator.sessions = random.pick([2, 8, 20])
    }

    func run() throws {
        for _ in 0..<(3 + random.below(6)) {
            if random.oneIn(3) { journal.fileSystem.crashAfter(calls: random.below(40)) }
            // What was committed is known; the rest is for the next life to show.
            _ = try journal.unlessItEnds { [self] journal in
                _ = try journal.open()
                journal.plan()
                generator.resume(from: journal.committed)
                for _ in 0..<random.below(100) { try Self.commit(generator.batch(), generator.contents, to: &journal) }
                try journal.check()
            }
            journal.end()
        }
        journal.calmDown()
        _ = try journal.open()
    }

    /// Commits some batches, closes, and flips a bit anywhere.
    func runWithFlippedBit() throws {
        journal.calmDown()
        _ = try journal.open()
        for _ in 0..<(1 + random.below(40)) {
            try Self.commit(generator.batch(), generator.contents, to: &journal)
        }
        for _ in 0..<4 { try journal.flipBit() }
    }

    private static func commit(
        _ batch: [StoreChange],
        _ contents: StoreContents,
        to journal: inout SimulatedJournal
    ) throws {
        while try !journal.commit(batch, contents: contents) {}
    }
}

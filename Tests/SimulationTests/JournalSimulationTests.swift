import Testing

@Suite("Simulation of the journal")
struct JournalSimulationTests {
    @Test(
        "whatever is lost with the power, what was committed is there, and a batch is there whole or not at all",
        arguments: 0..<Seeds.chunks
    )
    func crashes(chunk: Int) {
        for seed in Seeds.chunk(chunk) { run(seed) { try $0.run() } }
    }

    @Test("a flipped bit is found, or was in the last batch", arguments: 0..<Seeds.chunks)
    func flippedBits(chunk: Int) {
        for seed in Seeds.chunk(chunk) { run(seed) { try $0.runWithFlippedBit() } }
    }

    private func run(_ seed: UInt64, _ body: (JournalWorld) throws -> Void) {
        if Seeds.areTraced { print("seed \(seed)") }
        let world = JournalWorld(seed: seed)
        do {
            try body(world)
        } catch {
            let log = world.journal.fileSystem.log.suffix(Seeds.logLength).joined(separator: "\n")
            Issue.record("APUS_SIMULATION_SEED=\(seed): after \(world.journal.commits) commits: \(error)\n\(log)")
        }
    }
}

import Testing

@Suite("Simulation of clients with stores and the broker's core")
struct KeptClientTests {
    private static let seeds: [UInt64] = {
        // At least a thousand, and more where more are asked for.
        guard Seeds.all.count > 1 else { return Seeds.all }
        return (0..<UInt64(max(1_000, Seeds.all.count))).map { Seeds.all[0] &+ $0 }
    }()

    @Test(
        "links cut at any byte, either side restarted: what was accepted arrives, QoS 2 once, order kept",
        arguments: 0..<Seeds.chunks
    )
    func everything(chunk: Int) {
        for seed in Self.seeds where seed % UInt64(Seeds.chunks) == UInt64(chunk) {
            do {
                try KeptClientWorld(seed: seed).run()
            } catch {
                Issue.record("seed \(seed), again with APUS_SIMULATION_SEED=\(seed): \(error)")
            }
        }
    }

    @Test("a store that says too early that it has something is found out")
    func lies() {
        let isFound = (UInt64(1)...200).contains { seed in
            do {
                try KeptClientWorld(seed: seed, storeLies: true).run()
                return false
            } catch {
                return true
            }
        }
        #expect(isFound)
    }
}

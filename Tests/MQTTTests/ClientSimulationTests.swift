import Foundation
import Testing

/// The client as it is, the broker as it is and the link between them, in a time that the plan moves: what is published and
/// what breaks comes from a seed. What a store has to see and when is simulated packet by packet elsewhere
/// (`KeptClientTests`); here the driver reconnects, resumes, resubscribes, queues and holds back.
@Suite("Simulation of the whole client and the whole broker", .timeLimit(.minutes(60))) struct ClientSimulationTests {
    private static let chunks = 10

    private static let seeds: [UInt64] = {
        func number(_ name: String) -> UInt64? { ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) } }
        if let one = number("APUS_SIMULATION_SEED") { return [one] }
        let base = number("APUS_SIMULATION_BASE") ?? 1
        return (0..<(number("APUS_SIMULATION_SEEDS") ?? 1_000)).map { base &+ $0 }
    }()

    @Test(
        """
        links cut at any byte, half open, stalled, late; clients restarted; sessions lost: QoS 1 at least once, QoS 2 exactly \
        once, in order, and who is told that a message failed is told the truth
        """,
        arguments: 0..<chunks
    )
    func everything(chunk: Int) async {
        for seed in Self.seeds where seed % UInt64(Self.chunks) == UInt64(chunk) {
            do {
                try await ClientWorld(seed: seed).run()
            } catch {
                Issue.record("seed \(seed), again with APUS_SIMULATION_SEED=\(seed): \(error)")
            }
        }
    }

    @Test("a receiver that forgets over a restart what it has taken is found out")
    func forgets() async {
        for seed in UInt64(1)...400 {
            do { try await ClientWorld(seed: seed, receiverForgets: true).run() } catch { return }
        }
        Issue.record("nobody has noticed")
    }
}

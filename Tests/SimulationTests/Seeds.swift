#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// Which seeds are run. `APUS_SIMULATION_SEEDS` is how many, from `APUS_SIMULATION_BASE` on (1 unless given);
/// `APUS_SIMULATION_SEED` is one to run again.
enum Seeds {
    static let chunks = 20

    static let all: [UInt64] = {
        if let one = number("APUS_SIMULATION_SEED") { return [one] }
        let base = number("APUS_SIMULATION_BASE") ?? 1
        let count = number("APUS_SIMULATION_SEEDS") ?? 300
        return (0..<count).map { base &+ $0 }
    }()

    static func chunk(_ chunk: Int) -> [UInt64] {
        all.indices.filter { $0 % chunks == chunk }.map { all[$0] }
    }

    /// Whether each seed is printed before it runs: then a trap can be told from its last line.
    static let areTraced = number("APUS_SIMULATION_TRACE") != nil

    /// How much of the log of a failure is shown.
    static let logLength = number("APUS_SIMULATION_LOG").map { Int($0) } ?? 80

    private static func number(_ name: String) -> UInt64? {
        ProcessInfo.processInfo.environment[name].flatMap { UInt64($0) }
    }
}

/// What a simulation shows to be wrong.
struct SimulationFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

func expect(_ condition: Bool, _ explanation: @autoclosure () -> String) throws {
    guard condition else { throw SimulationFailure(explanation()) }
}

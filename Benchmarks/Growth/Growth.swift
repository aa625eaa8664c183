import ArgumentParser
import Foundation

@main
struct Growth: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure how the costs of the broker core grow.",
        discussion: """
            Each curve is a table: what grows stands in its first column. Times are medians of several rounds, in which \
            the points take turns. Ends with 1 if a message did not reach exactly whom it should have, and, unless it is \
            quick, if matching among the most subscriptions takes more than twice what it takes among the fewest.
            """
    )

    @Flag(help: "Small numbers: every curve runs, and no time is judged.")
    var quick = false

    @Option(help: ArgumentHelp("Measure only these, with commas: \(names).", valueName: "names"))
    var only: String?

    @Option(help: "Rounds of which the median is taken.")
    var rounds = 7

    @Option(help: ArgumentHelp("Write the figures into this file too.", valueName: "file"))
    var json: String?

    private static var curves: [(name: String, measure: (Scale) throws -> Table)] {
        [
            ("matching", Matching.measure), ("retained", RetainedLookUp.measure), ("shared", SharedGroups.measure),
            ("subscribing", Subscribing.measure), ("fan-out", FanOut.measure), ("memory", Memory.measure),
        ]
    }

    private static var names: String { curves.map(\.name).joined(separator: ", ") }

    func validate() throws {
        guard (1...101).contains(rounds) else { throw ValidationError("--rounds is a number from 1 to 101.") }
        for name in chosen where !Self.curves.contains(where: { $0.name == name }) {
            throw ValidationError("--only knows \(Self.names), and not \(name).")
        }
    }

    private var chosen: [String] {
        only?.split(separator: ",", omittingEmptySubsequences: false).map(String.init) ?? Self.curves.map(\.name)
    }

    func run() throws {
        let scale = Scale(isQuick: quick, rounds: quick ? 1 : rounds)
        print(Machine.description)
        var tables: [Table] = []
        for curve in Self.curves where chosen.contains(curve.name) {
            let table = try curve.measure(scale)
            print("\n" + table.text)
            tables.append(table)
        }
        if let json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            try encoder.encode(Report(machine: Machine.description, curves: tables)).write(to: URL(filePath: json))
        }
        if tables.contains(where: \.isOverItsBound) && !quick { throw ExitCode.failure }
    }
}

/// What `--json` writes.
private struct Report: Encodable {
    let machine: String
    let curves: [Table]
}

/// How far the curves go.
struct Scale {
    let isQuick: Bool
    let rounds: Int

    /// The points of a curve: powers of ten, fewer where it has to be quick.
    func points(from first: Int, to last: Int, quickTo quickLast: Int) -> [Int] {
        var points: [Int] = []
        var point = first
        while point <= (isQuick ? quickLast : last) {
            points.append(point)
            point *= 10
        }
        return points
    }
}

/// A measurement that did not do what it was to measure.
struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Day, processor and cores, for the reader of the figures.
enum Machine {
    static var description: String {
        let lines = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8))?.split(separator: "\n") ?? []
        let model = lines.first { $0.hasPrefix("model name") }?.split(separator: ":").last
        let name = model?.trimmingCharacters(in: .whitespaces) ?? "a processor of unknown name"
        return "\(Date.now.ISO8601Format().prefix(10)), \(name), \(ProcessInfo.processInfo.activeProcessorCount) cores"
    }
}

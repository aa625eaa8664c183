import MQTTStore

/// What every `MessageStore` has to do, as cases that a test of any framework can run.
///
///     @Test(arguments: StoreConformance.cases)
///     func conforms(_ conformance: StoreConformance.Case) async throws {
///         let directory = try newDirectory()
///         try await conformance.run { MyStore(directory) }
///     }
///
/// A store that is not durable is held to what makes sense for it: it never throws, and nothing remains.
public enum StoreConformance {
    /// Makes a store that is not open yet. The first call of a case finds nothing there; each further call comes after
    /// the store before it was closed, and finds what that one committed.
    public typealias Opening = @Sendable () async throws -> any MessageStore

    /// One thing that a store has to do.
    public struct Case: Sendable, Hashable, CustomStringConvertible {
        /// A sentence.
        public let name: String
        private let body: @Sendable (inout StoreTrial) async throws -> Void

        init(_ name: String, _ body: @escaping @Sendable (inout StoreTrial) async throws -> Void) {
            self.name = name
            self.body = body
        }

        /// The name.
        public var description: String { name }

        /// Throws `StoreConformanceFailure` where the store does something else, and what the store throws. Cases that
        /// draw at random do so from the seed; all others ignore it.
        public func run(seed: UInt64 = 1, opening: @escaping Opening) async throws {
            var trial = try await StoreTrial(name, seed: seed, opening: opening)
            try await body(&trial)
            try await trial.end()
        }

        /// By name.
        public static func == (left: Self, right: Self) -> Bool { left.name == right.name }
        /// By name.
        public func hash(into hasher: inout Hasher) { hasher.combine(name) }
    }

    /// All cases, the plain ones first.
    public static let cases: [Case] = sessionCases + messageCases + pagingCases + retainedCases + wholeCases

    /// Runs all cases, each in a place of its own, where there is nothing yet. Stops at the first that fails.
    public static func run(seed: UInt64 = 1, inNewPlace newPlace: () async throws -> Opening) async throws {
        for conformance in cases { try await conformance.run(seed: seed, opening: try await newPlace()) }
    }
}

/// What a store did wrong: what was expected and what was there.
public struct StoreConformanceFailure: Error, Sendable, CustomStringConvertible {
    /// The case that found it.
    public let name: String
    /// The seed of the case.
    public let seed: UInt64
    /// When it was found.
    public let moment: String
    /// One line each.
    public let differences: [String]

    /// All of it, over several lines.
    public var description: String {
        "\(name) (seed \(seed)), \(moment):\n" + differences.prefix(20).map { "  " + $0 + "\n" }.joined()
            + (differences.count > 20 ? "  and \(differences.count - 20) more\n" : "")
    }
}

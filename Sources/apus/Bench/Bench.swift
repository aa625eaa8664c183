import ArgumentParser
import MQTT
import MQTTPackets
import NIOCore
import Synchronization

/// Who publishes to whom.
enum BenchScenario: String, CaseIterable, Codable, ExpressibleByArgument {
    case conn, pub, sub, p2p
    case fanIn = "fan-in"
    case fanOut = "fan-out"
    case shared

    var publishersByDefault: Int {
        switch self {
        case .conn, .sub: 0
        case .pub, .p2p, .fanOut, .shared: 1
        case .fanIn: 10
        }
    }

    var subscribersByDefault: Int {
        switch self {
        case .conn, .pub: 0
        case .sub, .p2p, .fanIn: 1
        case .fanOut: 10
        case .shared: 4
        }
    }
}

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure a broker, ours or another.",
        discussion: """
            conn     clients connect, each once
            pub      publishers alone; latency is that of acknowledgements
            sub      subscribers alone, for messages of `apus bench pub` elsewhere
            p2p      each publisher has one subscriber
            fan-in   every subscriber gets the messages of all publishers
            fan-out  one publisher, every subscriber gets all its messages
            shared   subscribers share the messages

            Without --rate a publisher waits when --window of its messages have not arrived (closed loop); with it \
            messages are due at fixed times, and latency counts from when one was due. The table has throughput, loss, \
            duplicates, order violations and percentiles of latency. Ctrl-C ends the run and prints it too.

            To measure with several processes give each --json, and add up: apus bench --merge a.json b.json
            """,
        helpNames: ConnectionOptions.helpNames
    )

    @Argument(help: "conn, pub, sub, p2p, fan-in, fan-out or shared.")
    var scenario: BenchScenario?

    @OptionGroup var connection: ConnectionOptions

    @Option(help: "How many publish.")
    var publishers: Int?

    @Option(help: "How many subscribe.")
    var subscribers: Int?

    @Option(help: "With conn: how many connect.")
    var clients = 1_000

    @Option(
        name: [.customShort("n"), .long],
        help: "Messages of each publisher; with sub of each subscriber."
    )
    var messages: Int?

    @Option(help: "Seconds to publish, 5 unless there is -n; with sub seconds to listen.")
    var duration: Double?

    @Option(name: .shortAndLong, help: "Bytes of payload.")
    var size = 64

    @Option(name: .shortAndLong, help: "Quality of service: 0, 1 or 2.")
    var qos: QoS = .atMostOnce

    @Option(help: "Messages a second of all publishers together; with conn connections a second.")
    var rate: Double?

    @Option(
        help:
            "Messages of each publisher that have not arrived; with pub that were not acknowledged; with conn attempts under way."
    )
    var window = 100

    @Option(help: "Seconds without a message after which those that are missing are given up.")
    var wait: Double = 2

    @Option(name: [.customShort("W"), .long], help: "With sub: seconds to wait for the first message.")
    var timeout: Double = 60

    @Option(name: .shortAndLong, help: "What the topics begin with; the same for `pub` and `sub`.")
    var topic = "apus-bench"

    @Flag(help: "Print the result as a JSON object.")
    var json = false

    @Option(
        parsing: .upToNextOption,
        help: ArgumentHelp("Add up results of --json, instead of measuring.", valueName: "file")
    )
    var merge: [String] = []

    func validate() throws {
        guard (scenario == nil) != merge.isEmpty else {
            throw ValidationError("Give one of conn, pub, sub, p2p, fan-in, fan-out and shared, or --merge with files.")
        }
        for (name, value) in [
            ("--publishers", publishers), ("--subscribers", subscribers), ("--clients", clients), ("-n", messages),
            ("--window", window),
        ] {
            if let value, !(1...1_000_000_000).contains(value) { throw ValidationError("\(name) is at least 1.") }
        }
        for (name, value) in [("--duration", duration), ("--rate", rate), ("--wait", wait), ("-W", timeout)] {
            if let value, !(value > 0 && value <= 1_000_000_000) {
                throw ValidationError("\(name) is a number above 0.")
            }
        }
        guard (BenchPayload.bytesMin...PayloadOptions.bytesMax / 2).contains(size) else {
            throw ValidationError("-s is at least \(BenchPayload.bytesMin), for what measures.")
        }
        guard Topics.isValidName(topic) else { throw ValidationError("-t is a topic name.") }
        if scenario == .p2p, let publishers, let subscribers, publishers != subscribers {
            throw ValidationError("With p2p there are as many subscribers as publishers.")
        }
        try connection.allowProperties(of: [.connect, .will])
    }

    func run() async throws {
        let tool = Tool(options: connection)
        let measured = Mutex<BenchOutcome?>(nil)
        _ = try await tool.run {
            let outcome = try await measure(tool)
            measured.withLock { $0 = outcome }
        }
        guard let (result, failure) = measured.withLock({ $0 }) else { return }
        var output = StandardOutput()
        if json {
            output.append(try JSONPayloadCoder().encode(result).readableBytesView)
            try output.print("")
        } else {
            try output.print(result.table)
        }
        try output.flush()
        if let failure { throw tool.fail(failure) }
    }

    private func measure(_ tool: Tool) async throws -> BenchOutcome {
        guard let scenario else {
            var results: [BenchResult] = []
            for file in merge { results.append(try await BenchResult(file: file)) }
            return (BenchResult(merging: results), nil)
        }
        let settings = BenchSettings(self, scenario)
        return scenario == .conn
            ? (try await BenchConnecting(settings, tool).run(), nil) : try await BenchRun(settings, tool).run()
    }
}

/// What was measured, and what went wrong meanwhile.
typealias BenchOutcome = (result: BenchResult, failure: MQTTError?)

/// What a run needs to know.
struct BenchSettings: Sendable {
    let scenario: BenchScenario
    let command: Bench
    let publishers: Int
    let subscribers: Int
    /// In the payloads, so that messages of another run are not counted.
    let run = UInt32.random(in: 1 ... .max)

    init(_ command: Bench, _ scenario: BenchScenario) {
        self.command = command
        self.scenario = scenario
        let publishers = command.publishers ?? (scenario == .p2p ? command.subscribers : nil)
        self.publishers = scenario.publishersByDefault == 0 ? 0 : publishers ?? scenario.publishersByDefault
        let subscribers = scenario == .p2p ? self.publishers : command.subscribers
        self.subscribers = scenario.subscribersByDefault == 0 ? 0 : subscribers ?? scenario.subscribersByDefault
    }

    /// Of each publisher; nil where time ends it.
    var messages: Int? { command.messages }

    /// Seconds.
    var duration: Double? { command.duration ?? (command.messages == nil ? 5 : nil) }

    /// How often a message arrives.
    var copies: Int {
        switch scenario {
        case .conn, .pub: 0
        case .p2p, .shared: 1
        case .sub, .fanIn, .fanOut: subscribers
        }
    }

    private var base: String { scenario == .pub || scenario == .sub ? command.topic : "\(command.topic)/\(run)" }

    func topic(ofPublisher number: Int) -> String { "\(base)/\(number)" }

    func filter(ofSubscriber number: Int) -> String {
        switch scenario {
        case .p2p: "\(base)/\(number)"
        case .shared: "$share/apus-bench-\(run)/\(base)/+"
        default: "\(base)/+"
        }
    }
}

import ArgumentParser
import MQTT
import MQTTPackets

struct Sub: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Subscribe, and print what comes.",
        discussion: """
            Takes the flags of mosquitto_sub, and the long names of `mqtt sub`. Ends with 1 where the broker refuses the \
            connection or a subscription, and with 2 when -W ends it. A connection that is lost is made again.

            On a terminal control characters and what is not UTF-8 are escaped; into a pipe bytes go as they came.
            """,
        helpNames: ConnectionOptions.helpNames,
        aliases: ["subscribe"]
    )

    @OptionGroup var connection: ConnectionOptions

    @Option(
        name: .shortAndLong,
        parsing: .unconditionalSingleValue,
        help: "A topic filter; several may be given, also behind the options."
    )
    var topic: [String] = []

    @Option(
        name: [.customShort("T"), .long],
        parsing: .unconditionalSingleValue,
        help: "A topic filter whose messages are not shown; several may be given."
    )
    var filterOut: [String] = []

    @Option(
        name: [.customShort("U"), .long],
        parsing: .unconditionalSingleValue,
        help: "A topic filter that the session shall not have any more; several may be given. With -i and -c."
    )
    var unsubscribe: [String] = []

    @Option(name: .shortAndLong, help: "Quality of service: 0, 1 or 2.")
    var qos: QoS = .atMostOnce

    @Option(name: [.customShort("C"), .long], help: "End after this many messages.")
    var count: Int?

    @Option(name: [.customShort("W"), .long], help: "End after this many seconds.")
    var timeout: Double?

    @Flag(name: [.customShort("E"), .long], help: "End as soon as the broker has granted the subscriptions.")
    var exitAfterSubscribing = false

    @Flag(name: [.customShort("R"), .long], help: "Do not show messages that were retained.")
    var noRetained = false

    @Flag(help: "Show messages that were retained, and end with the first that was not.")
    var retainedOnly = false

    @Flag(help: "Let messages have their retain flag as it was published. 5.0 only.")
    var retainAsPublished = false

    @Option(help: ArgumentHelp("Show so many per cent of the messages, chosen at random.", valueName: "percent"))
    var randomFilter: Double?

    @Flag(help: "Have the broker forget each retained message that comes; -T spares some.")
    var removeRetained = false

    @OptionGroup(title: "Output") var output: OutputOptions

    @Flag(
        name: [.customShort("w"), .long],
        help: "One line for each topic, with its rate and age, instead of messages; a summary at the end."
    )
    var watch = false

    @Argument(help: ArgumentHelp("Topic filters, as with -t.", valueName: "topic"))
    var words: [String] = []

    var filters: [String] { [connection.topicOfURL].compactMap { $0 } + topic + words }

    func validate() throws {
        guard !filters.isEmpty || !unsubscribe.isEmpty else {
            throw ValidationError("Give at least one topic filter with -t.")
        }
        for filter in filters + filterOut + unsubscribe where ParsedFilter(filter) == nil {
            throw ValidationError("\(filter) is not a topic filter.")
        }
        if let count, count < 1 { throw ValidationError("-C is at least 1.") }
        if let timeout, !(timeout > 0 && timeout <= 1_000_000) {
            throw ValidationError("-W is a number of seconds above 0.")
        }
        if noRetained && retainedOnly { throw ValidationError("-R and --retained-only leave nothing to show.") }
        if retainAsPublished && connection.version < .v5 {
            throw ValidationError("--retain-as-published needs MQTT 5, which -V 5 speaks.")
        }
        if let randomFilter, !(0.1...100).contains(randomFilter) {
            throw ValidationError("--random-filter is a number from 0.1 to 100.")
        }
        if watch && randomFilter != nil { throw ValidationError("--watch shows all messages.") }
        if watch && output.isChosen { throw ValidationError("--watch has an output of its own.") }
        try connection.allowProperties(of: [.connect, .subscribe, .unsubscribe, .will, .disconnect])
    }

    func run() async throws {
        let tool = Tool(options: connection)
        let watching = watch ? TopicWatch() : nil
        let ending = try await tool.run(seconds: timeout) {
            let printer = MessagePrinter(
                output: output,
                quiet: connection.quiet,
                left: count ?? .max,
                percent: randomFilter ?? 100
            )
            let subscriber = Subscriber(command: self, tool: tool)
            guard let watching else { return try await subscriber.receive { try await printer.print($0) } }
            try await watching.showing { try await subscriber.receive { await watching.received($0, atMost: count) } }
        }
        if let watching { try await watching.printSummary() }
        if ending == .timedOut { throw Tool.timeoutCode }
    }
}

/// How messages are printed.
struct OutputOptions: ParsableArguments {
    @Flag(name: .shortAndLong, help: "Print the topic before the payload.")
    var verbose = false

    @Option(
        name: [.customShort("F"), .long],
        parsing: .unconditional,
        help: "A format with the escapes of mosquitto_sub, such as '%I %t %p'.",
        transform: MessageFormat.init(parsing:)
    )
    var format: MessageFormat?

    @Flag(help: "A JSON object a line: timestamp, topic, qos, retain, duplicate, properties, payload.")
    var json = false

    @Flag(help: "Indent JSON: objects of --json and %j, otherwise payloads that are JSON.")
    var pretty = false

    @Flag(help: "Print payloads in hexadecimal.")
    var hex = false

    @Flag(help: "Print payloads in base64.")
    var base64 = false

    @Flag(name: [.customShort("N"), .long], help: "No end of line behind a message.")
    var noNewline = false

    var isChosen: Bool { verbose || format != nil || json || pretty || hex || base64 || noNewline }

    func validate() throws {
        guard [format != nil, json, verbose].count(where: { $0 }) <= 1 else {
            throw ValidationError("Choose one of -F, --json and -v.")
        }
        guard !(hex && base64), !(format != nil && (hex || base64)) else {
            throw ValidationError("Choose one of -F, --hex and --base64; a format has %x.")
        }
    }

    private var style: PayloadStyle {
        PayloadStyle(encoding: hex ? .hex : base64 ? .base64 : .raw, isPretty: pretty)
    }

    func line(_ message: MQTTMessage) throws(InvalidPayload) -> [UInt8] {
        let style = style
        var line: [UInt8]
        if let format {
            line = try format.line(message, at: WallTime(), style: style)
        } else if json {
            line = MessageJSON.object(message, WallTime(), style: style)
        } else {
            line = verbose ? style.shown((message.topic + " ").utf8) : []
            // As mosquitto_sub does, so that what is split at the space has two parts.
            line += verbose && message.payload.readableBytes == 0 ? Array("(null)".utf8) : style.payload(message)
        }
        if !noNewline { line.append(UInt8(ascii: "\n")) }
        return line
    }
}

/// Prints messages, each as it comes.
actor MessagePrinter {
    private let options: OutputOptions
    private let quiet: Bool
    private var output = StandardOutput()
    private var left: Int
    private let percent: Double

    /// `left` counts those too that are not among the `percent`.
    init(output: OutputOptions, quiet: Bool, left: Int = .max, percent: Double = 100) {
        options = output
        self.quiet = quiet
        self.left = left
        self.percent = percent
    }

    /// Says whether another is wanted.
    func print(_ message: MQTTMessage) throws -> Bool {
        guard left > 0 else { return false }
        left -= 1
        guard Double.random(in: 0..<100) < percent else { return left > 0 }
        do {
            output.append(try options.line(message))
            try output.flush()
        } catch let invalid as InvalidPayload {
            if !quiet { StandardError.print("Error: \(Printable.sentence(invalid.explanation))\n") }
        }
        return left > 0
    }
}

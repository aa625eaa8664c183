import ArgumentParser
import MQTT
import MQTTPackets
import NIOCore

struct Pub: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Publish messages.",
        discussion: """
            Takes the flags of mosquitto_pub, and the long names of `mqtt pub`. Ends with 1 where the broker refuses the \
            connection or a message, and with 2 where it does not answer.
            """,
        helpNames: ConnectionOptions.helpNames,
        aliases: ["publish"]
    )

    @OptionGroup var connection: ConnectionOptions

    @Option(
        name: .shortAndLong,
        parsing: .unconditional,
        help: "The topic; it may stand behind the options too, or in -L."
    )
    var topic: String?

    @OptionGroup var payload: PayloadOptions

    @Flag(
        name: [.customShort("l"), .customLong("stdin-line"), .customLong("multiline")],
        help: "A message for each line of standard input."
    )
    var lines = false

    @Option(name: .shortAndLong, help: "Quality of service: 0, 1 or 2.")
    var qos: QoS = .atMostOnce

    @Flag(name: .shortAndLong, help: "Let the broker retain the message.")
    var retain = false

    @Option(help: "Publish the message so many times.")
    var `repeat` = 1

    @Option(help: "Seconds between two of them.")
    var repeatDelay: Double = 0

    @Option(
        name: [.customShort("M"), .long],
        help: "Messages of QoS 1 and 2 that may be without their acknowledgement at one time, with -l and --repeat."
    )
    var maxInflight = 20

    @Argument(
        help: ArgumentHelp("The topic and the payload, if they are not given by options.", valueName: "topic message")
    )
    var words: [String] = []

    private var topicAndMessage: (topic: String?, message: String?) {
        var rest = words[...]
        let topic = topic ?? connection.topicOfURL ?? rest.popFirst()
        return (topic, rest.popFirst())
    }

    func validate() throws {
        let (topic, message) = topicAndMessage
        guard let topic, Topics.isValidName(topic) else {
            throw ValidationError("-t is a topic name: at least one character, without + and #.")
        }
        let named = (self.topic ?? connection.topicOfURL) == nil ? 1 : 0
        guard words.count <= named + 1 else { throw ValidationError("\(words[named + 1]) is one word too many.") }
        guard payload.waysGiven + (lines ? 1 : 0) + (message == nil ? 0 : 1) == 1 else {
            // `mqtt pub -s -M` is how MQTT.js says -l.
            throw ValidationError("Give the payload in one way: -m, -f, -s, -l, -n or as the last word.")
        }
        guard (1...1_000_000_000).contains(`repeat`) else { throw ValidationError("--repeat is at least 1.") }
        guard !lines || `repeat` == 1 else { throw ValidationError("--repeat does not go with -l.") }
        guard (0...1_000_000).contains(repeatDelay) else {
            throw ValidationError("--repeat-delay is a number of seconds.")
        }
        guard (1...PublishWindow.messagesMax).contains(maxInflight) else {
            throw ValidationError("-M is a number from 1 to \(PublishWindow.messagesMax).")
        }
        try connection.allowProperties(of: [.connect, .publish, .will, .disconnect])
    }

    func run() async throws {
        let tool = Tool(options: connection)
        let ending = try await tool.run {
            let (topic, message) = topicAndMessage
            guard let topic else { return }
            let content = try await content(message)
            try await tool.withClient(connection.configuration(), reconnects: lines) { client in
                let clock = AnswerClock()
                try await withThrowingTaskGroup(of: Void.self) { tasks in
                    tasks.addTask { try await clock.watch(client, seconds: connection.answerSeconds) }
                    tasks.addTask { try await publish(content, to: topic, tool, client, clock) }
                    defer { tasks.cancelAll() }
                    try await tasks.next()
                }
            }
        }
        if ending == .interrupted { throw Tool.interruptedCode }
    }

    private func publish(
        _ content: ByteBuffer,
        to topic: String,
        _ tool: Tool,
        _ client: MQTTClient,
        _ clock: AnswerClock
    ) async throws {
        var window = PublishWindow(client, messagesMax: maxInflight, clock: clock)
        if lines {
            try await publishLines(to: topic, tool, &window)
        } else {
            try await publishRepeatedly(content, to: topic, tool, &window)
        }
        try await window.finish()
    }

    private func content(_ message: String?) async throws -> ByteBuffer {
        if let message { return ByteBuffer(string: message) }
        return lines ? ByteBuffer() : try await payload.payload()
    }

    private func publishLines(to topic: String, _ tool: Tool, _ window: inout PublishWindow) async throws {
        var input = StandardInput()
        while let line = try await input.line(bytesMax: PayloadOptions.bytesMax) {
            try await publish(line, to: topic, tool, &window)
        }
    }

    private func publishRepeatedly(
        _ content: ByteBuffer,
        to topic: String,
        _ tool: Tool,
        _ window: inout PublishWindow
    ) async throws {
        for number in 0..<`repeat` {
            if number > 0 && repeatDelay > 0 { try await Task.sleep(for: .seconds(repeatDelay)) }
            try await publish(content, to: topic, tool, &window)
        }
    }

    private func publish(
        _ content: ByteBuffer,
        to topic: String,
        _ tool: Tool,
        _ window: inout PublishWindow
    ) async throws {
        tool.debug("publishing \(content.readableBytes) bytes to \(topic) with QoS \(qos.rawValue)")
        try await window.publish(
            content,
            to: topic,
            qos: qos,
            retain: retain,
            properties: connection.property.properties(of: .publish)
        )
    }
}

import ArgumentParser
import MQTT
import MQTTPackets
import NIOCore

struct RequestResponse: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rr",
        abstract: "Publish a request, and print the response.",
        discussion: """
            Takes the flags of mosquitto_rr. Without -e the response topic is made up, which needs MQTT 5; with it the \
            first message there is the response, in 5 the first that has the request's correlation data or none. How \
            long it took is told on standard error. Ends with 2 where no response comes in time.
            """,
        helpNames: ConnectionOptions.helpNames
    )

    @OptionGroup var connection: ConnectionOptions

    @Option(name: .shortAndLong, parsing: .unconditional, help: "The topic of the request.")
    var topic: String?

    @Option(name: [.customShort("e"), .long], parsing: .unconditional, help: "The topic of the response.")
    var responseTopic: String?

    @OptionGroup var payload: PayloadOptions

    @Option(name: .shortAndLong, help: "Quality of service: 0, 1 or 2.")
    var qos: QoS = .atMostOnce

    @Option(name: [.customShort("W"), .long], help: "Seconds to wait for the response.")
    var timeout: Double = 30

    @Flag(
        name: [.customShort("R"), .long],
        help: "Taken as mosquitto_rr has it; a retained message never is the response."
    )
    var noRetained = false

    @OptionGroup(title: "Output") var output: OutputOptions

    private var requestTopic: String? { topic ?? connection.topicOfURL }

    func validate() throws {
        guard let requestTopic, Topics.isValidName(requestTopic) else {
            throw ValidationError("-t is a topic name: at least one character, without + and #.")
        }
        if let responseTopic, !Topics.isValidName(responseTopic) {
            throw ValidationError("-e is a topic name: at least one character, without + and #.")
        }
        guard responseTopic != nil || connection.version == .v5 else {
            throw ValidationError("Before MQTT 5 the topic of the response has to be given with -e.")
        }
        guard payload.waysGiven == 1 else { throw ValidationError("Give the payload in one way: -m, -f, -s or -n.") }
        guard timeout > 0, timeout <= 1_000_000 else { throw ValidationError("-W is a number of seconds above 0.") }
        try connection.allowProperties(of: [.connect, .publish, .will, .disconnect])
    }

    func run() async throws {
        let tool = Tool(options: connection)
        let ending = try await tool.run {
            guard let topic = requestTopic else { return }
            let request = try await payload.payload()
            try await tool.withClient(connection.configuration()) { client in
                let properties = connection.property.properties(of: .publish)
                let began = ContinuousClock.now
                let response =
                    if let responseTopic {
                        try await exchange(tool, client, request, topic, responseTopic, properties)
                    } else {
                        try await client.request(
                            to: topic,
                            payload: request,
                            qos: qos,
                            timeout: .seconds(timeout),
                            properties: properties
                        )
                    }
                tool.note("answered in \(formattedSeconds((ContinuousClock.now - began) / .seconds(1)))")
                _ = try await MessagePrinter(output: output, quiet: connection.quiet).print(response)
            }
        }
        if ending == .interrupted { throw Tool.interruptedCode }
    }

    private func exchange(
        _ tool: Tool,
        _ client: MQTTClient,
        _ request: ByteBuffer,
        _ topic: String,
        _ responseTopic: String,
        _ properties: Properties
    ) async throws -> MQTTMessage {
        var properties = properties
        var correlation: ByteBuffer?
        if connection.version == .v5 {
            properties[string: .responseTopic] = responseTopic
            correlation = properties[binary: .correlationData] ?? ByteBuffer(integer: UInt64.random(in: 0 ... .max))
            properties[binary: .correlationData] = correlation
        }
        let responses = try await tool.answered { [qos] in try await client.subscribe(to: responseTopic, qos: qos) }
        _ = try await tool.answered { [qos, properties] in
            try await client.publish(request, to: topic, qos: qos, properties: properties)
        }
        return try await withThrowingTaskGroup(of: MQTTMessage.self) { [correlation] tasks in
            tasks.addTask {
                for await message in responses where !message.isRetained {
                    let data = message.properties[binary: .correlationData]
                    if data == nil || data == correlation { return message }
                }
                throw MQTTError.closed
            }
            tasks.addTask {
                try await Task.sleep(for: .seconds(timeout))
                throw MQTTError.requestTimedOut
            }
            defer { tasks.cancelAll() }
            guard let response = try await tasks.next() else { throw MQTTError.closed }
            return response
        }
    }
}

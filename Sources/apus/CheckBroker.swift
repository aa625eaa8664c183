import ArgumentParser
import MQTT
import NIOCore

struct CheckBroker: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Find out what a broker supports.",
        discussion: """
            Connects with each version of the protocol, publishes and subscribes below the topic apus-check, and removes \
            what it left. Ends with 1 where no version is spoken.
            """
    )

    @OptionGroup var connection: ConnectionOptions

    @Argument(help: "The broker's host, as with -h.")
    var server: String?

    @Option(name: [.customShort("W"), .long], help: "Seconds to wait for each answer.")
    var timeout: Double = 5

    @Flag(help: "Print a JSON object.")
    var json = false

    func validate() throws {
        guard timeout > 0, timeout <= 1_000_000 else { throw ValidationError("-W is a number of seconds above 0.") }
        guard server == nil || connection.host == nil && connection.url == nil else {
            throw ValidationError("Give the host in one way.")
        }
        try connection.allowProperties(of: [.connect])
    }

    func run() async throws {
        var options = connection
        if let server { options.host = server }
        let tool = Tool(options: options)
        let (rows, told) = AsyncStream.makeStream(of: BrokerProbe.Finding.self)
        let probe = BrokerProbe(options: options, timeout: .seconds(timeout)) { told.yield($0) }
        let ending = try await tool.run {
            defer { told.finish() }
            try await probe.run()
        }
        var output = StandardOutput()
        var members: [String] = []
        for await row in rows {
            if json { members.append("\(row.jsonName):\(row.jsonValue)") } else { try output.print(row.line) }
        }
        if json { try output.print("{\(members.joined(separator: ","))}") }
        try output.flush()
        if ending == .interrupted { throw Tool.interruptedCode }
    }
}

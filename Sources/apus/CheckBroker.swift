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
            """,
        helpNames: ConnectionOptions.helpNames
    )

    @OptionGroup var connection: ConnectionOptions

    @Argument(help: "The broker's host, as with -h.")
    var server: String?

    @Option(
        name: [.customShort("W"), .long],
        help: "Seconds to wait for each answer; 5 unless given. The same as --answer-timeout."
    )
    var timeout: Double?

    private var seconds: Double { timeout ?? connection.answerTimeout ?? 5 }

    @Flag(help: "Print a JSON object.")
    var json = false

    func validate() throws {
        guard seconds > 0, seconds <= 1_000_000 else { throw ValidationError("-W is a number of seconds above 0.") }
        guard server == nil || connection.host == nil && connection.url == nil && connection.unix == nil else {
            throw ValidationError("Give the host in one way.")
        }
        if server?.isEmpty == true { throw ValidationError("The host is a name or an address.") }
        try connection.allowProperties(of: [.connect])
    }

    func run() async throws {
        var options = connection
        if let server { options.host = server }
        let tool = Tool(options: options)
        let (rows, told) = AsyncStream.makeStream(of: BrokerProbe.Finding.self)
        let probe = BrokerProbe(options: options, timeout: .seconds(seconds)) { told.yield($0) }
        let ending: Result<Tool.Ending, any Error>
        do {
            ending = .success(try await tool.run { try await probe.run() })
        } catch {
            ending = .failure(error)
        }
        told.finish()
        var output = StandardOutput()
        var members: [String] = []
        for await row in rows {
            if json { members.append("\(row.jsonName):\(row.jsonValue)") } else { try output.print(row.line) }
        }
        if json { try output.print("{\(members.joined(separator: ","))}") }
        try output.flush()
        if try ending.get() == .interrupted { throw Tool.interruptedCode }
    }
}

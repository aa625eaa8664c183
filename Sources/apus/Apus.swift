import ArgumentParser
import MQTTServer

@main
struct Apus: AsyncParsableCommand {
    static let version = MQTTBroker.version

    static let configuration = CommandConfiguration(
        commandName: "apus",
        abstract: "An MQTT broker for 3.1, 3.1.1 and 5.0, and the tools around it.",
        version: "apus \(version)",
        subcommands: [Serve.self, Pub.self, Sub.self, Store.self, Version.self]
    )
}

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the version.")

    func run() { print("apus \(Apus.version)") }
}

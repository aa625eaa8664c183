import ArgumentParser
import MQTTServer

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

@main
struct Apus: AsyncParsableCommand {
    static let version = MQTTBroker.version

    static let configuration = CommandConfiguration(
        commandName: "apus",
        abstract: "An MQTT broker for 3.1, 3.1.1 and 5.0, and the tools around it.",
        discussion:
            "Exits with 64 for a wrong command line, 1 for what failed or was refused, 2 for what took too long.",
        version: "apus \(version)",
        subcommands: [
            Serve.self, Pub.self, Sub.self, RequestResponse.self, Bench.self, CheckBroker.self, Store.self,
            Completion.self, Version.self,
        ]
    )

    static func main() async {
        // Who reads us may end before us; writing tells.
        signal(SIGPIPE, SIG_IGN)
        await main(PropertyOption.joining(Array(CommandLine.arguments.dropFirst())))
    }
}

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the version.")

    func run() { print("apus \(Apus.version)") }
}

struct Completion: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the script that completes commands in a shell.",
        discussion: "For bash: source <(apus completion bash)"
    )

    @Argument(help: "bash, zsh or fish.")
    var shell: String

    func validate() throws {
        guard CompletionShell(rawValue: shell) != nil else { throw ValidationError("The shell is bash, zsh or fish.") }
    }

    func run() throws {
        guard let shell = CompletionShell(rawValue: shell) else { return }
        var output = StandardOutput()
        try output.print(Apus.completionScript(for: shell))
        try output.flush()
    }
}

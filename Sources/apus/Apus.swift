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
        takeClosedDescriptors()
        do {
            var command = try parseAsRoot(PropertyOption.joining(arguments()))
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            leave(error)
        }
    }

    /// Those behind the program's name. Swift repairs what is not UTF-8, and a payload would not be what was given.
    private static func arguments() throws -> [String] {
        let given = UnsafeBufferPointer(start: CommandLine.unsafeArgv, count: Int(CommandLine.argc))
        return try given.dropFirst().compactMap { $0 }.map { bytes in
            guard let argument = String(validatingCString: bytes) else {
                throw ValidationError("An argument is not UTF-8; a payload of any bytes is given with -f or -s.")
            }
            return argument
        }
    }

    /// An error is one sentence; usage would hide it.
    private static func leave(_ error: any Error) -> Never {
        let code = exitCode(for: error)
        guard code != .success, !(error is ExitCode) else { exit(withError: error) }
        // Choices come as a list, a line for each.
        let sentence = message(for: error).replacing(":\n  - ", with: ": ").replacing("\n  - ", with: ", ")
        StandardError.print("Error: \(sentence)\n")
        exit(withError: code)
    }

    /// Where the shell has closed standard input, output or error, the next file or socket would have its number, and what
    /// is printed would go there. Reading and writing fail instead, as they would have.
    private static func takeClosedDescriptors() {
        for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) < 0 {
            _ = open("/dev/null", descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY)
        }
    }
}

struct Version: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Print the version.")

    func run() throws {
        var output = StandardOutput()
        try output.print("apus \(Apus.version)")
        try output.flush()
    }
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

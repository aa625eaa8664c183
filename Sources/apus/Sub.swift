import ArgumentParser
import MQTTPackets
import MQTTSessions
import NIOCore

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

struct Sub: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Subscribe, and print what comes.",
        discussion: "Takes the flags of mosquitto_sub for what it can do. Exits with 2 when -W ends it."
    )

    @OptionGroup var connection: ConnectionOptions

    @Option(name: .shortAndLong, help: "A topic filter; several may be given.")
    var topic: [String]

    @Option(name: .shortAndLong, help: "Quality of service: 0, 1 or 2.")
    var qos: QoS = .atMostOnce

    @Option(name: [.customShort("C"), .long], help: "End after this many messages.")
    var count: Int?

    @Option(name: [.customShort("W"), .long], help: "End after this many seconds.")
    var timeout: Double?

    @Flag(name: .shortAndLong, help: "Print the topic before the payload.")
    var verbose = false

    func validate() throws {
        for filter in topic where ParsedFilter(filter) == nil {
            throw ValidationError("\(filter) is not a topic filter.")
        }
        if let count, count < 1 { throw ValidationError("-C is at least 1.") }
        if let timeout, !(timeout > 0 && timeout <= 1_000_000) {
            throw ValidationError("-W is a number of seconds above 0.")
        }
    }

    func run() async throws {
        let isDone = try await withThrowingTaskGroup(of: Bool.self) { tasks in
            tasks.addTask {
                try await receive()
                return true
            }
            if let timeout {
                tasks.addTask {
                    try await Task.sleep(for: .seconds(timeout))
                    return false
                }
            }
            let isDone = try await tasks.next() ?? true
            tasks.cancelAll()
            return isDone
        }
        if !isDone { throw ExitCode(2) }
    }

    private func receive() async throws {
        try await Connection.with(connection) { connection in
            try await connection.subscribe(topic.map { Subscribe.Filter($0, SubscriptionOptions(qos: qos)) })
            var left = count ?? .max
            while let event = try await connection.next() {
                switch event {
                case .subscribed(let suback):
                    for (filter, reason) in zip(topic, suback.reasonCodes) where reason.isError {
                        throw CommandFailure("the broker refused the subscription to \(filter): \(reason)")
                    }
                case .message(let publish):
                    try print(publish)
                    left -= 1
                    if left == 0 { return }
                default: continue
                }
            }
            throw CommandFailure("the broker closed the connection")
        }
    }

    /// Payload bytes go out unchanged.
    private func print(_ publish: Publish) throws {
        var line = ByteBuffer()
        if verbose { line.writeString(publish.topic + " ") }
        line.writeImmutableBuffer(publish.payload)
        line.writeString("\n")
        let isWritten = line.withUnsafeReadableBytes { bytes in
            var at = 0
            while at < bytes.count {
                let written = write(STDOUT_FILENO, bytes.baseAddress.map { $0 + at }, bytes.count - at)
                if written < 0 && errno != EINTR { return false }
                at += max(0, written)
            }
            return true
        }
        // Who reads us has had enough, as `head` does.
        if !isWritten { throw ExitCode(0) }
    }
}

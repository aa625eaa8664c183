import ArgumentParser
import Logging
import MQTT
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// What the client library does against a running server: messages per second, and memory per idle client.
@main
struct ClientBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "client-bench",
        abstract: "The client library's speed and memory against a running server.",
        subcommands: [Throughput.self, Sending.self, Receiving.self, Idle.self]
    )
}

/// Whom to connect to.
struct ServerOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "The server.")
    var url = "mqtt://127.0.0.1"

    var configuration: MQTTClient.Configuration {
        get throws { try MQTTClient.Configuration(url) }
    }
}

let quiet = Logger(label: "client-bench") { _ in SwiftLogNoOpLogHandler() }

struct Throughput: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "One publisher, one subscriber: messages per second.")

    @OptionGroup var server: ServerOptions

    @Option(name: .shortAndLong, help: "Quality of service: 0, 1 or 2.")
    var qos: UInt8 = 0

    @Option(name: .shortAndLong, help: "How many messages.")
    var messages = 3_000_000

    @Option(name: .shortAndLong, help: "Bytes of payload.")
    var size = 64

    @Option(name: .shortAndLong, help: "Messages that are published and not received yet, at most.")
    var window = 16_000

    @Option(help: "Event loops of the two clients.")
    var threads = 1

    func validate() throws {
        guard QoS(rawValue: qos) != nil else { throw ValidationError("-q is 0, 1 or 2.") }
        guard messages > 0, size >= 0, window > 0, threads > 0 else {
            throw ValidationError("Numbers are positive.")
        }
    }

    func run() async throws {
        guard let qos = QoS(rawValue: qos) else { return }
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        var configuration = try server.configuration
        configuration.queue.messagesMax = window + 1
        let settings = configuration
        try await MQTTClient.withConnection(settings, eventLoopGroup: group, logger: quiet) { receiver in
            try await MQTTClient.withConnection(settings, eventLoopGroup: group, logger: quiet) { sender in
                let topic = "bench/\(UInt64.random(in: 0 ... .max))"
                let subscription = try await receiver.subscribe(to: topic, qos: qos)
                let (progress, told) = AsyncStream.makeStream(of: Void.self)
                let began = ContinuousClock.now
                let publishing = Task { try await publish(sender, topic, qos, progress) }
                var received = 0
                let (all, step) = (messages, step)
                for await _ in subscription {
                    received += 1
                    if received % step == 0 { told.yield() }
                    if received == all { break }
                }
                let seconds = (ContinuousClock.now - began) / .seconds(1)
                try await publishing.value
                print("QoS \(qos.rawValue): \(Int(Double(messages) / seconds)) messages/s published and received")
            }
        }
        try await group.shutdownGracefully()
    }

    private var step: Int { max(1, window / 4) }

    /// No more are on their way than the window: a server drops what a receiver does not keep up with.
    private func publish(
        _ client: MQTTClient,
        _ topic: String,
        _ qos: QoS,
        _ progress: AsyncStream<Void>
    ) async throws {
        let payload = ByteBuffer(repeating: UInt8(ascii: "x"), count: size)
        var received = progress.makeAsyncIterator()
        let step = step
        var allowed = max(window, step)
        for number in 0..<messages {
            if number == allowed {
                await received.next()
                allowed += step
            }
            if qos == .atMostOnce {
                try await client.publish(payload, to: topic)
            } else {
                try await client.enqueue(payload, to: topic, qos: qos)
            }
        }
        try await client.flush()
    }
}

struct Idle: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Many clients that are connected and silent: memory of each."
    )

    @OptionGroup var server: ServerOptions

    @Option(name: .shortAndLong, help: "How many clients.")
    var clients = 5_000

    func run() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let configuration = try server.configuration
        try await MQTTClient.withConnection(configuration, eventLoopGroup: group, logger: quiet) { _ in }
        let before = residentBytes()
        var running: [(MQTTClient, Task<Void, any Error>)] = []
        for _ in 0..<clients {
            let client = try MQTTClient(configuration, eventLoopGroup: group, logger: quiet)
            let task = Task { try await client.run() }
            try await client.connected()
            running.append((client, task))
        }
        let bytes = residentBytes() - before
        print("\(clients) clients: \(bytes / clients) bytes each")
        for (client, _) in running { client.disconnect() }
        for (_, task) in running { try await task.value }
        try await group.shutdownGracefully()
    }

    /// Of this process, as the system counts.
    private func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        guard fgets(&line, 256, file) != nil else { return 0 }
        let fields = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self).split(
            separator: " "
        )
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
    }
}

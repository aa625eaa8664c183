import ArgumentParser
import MQTT
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// One direction at a time, for `Benchmarks/client-compare`.
struct LoadOptions: ParsableArguments {
    @OptionGroup var server: ServerOptions

    @Option(name: .shortAndLong, help: "The topic.")
    var topic = "bench"

    @Option(name: .shortAndLong, help: "How many messages.")
    var messages = 1_000_000

    @Option(name: .shortAndLong, help: "Bytes of payload.")
    var size = 64

    @Option(name: .shortAndLong, help: "Messages that are under way at one time, at QoS 1.")
    var window = 1_000

    func validate() throws {
        guard messages > 0, size >= 0, window > 0 else { throw ValidationError("Numbers are positive.") }
    }

    func print(_ began: ContinuousClock.Instant) {
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        Swift.print(Int(Double(messages) / seconds))
    }
}

struct Sending: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Publish, and print the messages per second."
    )

    @OptionGroup var load: LoadOptions

    @Option(name: .shortAndLong, help: "Quality of service: 0, 1 or 2.")
    var qos: UInt8 = 0

    func run() async throws {
        guard let qos = QoS(rawValue: qos) else { throw ValidationError("-q is 0, 1 or 2.") }
        var configuration = try load.server.configuration
        configuration.queue.messagesMax = load.window
        let payload = ByteBuffer(repeating: UInt8(ascii: "x"), count: load.size)
        let (topic, messages) = (load.topic, load.messages)
        try await MQTTClient.withConnection(configuration, logger: quiet) { client in
            let began = ContinuousClock.now
            for _ in 0..<messages { try await client.enqueue(payload, to: topic, qos: qos) }
            try await client.flush()
            load.print(began)
        }
    }
}

struct Receiving: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "receive",
        abstract: "Subscribe, say so, and print the messages per second from the first to the last."
    )

    @OptionGroup var load: LoadOptions

    func run() async throws {
        try await MQTTClient.withConnection(load.server.configuration, logger: quiet) { client in
            try await client.withSubscription(to: load.topic) { messages in
                Swift.print("subscribed")
                fflush(nil)
                var began = ContinuousClock.now
                var received = 0
                let all = load.messages
                for await _ in messages {
                    if received == 0 { began = .now }
                    received += 1
                    if received == all { break }
                }
                load.print(began)
            }
        }
    }
}

import Foundation
import MQTT
import MQTTJournal
import MQTTServer
import Testing

/// A broker with a journal that is stopped and started again on the same port, with the clients going on.
@Suite(.timeLimit(.minutes(3))) struct RestartTests {
    private static let messages = 2_000

    private func start(_ directory: String, port: Int) async throws -> (port: Int, stop: @Sendable () async -> Void) {
        var configuration = BrokerConfiguration()
        configuration.addresses = [.init(host: "127.0.0.1", port: port)]
        configuration.threads = 1
        configuration.limits.queuedMessagesMax = 100_000
        let broker = MQTTBroker(configuration: configuration, store: Journal(directory: directory), logger: quiet)
        let running = Task { try await broker.run() }
        let bound = try await broker.boundAddresses.first?.port ?? 0
        return (
            bound,
            {
                running.cancel()
                _ = await running.result
            }
        )
    }

    @Test(
        "[MQTT-4.3.2-1] [MQTT-4.3.3-1] a server that is restarted under load: QoS 1 at least once, QoS 2 exactly once, in order",
        arguments: [QoS.atLeastOnce, .exactlyOnce]
    )
    func restarts(_ qos: QoS) async throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "mqtt-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var server = try await start(directory, port: 0)
        let address = ServerAddress(host: "127.0.0.1", port: server.port)
        func lasting(_ name: String) -> MQTTClient.Configuration {
            .test(address, name) {
                $0.cleanStart = false
                $0.sessionExpiry = .never
            }
        }
        let receiver = try MQTTClient(lasting("receiver"), logger: quiet)
        let sender = try MQTTClient(lasting("sender"), logger: quiet)
        let running = Task {
            async let one: Void = receiver.run()
            async let other: Void = sender.run()
            _ = try await (one, other)
        }
        let subscription = try await receiver.subscribe(to: "t", qos: qos)
        let received = Task { await subscription.first(until: "end") }
        let publishing = Task {
            for number in 0..<Self.messages {
                try await sender.publish("\(number)", to: "t", qos: qos, waits: number % 100 == 0)
            }
            try await sender.flush()
        }
        for _ in 0..<3 {
            try await sender.connected()
            await server.stop()
            server = try await start(directory, port: server.port)
        }
        try await publishing.value
        try await sender.publish("end", to: "t", qos: qos)
        let numbers = try await within("all messages", .seconds(60)) { await received.value }.compactMap { Int($0) }
        var seen: Set<Int> = []
        let distinct = numbers.filter { seen.insert($0).inserted }
        #expect(distinct == Array(0..<Self.messages))
        if qos == .exactlyOnce { #expect(numbers.count == Self.messages) }
        receiver.disconnect()
        sender.disconnect()
        try await running.value
        await server.stop()
    }
}

extension MQTTClient {
    /// Awaits the guarantee, or only hands the message over.
    fileprivate func publish(_ payload: String, to topic: String, qos: QoS, waits: Bool) async throws {
        if waits {
            try await publish(payload, to: topic, qos: qos)
        } else {
            try enqueue(ByteBuffer(string: payload), to: topic, qos: qos)
        }
    }
}

extension MQTTSubscription {
    /// The payloads before the one that ends them.
    fileprivate func first(until last: String) async -> [String] {
        var payloads: [String] = []
        for await message in self {
            if message.payloadString == last { break }
            payloads.append(message.payloadString)
        }
        return payloads
    }
}

import MQTT
import MQTTTesting
import Testing

/// A server that is stopped and started again on the same port, with the clients going on.
@Suite(.timeLimit(.minutes(3))) struct RestartTests {
    private static let messages = 2_000

    @Test(
        "[MQTT-4.3.2-1] [MQTT-4.3.3-1] a server that is restarted under load: QoS 1 at least once, QoS 2 exactly once, in order",
        arguments: [QoS.atLeastOnce, .exactlyOnce]
    )
    func restarts(_ qos: QoS) async throws {
        try await withRestartableServer { try await restarts(qos, $0) }
    }

    private func lasting(_ server: ServerAddress, _ name: String) -> MQTTClient.Configuration {
        .test(server, name) {
            $0.cleanStart = false
            $0.sessionExpiry = .never
        }
    }

    private func restarts(_ qos: QoS, _ server: RestartableServer) async throws {
        let receiver = try MQTTClient(lasting(server.address, "receiver"), logger: quiet)
        let sender = try MQTTClient(lasting(server.address, "sender"), logger: quiet)
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
            try await server.stop()
            try await server.start()
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
    }

    @Test(
        "what is published while the server is away waits up to the bounds of the queue, which then does what it is told",
        arguments: [MQTTClient.QueueLimits.Policy.refuseNewest, .dropOldest]
    )
    func offline(_ policy: MQTTClient.QueueLimits.Policy) async throws {
        try await withRestartableServer { server in
            var configuration = lasting(server.address, "sender")
            configuration.queue.messagesMax = 20
            configuration.queue.policy = policy
            try await withClient(lasting(server.address, "receiver")) { receiver in
                let subscription = try await receiver.subscribe(to: "t", qos: .exactlyOnce)
                try await withClient(configuration) { sender in
                    try await sender.publish("before", to: "t", qos: .exactlyOnce)
                    let events = sender.events
                    try await server.stop()
                    await events.first { $0.isReconnecting }
                    let accepted = try await publishTooMuch(sender)
                    // Attempts fail meanwhile.
                    await events.first { $0.isReconnecting }
                    await events.first { $0.isReconnecting }
                    try await server.start()
                    #expect(accepted.count == (policy == .dropOldest ? 50 : 20))
                    let kept = accepted.suffix(20)
                    let payloads = await subscription.first(1 + kept.count).map(\.payloadString)
                    #expect(payloads == ["before"] + kept)
                    try await sender.flush()
                }
            }
        }
    }

    /// More than the queue takes; gives what was not refused.
    private func publishTooMuch(_ client: MQTTClient) async throws -> [String] {
        var accepted: [String] = []
        for number in 0..<50 {
            do {
                try await client.enqueue(ByteBuffer(string: "\(number)"), to: "t", qos: .exactlyOnce)
                accepted.append("\(number)")
            } catch MQTTError.queueFull {
                continue
            }
        }
        return accepted
    }
}

extension MQTTClient.Event {
    fileprivate var isReconnecting: Bool {
        if case .reconnecting = self { return true }
        return false
    }
}

extension AsyncSequence where Failure == Never {
    /// Returns once there has been one.
    fileprivate func first(where body: (Element) -> Bool) async {
        for await element in self where body(element) { return }
    }
}

extension MQTTClient {
    /// Awaits the guarantee, or only hands the message over.
    fileprivate func publish(_ payload: String, to topic: String, qos: QoS, waits: Bool) async throws {
        if waits {
            try await publish(payload, to: topic, qos: qos)
        } else {
            try await enqueue(ByteBuffer(string: payload), to: topic, qos: qos)
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

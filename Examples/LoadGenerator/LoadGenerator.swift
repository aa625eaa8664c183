import MQTT

/// So many clients, each of which publishes so many messages to itself at QoS 1 and waits until it has all of them.
///
///     load-generator [mqtt://localhost [clients [messages]]]
@main struct LoadGenerator {
    static func main() async throws {
        let arguments = Array(CommandLine.arguments.dropFirst())
        let url = arguments.first ?? "mqtt://localhost"
        let clients = arguments.dropFirst().first.flatMap { Int($0) } ?? 100
        let messages = arguments.dropFirst(2).first.flatMap { Int($0) } ?? 1_000
        let began = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            for number in 0..<clients {
                tasks.addTask { try await exchange(messages, on: "load/\(number)", with: url) }
            }
            try await tasks.waitForAll()
        }
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        let total = clients * messages
        print("\(total) messages through \(clients) clients, \(Int(Double(total) / seconds)) a second")
    }

    static func exchange(_ count: Int, on topic: String, with url: String) async throws {
        try await MQTTClient.withConnection(url) { client in
            let received = try await client.subscribe(to: topic, qos: .atLeastOnce)
            async let last = received.first { $0.payloadString == "\(count)" }
            for number in 1...count {
                try await client.enqueue(ByteBuffer(string: "\(number)"), to: topic, qos: .atLeastOnce)
            }
            guard await last != nil else { throw MQTTError.notConnected }
        }
    }
}

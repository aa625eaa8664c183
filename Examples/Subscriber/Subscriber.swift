import MQTT

/// Prints the first message on /temperature, and unsubscribes.
///
///     subscriber [mqtt://localhost]
@main struct Subscriber {
    static func main() async throws {
        try await MQTTClient.withConnection(CommandLine.arguments.dropFirst().first ?? "mqtt://localhost") { client in
            let messages = try await client.subscribe(to: "/temperature", qos: .atLeastOnce)
            for await message in messages {
                print("\(message.topic) \(message.payloadString)")
                break
            }
            try await messages.unsubscribe()
            print("unsubscribed")
        }
    }
}

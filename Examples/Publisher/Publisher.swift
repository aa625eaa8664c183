import MQTT

/// Publishes 30 to /temperature every three seconds, for as long as it runs, whatever happens to the connection.
///
///     publisher [mqtt://localhost [seconds between two]]
@main struct Publisher {
    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst()
        let pause = arguments.dropFirst().first.flatMap(Double.init) ?? 3
        try await MQTTClient.withConnection(arguments.first ?? "mqtt://localhost") { client in
            while true {
                try await client.publish("30", to: "/temperature", qos: .atLeastOnce)
                try await Task.sleep(for: .seconds(pause))
            }
        }
    }
}

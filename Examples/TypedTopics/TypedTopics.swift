import MQTT

struct Reading: Codable, Sendable {
    var celsius: Double
}

/// Publishes readings of two rooms as JSON, and prints what it gets: values with the room that they came from, and a word
/// about what is no reading.
///
///     typed-topics [mqtt://localhost]
@main struct TypedTopics {
    static func main() async throws {
        let temperature = Topic<Reading>("sensors/{room}/temperature")
        try await MQTTClient.withConnection(CommandLine.arguments.dropFirst().first ?? "mqtt://localhost") { client in
            let readings = try await client.subscribe(to: temperature, qos: .atLeastOnce)
            try await client.publish(Reading(celsius: 19.5), to: temperature, ["room": "kitchen"], qos: .atLeastOnce)
            try await client.publish(Reading(celsius: 17), to: temperature, ["room": "attic"], qos: .atLeastOnce)
            try await client.publish("warm", to: "sensors/hall/temperature", qos: .atLeastOnce)
            var left = 3
            for await reading in readings {
                let room = reading.values["room"] ?? ""
                switch reading.payload {
                case .success(let value): print("\(room): \(value.celsius) °C")
                case .failure: print("\(room): no reading")
                }
                left -= 1
                if left == 0 { break }
            }
            try await readings.unsubscribe()
        }
    }
}

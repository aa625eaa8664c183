import MQTT
import MQTTJournal

struct Reading: Codable, Sendable {
    var celsius: Double
}

let temperature = Topic<Reading>("rooms/{room}/temperature")

/// The code of the article Client guide.
enum ClientGuide {
    static func connection() async throws {
        try await MQTTClient.withConnection("mqtt://localhost") { client in
            try await client.publish("21.5", to: "rooms/kitchen/temperature", qos: .atLeastOnce)
        }
    }

    /// Of the comment of `MQTTClient`.
    static func both() async throws {
        try await MQTTClient.withConnection("mqtt://localhost") { client in
            try await client.publish("30", to: "temperature", qos: .atLeastOnce)
            try await client.withSubscription(to: "temperature") { messages in
                for await message in messages { print(message.topic, message.payloadString) }
            }
        }
    }

    static func running() async throws {
        var configuration = try MQTTClient.Configuration("mqtt://localhost:1883")
        configuration.clientID = "kitchen"
        configuration.cleanStart = false
        configuration.sessionExpiry = .after(.seconds(3_600))
        configuration.will = Will(topic: "rooms/kitchen/state", payload: ByteBuffer(string: "lost"))
        let client = try MQTTClient(configuration)
        async let running: Void = client.run()
        try await client.publish("here", to: "rooms/kitchen/state", qos: .atLeastOnce)
        client.disconnect()
        try await running
    }

    static func enqueueing(_ client: MQTTClient) async throws {
        let events = client.events
        let open = ByteBuffer(string: "open")
        let id = try await client.enqueue(open, to: "doors/front", qos: .exactlyOnce, retain: true)
        for await event in events {
            if case .published(id) = event { break }
            if case .publishFailed(id, let error) = event { throw error }
        }
    }

    static func subscribing(_ client: MQTTClient) async throws {
        try await client.withSubscription(to: "rooms/+/temperature", qos: .atLeastOnce) { messages in
            for await message in messages {
                print(message.topic, message.payloadString)
            }
        }
    }

    static func resuming(_ configuration: MQTTClient.Configuration) async throws {
        let client = try MQTTClient(configuration)
        let earlier = client.unclaimedMessages(acknowledging: .byHand)
        async let running: Void = client.run()
        for await message in earlier {
            print(message.topic, message.payloadString)
            message.acknowledge()
        }
        try await running
    }

    static func typed(_ client: MQTTClient) async throws {
        try await client.publish(Reading(celsius: 21.5), to: temperature, ["room": "kitchen"], qos: .atLeastOnce)
        for await reading in try await client.subscribe(to: temperature) {
            guard case .success(let value) = reading.payload else { continue }
            print(reading.values["room"] ?? "", value.celsius)
        }
    }

    static func asking(_ client: MQTTClient) async throws {
        let question = ByteBuffer(string: "swift")
        let answer = try await client.request(to: "text/length", payload: question, timeout: .seconds(10))
        print(answer.payloadString)
    }

    static func answering(_ client: MQTTClient) async throws {
        for await request in try await client.subscribe(to: "text/length", qos: .atLeastOnce) {
            try await client.respond(to: request, with: ByteBuffer(string: "\(request.payloadString.count)"))
        }
    }

    static func watching(_ client: MQTTClient) async {
        for await event in client.events {
            switch event {
            case .connected(let connection): print("connected, session present: \(connection.sessionPresent)")
            case .disconnected(let error): print("disconnected: \(error)")
            case .reconnecting(let pause, let attempt): print("attempt \(attempt) in \(pause)")
            default: continue
            }
        }
    }

    static func storing() throws -> MQTTClient.Configuration {
        var configuration = try MQTTClient.Configuration("mqtt://localhost")
        configuration.clientID = "meter-17"
        configuration.store = Journal(directory: "outbox", configuration: .client)
        configuration.cleanStart = false
        configuration.sessionExpiry = .never
        return configuration
    }
}

import MQTT
import MQTTTesting
import Testing

private struct Reading: Codable, Sendable, Equatable {
    var celsius: Double
}

@Suite(.timeLimit(.minutes(2))) struct TopicTests {
    private let topic = Topic<Reading>("sensors/{room}/temperature")

    @Test("placeholders are filled to publish, and become + to subscribe")
    func placeholders() throws {
        #expect(topic.filter == "sensors/+/temperature")
        #expect(try topic.name(["room": "kitchen"]) == "sensors/kitchen/temperature")
        #expect(topic.values(in: "sensors/kitchen/temperature") == ["room": "kitchen"])
        #expect(topic.values(in: "sensors/kitchen") == nil)
        let wrong: [[String: String]] = [
            [:], ["room": ""], ["room": "a/b"], ["room": "+"], ["room": "#"], ["room": "a", "floor": "1"],
        ]
        for values in wrong { #expect(throws: MQTTError.self, "\(values)") { try topic.name(values) } }
    }

    @Test("values come with the names they were published under, and what is no value is an element too")
    func values() async throws {
        try await withBroker { [topic] server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let readings = try await client.subscribe(to: topic, qos: .atLeastOnce)
                try await client.publish(Reading(celsius: 21.5), to: topic, ["room": "kitchen"], qos: .atLeastOnce)
                try await client.publish("warm", to: "sensors/bath/temperature", qos: .atLeastOnce)
                let both = await readings.first(2)
                #expect(try both[0].payload.get() == Reading(celsius: 21.5))
                #expect(both[0].message.properties[string: .contentType] == "application/json")
                #expect(both.map(\.values) == [["room": "kitchen"], ["room": "bath"]])
                #expect(throws: (any Error).self) { try both[1].payload.get() }
            }
        }
    }
}

@Suite(.timeLimit(.minutes(2))) struct RequestTests {
    @Test("a request gets the response to it, whatever else is asked at the same time")
    func response() async throws {
        try await withBroker { server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let requests = try await client.subscribe(to: "double", qos: .atLeastOnce)
                let answering = Task {
                    for await request in requests {
                        let number = Int(request.payloadString) ?? 0
                        try await client.respond(to: request, with: ByteBuffer(string: "\(2 * number)"))
                    }
                }
                try await withThrowingTaskGroup(of: (Int, String).self) { tasks in
                    for number in 0..<20 {
                        tasks.addTask {
                            let payload = ByteBuffer(string: "\(number)")
                            return (number, try await client.request(to: "double", payload: payload).payloadString)
                        }
                    }
                    for try await (number, answer) in tasks { #expect(answer == "\(2 * number)") }
                }
                try await requests.unsubscribe()
                try await answering.value
            }
        }
    }

    @Test("a request that nobody answers times out, and one that nobody hears fails at once")
    func noResponse() async throws {
        try await withBroker { server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                await #expect(throws: MQTTError.publishRefused(.noMatchingSubscribers)) {
                    _ = try await client.request(to: "nobody", payload: ByteBuffer())
                }
                let silent = try await client.subscribe(to: "silent")
                await #expect(throws: MQTTError.requestTimedOut) {
                    _ = try await client.request(to: "silent", payload: ByteBuffer(), timeout: .milliseconds(50))
                }
                let cancelled = Task { _ = try await client.request(to: "silent", payload: ByteBuffer()) }
                cancelled.cancel()
                await #expect(throws: MQTTError.cancelled) { try await cancelled.value }
                try await silent.unsubscribe()
            }
        }
    }
}

import MQTT
import MQTTTesting
import Testing

private struct Reading: Codable, Sendable, Equatable {
    var celsius: Double
}

/// Readings as text: `21.5 °C`.
private struct TextCoder: PayloadCoder {
    enum Wrong: Error, Equatable {
        case notAReading
        case tooCold
        case unit(String)
    }

    var contentType: String?

    func encode<Value: Encodable>(_ value: Value) throws -> ByteBuffer {
        guard let reading = value as? Reading else { throw Wrong.notAReading }
        guard reading.celsius >= -273.15 else { throw Wrong.tooCold }
        return ByteBuffer(string: "\(reading.celsius) °C")
    }

    func decode<Value: Decodable>(_ type: Value.Type, from payload: ByteBuffer) throws -> Value {
        let words = String(buffer: payload).split(separator: " ", maxSplits: 1).map(String.init)
        guard words.count == 2, let celsius = Double(words[0]), let value = Reading(celsius: celsius) as? Value else {
            throw Wrong.notAReading
        }
        guard words[1] == "°C" else { throw Wrong.unit(words[1]) }
        return value
    }
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

@Suite(.timeLimit(.minutes(2))) struct PayloadCoderTests {
    @Test("a coder of one's own writes and reads the payloads, and its errors come with the messages that they are of")
    func ownCoder() async throws {
        let topic = Topic<Reading>("sensors/{room}", coder: TextCoder(contentType: "text/plain"))
        try await withBroker { server in
            try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                let readings = try await client.subscribe(to: topic, qos: .atLeastOnce)
                try await client.publish(Reading(celsius: 21.5), to: topic, ["room": "a"], qos: .atLeastOnce)
                for payload in ["{}", "70 °F", ""] {
                    try await client.publish(payload, to: "sensors/a", qos: .atLeastOnce)
                }
                try await client.publish(Reading(celsius: -1), to: topic, ["room": "b"], qos: .atLeastOnce)
                let all = await readings.first(5)
                #expect(all.map { try? $0.payload.get().celsius } == [21.5, nil, nil, nil, -1])
                #expect(all.map(\.message.payloadString) == ["21.5 °C", "{}", "70 °F", "", "-1.0 °C"])
                #expect(
                    all.map { $0.message.properties[string: .contentType] != nil } == [true, false, false, false, true]
                )
                #expect(all[0].message.properties[string: .contentType] == "text/plain")
                let errors = all[1...3].map { reading in
                    #expect(throws: TextCoder.Wrong.self) { try reading.payload.get() }
                }
                #expect(errors == [.notAReading, .unit("°F"), .notAReading])
            }
        }
    }

    @Test("a value that cannot be encoded is not published, and the error says why")
    func notEncoded() async throws {
        let topic = Topic<Reading>("t", coder: TextCoder())
        let client = try MQTTClient("mqtt://127.0.0.1:1")
        await #expect(throws: MQTTError.invalidArgument("the payload cannot be encoded: tooCold")) {
            try await client.publish(Reading(celsius: -300), to: topic)
        }
    }

    @Test(
        "Content Type is the coder's, unless the publisher has said another; a coder may have none, and before 5.0 there is none"
    )
    func contentType() async throws {
        for version in [ProtocolVersion.v5, .v3_1_1] {
            let server = try await FakeServer(version)
            try await withClient(.test(server.address, "c", version)) { client in
                let connection = try await server.connection()
                try await connection.accept()
                try await client.connected()
                var own = Properties()
                own[string: .contentType] = "own"
                for contentType in ["text/plain", nil] {
                    let topic = Topic<Reading>("t", coder: TextCoder(contentType: contentType))
                    try await client.publish(Reading(celsius: 1), to: topic)
                    let publish = try await connection.publish()
                    #expect(publish.payload == ByteBuffer(string: "1.0 °C"))
                    #expect(publish.properties[string: .contentType] == (version == .v5 ? contentType : nil))
                    guard version == .v5 else { continue }
                    try await client.publish(Reading(celsius: 1), to: topic, properties: own)
                    #expect(try await connection.publish().properties == own)
                }
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

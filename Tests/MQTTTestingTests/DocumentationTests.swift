import MQTTTesting
import Testing

/// The code of comments that needs a test around it.
@Suite struct DocumentationTests {
    @Test("the example of withBroker does what it says")
    func example() async throws {
        try await withBroker { broker, connect in
            let subscriber = try await connect("subscriber")
            try await subscriber.subscribe("t")
            let publisher = try await connect.client("publisher")
            try await publisher.publish("21.5", to: "t", qos: .atLeastOnce)
            #expect(try await subscriber.nextPayload() == "21.5")
        }
    }
}

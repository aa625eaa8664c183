import MQTT
import MQTTTesting
import Testing

@Suite(.timeLimit(.minutes(2))) struct OfflineTests {
    @Test(
        "a minute without a server, in which more is published than the queue takes: what it keeps arrives, in order",
        arguments: [MQTTClient.QueueLimits.Policy.refuseNewest, .dropOldest]
    )
    func minute(_ policy: MQTTClient.QueueLimits.Policy) async throws {
        try await withBroker { _, connect in
            let receiver = try await connect("receiver")
            try await receiver.subscribe("t")
            let link = try await connect.link()
            let client = try await connect.client("sender", over: link) {
                $0.queue.messagesMax = 20
                $0.queue.policy = policy
            }
            try await client.connected()
            let events = client.events
            try await link.refuse()
            try await link.cut()
            for await case .disconnected in events { break }
            var refused = 0
            for number in 0..<60 {
                do {
                    try await client.enqueue(ByteBuffer(string: "\(number)"), to: "t", qos: .atLeastOnce)
                } catch MQTTError.queueFull {
                    refused += 1
                }
                try await connect.clock.advance(by: .seconds(1))
            }
            #expect(refused == (policy == .refuseNewest ? 40 : 0))
            try await link.accept()
            for number in policy == .refuseNewest ? 0..<20 : 40..<60 {
                let payload = try await connect.clock.letTimePass { try await receiver.nextPayload() }
                #expect(payload == "\(number)")
            }
            try await connect.clock.letTimePass { try await client.flush() }
        }
    }
}

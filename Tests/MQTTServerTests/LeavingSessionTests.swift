import MQTTCore
import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import Testing

@Suite("Sessions that end and leave shared messages to others") struct LeavingSessionTests {
    @Test("what a member's queue takes the place of in memory while it is moved comes to that member all the same")
    func movesWhileMemoryIsScarce() async throws {
        let broker = testBroker(threads: 1, store: KeptStore()) { $0.limits.windowBytesInAllMax = 4_000 }
        try await withBroker(broker) { broker, connect in
            let payload = String(repeating: "x", count: 100)
            let leaving = try await connect("leaving", expiry: 60)
            try await leaving.subscribe("$share/g/t", .atLeastOnce)
            try await leaving.close()
            for _ in 0..<40 { try await broker.publish(payload, to: "t", qos: .atLeastOnce) }
            // A member that takes its messages, and acknowledges none, fills the memory that all share.
            let member = try await connect("member", expiry: 60)
            try await member.subscribe("own", .atLeastOnce)
            for _ in 0..<40 { try await broker.publish(payload, to: "own", qos: .atLeastOnce) }
            let filters = [Subscribe.Filter("$share/g/t", SubscriptionOptions(qos: .atLeastOnce))]
            try await member.send(.subscribe(Subscribe(packetID: 1, filters: filters)))
            var untaken: [UInt16] = []
            while case .publish(let publish) = try await member.next() { untaken.append(publish.packetID ?? 0) }
            // A clean start ends the session with the messages.
            _ = try await connect("leaving")
            for id in untaken { try await member.send(.puback(Acknowledgement(packetID: id))) }
            var topics = ["own": untaken.count]
            while topics["t"] != 40 {
                guard case .publish(let publish) = try await member.next(), let id = publish.packetID else { continue }
                topics[publish.topic, default: 0] += 1
                try await member.send(.puback(Acknowledgement(packetID: id)))
            }
            #expect(topics == ["own": 40, "t": 40])
        }
    }
}

import Foundation
import MQTT
import MQTTJournal
import MQTTPackets
import MQTTTesting
import NIOCore
import Testing

/// What counts for the bounds of the queue, and what makes room in it.
@Suite(.timeLimit(.minutes(2))) struct QueueBoundsTests {
    private static let nobody = ServerAddress(host: "127.0.0.1", port: 1)

    private func handOver(_ client: MQTTClient, _ payload: String, _ qos: QoS, bytes: Int = 0) throws -> PublishID {
        let padding = String(repeating: " ", count: max(0, bytes - payload.utf8.count))
        return try client.enqueue(ByteBuffer(string: payload + padding), to: "t", qos: qos)
    }

    /// The client's loop has taken what it was given before.
    private func taken(_ client: MQTTClient) async throws { try await client.unsubscribe(from: ["nothing"]) }

    @Test("the oldest makes room, whatever its QoS")
    func oldest() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.queue.messagesMax = 2
            $0.queue.policy = .dropOldest
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let events = client.events
        let oldest = try handOver(client, "0", .atLeastOnce)
        _ = try handOver(client, "1", .atMostOnce)
        try await taken(client)
        _ = try handOver(client, "2", .atLeastOnce)
        for await case .publishFailed(let id, .dropped) in events {
            #expect(id == oldest)
            break
        }
    }

    @Test(
        "a message that is larger than the queue makes no room for itself",
        arguments: [QoS.atMostOnce, .atLeastOnce]
    )
    func larger(_ qos: QoS) async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.queue.bytesMax = 1_000
            $0.queue.policy = .dropOldest
        }
        let client = try MQTTClient(configuration, logger: quiet)
        _ = try handOver(client, "large", qos, bytes: 2_000)
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        try await connection.accept()
        #expect(try await connection.publish().payload.readableBytes == 2_000)
        client.close()
        try await running.value
    }

    @Test(
        "a message that was taken back leaves its place in the queue",
        arguments: [QoS.atMostOnce, .atLeastOnce, .exactlyOnce]
    )
    func place(_ qos: QoS) async throws {
        let configuration = MQTTClient.Configuration.test(Self.nobody) {
            $0.queue.messagesMax = 3
            $0.queue.policy = .refuseNewest
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let ids = try (0..<3).map { try handOver(client, "\($0)", qos) }
        try await taken(client)
        client.removePublish(ids[1])
        try await taken(client)
        #expect(throws: Never.self) { try handOver(client, "3", qos) }
    }

    @Test("a message that was taken back makes room before the oldest does")
    func placeOfOldest() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.queue.messagesMax = 3
            $0.queue.policy = .dropOldest
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let ids = try (0..<3).map { try handOver(client, "\($0)", .atLeastOnce) }
        try await taken(client)
        client.removePublish(ids[1])
        try await taken(client)
        _ = try handOver(client, "3", .atLeastOnce)
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        try await connection.accept()
        #expect(try await connection.acknowledge(1) == ["0"])
        client.close()
        try await running.value
    }

    @Test("messages that were sent take nothing of the queue's bytes")
    func inFlight() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.queue.bytesMax = 5_000
            $0.queue.policy = .dropOldest
        }
        try await withClient(configuration) { client in
            let events = client.events
            let connection = try await server.connection()
            var oneAtATime = Properties()
            oneAtATime[integer: .receiveMaximum] = 1
            try await connection.accept(oneAtATime)
            try await client.connected()
            let first = try handOver(client, "first", .atLeastOnce, bytes: 6_000)
            let sent = try await connection.publish()
            let second = try handOver(client, "second", .atLeastOnce)
            let third = try await client.enqueue(ByteBuffer(string: "QoS 0"), to: "t")
            _ = try await connection.publish()
            connection.send(.puback(Acknowledgement(packetID: sent.packetID ?? 0)))
            #expect(try await connection.acknowledge(1) == ["second"])
            var ends: [MQTTClient.Event] = []
            for await event in events {
                switch event {
                case .published, .publishFailed: ends.append(event)
                default: continue
                }
                if ends.count == 3 { break }
            }
            #expect(ends == [.published(third), .published(first), .published(second)])
        }
    }

    @Test("who waits for room has it once the message before is cancelled, also where nothing is taken yet")
    func roomOfCancelled() async throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "mqtt-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address, "c") {
            $0.store = Journal(directory: path, configuration: .client)
            $0.cleanStart = false
            $0.sessionExpiry = .never
            $0.queue.messagesMax = 1
        }
        // Before run() the store is not open, and nothing is taken.
        let client = try MQTTClient(configuration, logger: quiet)
        let cancelled = Task { try await client.publish("cancelled", to: "t", qos: .atLeastOnce) }
        while (try? handOver(client, "full", .atLeastOnce)).map({ client.removePublish($0) }) != nil {
            await Task.yield()
        }
        let waiting = Task { try await client.publish("waiting", to: "t", qos: .atLeastOnce) }
        for _ in 0..<1_000 { await Task.yield() }
        cancelled.cancel()
        await #expect(throws: MQTTError.cancelled) { try await cancelled.value }
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        try await connection.accept()
        #expect(try await connection.acknowledge(1) == ["waiting"])
        #expect(try await waiting.value == .success)
        client.disconnect()
        try await running.value
    }

    @Test("what a client with a store was given before it ends is published by the next, however much it is")
    func given() async throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "mqtt-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let configuration = MQTTClient.Configuration.test(Self.nobody, "c") {
            $0.store = Journal(directory: path, configuration: .client)
            $0.cleanStart = false
            $0.sessionExpiry = .never
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let events = client.events
        let running = Task { try await client.run() }
        for await case .reconnecting in events { break }
        for number in 0..<100 { _ = try handOver(client, "\(number)", .atLeastOnce, bytes: 20_000) }
        client.disconnect()
        try await running.value
        let journal = Journal(directory: path, configuration: .client)
        #expect(try await journal.open().sessions.map(\.queuedMessages) == [100])
        await journal.close()
    }
}

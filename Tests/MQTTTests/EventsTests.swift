import MQTT
import MQTTPackets
import MQTTTesting
import Testing

@Suite(.timeLimit(.minutes(2))) struct EventsTests {
    private static let nobody = ServerAddress(host: "127.0.0.1", port: 1)

    private func all(_ events: AsyncStream<MQTTClient.Event>) async -> [MQTTClient.Event] {
        var all: [MQTTClient.Event] = []
        for await event in events { all.append(event) }
        return all
    }

    @Test(
        "each listener gets all events, also beside one that has gone; the last is the end, and with it the streams end"
    )
    func listeners() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let (kept, read) = (client.events, client.events)
        let gone = Task { [events = client.events] in await events.first(1) }
        let reading = Task { await all(read) }
        let running = Task { try await client.run() }
        let first = try await server.connection()
        try await first.accept()
        let made = try await client.connected()
        #expect(await gone.value == [.connected(made)])
        first.send(.disconnect(Disconnect(reasonCode: .serverBusy)))
        let second = try await server.connection()
        // Who comes now hears of what follows.
        let late = client.events
        try await second.accept()
        let id = try await client.enqueue(ByteBuffer(string: "m"), to: "t", qos: .atLeastOnce)
        #expect(try await second.acknowledge(1) == ["m"])
        try await client.flush()
        client.disconnect()
        _ = try await second.disconnect()
        second.close()
        try await running.value

        let events = await reading.value
        #expect(await all(kept) == events)
        #expect(await all(late) == [.connected(made), .published(id), .closed(nil)])
        var rest = events
        rest.removeAll {
            if case .reconnecting(_, attempt: 1) = $0 { return true }
            return false
        }
        #expect(rest.count == events.count - 1)
        let lost = MQTTError.disconnected(.serverBusy, Properties())
        #expect(rest == [.connected(made), .disconnected(lost), .connected(made), .published(id), .closed(nil)])
    }

    @Test("the last event has the error that run() throws")
    func failure() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let events = client.events
        let running = Task { try await client.run() }
        try await server.connection().refuse(.banned)
        let refused = MQTTError.refused(.banned, Properties())
        await #expect(throws: refused) { try await running.value }
        #expect(await all(events) == [.disconnected(refused), .closed(refused)])
        #expect(client.connectionState == .closed)
        await #expect(throws: refused) { try await client.connected() }
    }

    @Test("who asks for events once the client has ended gets none")
    func tooLate() async throws {
        let client = try MQTTClient(.test(Self.nobody) { $0.reconnect = .never }, logger: quiet)
        await #expect(throws: MQTTError.self) { try await client.run() }
        #expect(await all(client.events).isEmpty)
    }

    @Test("a listener that is slow keeps the 256 newest events")
    func slow() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let events = client.events
        let running = Task { try await client.run() }
        try await server.connection().accept()
        try await client.connected()
        var ids: [PublishID] = []
        for number in 0..<300 { ids.append(try await client.enqueue(ByteBuffer(string: "\(number)"), to: "t")) }
        try await client.flush()
        client.close()
        try await running.value
        #expect(await all(events) == ids.suffix(255).map { .published($0) } + [.closed(nil)])
    }

    @Test("connectionState says how far the client is")
    func states() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.reconnect.delay = .seconds(3_600)
            $0.reconnect.delayMax = .seconds(3_600)
        }
        let client = try MQTTClient(configuration, logger: quiet)
        #expect(client.connectionState == .disconnected)
        let events = client.events
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        guard case .connect? = try await connection.next() else { throw TimedOut(description: "CONNECT") }
        #expect(client.connectionState == .connecting)
        connection.send(.connack(Connack(sessionPresent: false, reasonCode: .success)))
        let made = try await client.connected()
        #expect(client.connectionState == .connected(made))
        connection.close()
        for await case .reconnecting in events { break }
        #expect(client.connectionState == .disconnected)
        client.disconnect()
        try await running.value
        #expect(client.connectionState == .closed)
    }

    @Test("connected() waits for a connection, can be cancelled, and throws why there will be none")
    func connected() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let cancelled = Task { try await client.connected() }
        cancelled.cancel()
        await #expect(throws: MQTTError.cancelled) { try await cancelled.value }
        let waiting = Task { try await client.connected() }
        let running = Task { try await client.run() }
        try await server.connection().accept()
        #expect(try await waiting.value.server == server.address)
        client.close()
        try await running.value
        await #expect(throws: MQTTError.closed) { try await client.connected() }

        let hopeless = try MQTTClient(.test(server.address) { $0.reconnect = .never }, logger: quiet)
        let told = Task { try await hopeless.connected() }
        let ending = Task { try await hopeless.run() }
        try await server.connection().refuse(.serverBusy)
        await #expect(throws: MQTTError.refused(.serverBusy, Properties())) { try await told.value }
        _ = await ending.result
    }

    @Test(
        "events tell of a message that was enqueued and will not be published, since the client has ended",
        arguments: [QoS.atMostOnce, .atLeastOnce]
    )
    func told(_ qos: QoS) async throws {
        let client = try MQTTClient(.test(ServerAddress(host: "127.0.0.1", port: 1)), logger: quiet)
        let events = client.events
        let id = try await client.enqueue(ByteBuffer(string: "m"), to: "t", qos: qos)
        let running = Task { try await client.run() }
        client.close()
        try await running.value
        var ends: [MQTTClient.Event] = []
        for await event in events { ends.append(event) }
        #expect(ends.contains(.publishFailed(id, .closed)))
    }
}

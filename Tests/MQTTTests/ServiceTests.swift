import MQTT
import MQTTPackets
import MQTTTesting
import ServiceLifecycle
import Testing

/// The client among the services of a program.
@Suite(.timeLimit(.minutes(2))) struct ServiceTests {
    private static let nobody = ServerAddress(host: "127.0.0.1", port: 1)

    /// A service that runs until it is told to stop.
    private struct Other: Service {
        func run() async throws { try await ServiceLifecycle.gracefulShutdown() }
    }

    @Test("a graceful shutdown ends the client with DISCONNECT, behind what it was given before")
    func gracefulShutdown() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let group = ServiceGroup(services: [client, Other()], logger: quiet)
        let running = Task { try await group.run() }
        let connection = try await server.connection()
        try await connection.accept()
        try await client.connected()
        for number in 0..<100 { try await client.enqueue(ByteBuffer(string: "\(number)"), to: "t") }
        await group.triggerGracefulShutdown()
        for number in 0..<100 { #expect(try await connection.publish().payload == ByteBuffer(string: "\(number)")) }
        #expect(try await connection.disconnect().reasonCode == .success)
        connection.close()
        try await within("the group") { try await running.value }
        #expect(client.connectionState == .closed)
    }

    @Test("cancelling the group's task ends the client with DISCONNECT")
    func cancelled() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let running = Task { try await ServiceGroup(services: [client], logger: quiet).run() }
        let connection = try await server.connection()
        try await connection.accept()
        try await client.connected()
        running.cancel()
        #expect(try await connection.disconnect().reasonCode == .success)
        connection.close()
        _ = try await within("the group") { await running.result }
        #expect(client.connectionState == .closed)
    }

    @Test("a graceful shutdown does not wait for a connection, nor for the pause before the next attempt")
    func offline() async throws {
        let configuration = MQTTClient.Configuration.test(Self.nobody) {
            $0.reconnect.delay = .seconds(3_600)
            $0.reconnect.delayMax = .seconds(3_600)
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let events = client.events
        let group = ServiceGroup(services: [client], logger: quiet)
        let running = Task { try await group.run() }
        for await case .reconnecting in events { break }
        await group.triggerGracefulShutdown()
        try await within("the group") { try await running.value }
    }

    @Test("a client without hope ends its group with the error")
    func hopeless() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        let running = Task { try await ServiceGroup(services: [client, Other()], logger: quiet).run() }
        try await server.connection().refuse(.notAuthorized)
        await #expect(throws: MQTTError.refused(.notAuthorized, Properties())) { try await running.value }
    }
}

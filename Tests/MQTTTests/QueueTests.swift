import MQTT
import MQTTPackets
import MQTTTesting
import Testing

@Suite(.timeLimit(.minutes(2))) struct QueueTests {
    private static let nobody = ServerAddress(host: "127.0.0.1", port: 1)

    private func payloads(_ connection: FakeServer.Connection, _ count: Int) async throws -> [String] {
        var payloads: [String] = []
        for _ in 0..<count { payloads.append(String(buffer: try await connection.publish().payload)) }
        return payloads
    }

    @Test("what was enqueued without a connection is sent with it, QoS by QoS in order")
    func waits() async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address), logger: quiet)
        for number in 0..<3 {
            try await client.enqueue(ByteBuffer(string: "\(number)"), to: "t")
            try await client.enqueue(ByteBuffer(string: "\(number + 10)"), to: "t", qos: .atLeastOnce)
        }
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        try await connection.accept()
        let all = try await payloads(connection, 6)
        #expect(all.filter { $0.count == 1 } == ["0", "1", "2"])
        #expect(all.filter { $0.count == 2 } == ["10", "11", "12"])
        client.close()
        try await running.value
    }

    @Test("a full queue refuses the newest, or drops the oldest, as it is told")
    func full() async throws {
        for policy in [MQTTClient.QueueLimits.Policy.refuseNewest, .dropOldest] {
            let server = try await FakeServer()
            let configuration = MQTTClient.Configuration.test(server.address) {
                $0.queue.messagesMax = 3
                $0.queue.policy = policy
            }
            let client = try MQTTClient(configuration, logger: quiet)
            let events = client.events
            var refused = 0
            for number in 0..<5 {
                do {
                    try await client.enqueue(ByteBuffer(string: "\(number)"), to: "t", qos: .atLeastOnce)
                } catch { refused += 1 }
            }
            #expect(refused == (policy == .refuseNewest ? 2 : 0))
            let running = Task { try await client.run() }
            let connection = try await server.connection()
            try await connection.accept()
            #expect(
                try await payloads(connection, 3) == (policy == .refuseNewest ? ["0", "1", "2"] : ["2", "3", "4"])
            )
            client.close()
            try await running.value
            var dropped = 0
            for await case .publishFailed(_, .dropped) in events { dropped += 1 }
            #expect(dropped == (policy == .dropOldest ? 2 : 0))
        }
    }

    @Test("publish waits for room, and goes on when there is some")
    func room() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address) { $0.queue.messagesMax = 1 }) { client in
            let publishing = Task {
                for number in 0..<100 { try await client.publish("\(number)", to: "t") }
            }
            let connection = try await server.connection()
            try await connection.accept()
            #expect(try await payloads(connection, 100) == (0..<100).map(String.init))
            try await publishing.value
        }
    }

    @Test("QoS 0 does not wait for a connection where it is not to")
    func notKept() async throws {
        let client = try MQTTClient(.test(Self.nobody) { $0.queue.keepsAtMostOnce = false }, logger: quiet)
        await #expect(throws: MQTTError.notConnected) { try await client.publish("m", to: "t") }
    }

    @Test("a message that waits longer than it may is dropped, and its sender is told")
    func aged() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) { $0.queue.ageMax = .milliseconds(1) }
        let client = try MQTTClient(configuration, logger: quiet)
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        await #expect(throws: MQTTError.expired) { try await client.publish("m", to: "t", qos: .exactlyOnce) }
        try await connection.accept()
        client.close()
        try await running.value
    }

    @Test("cancelling a publish takes the message back where it was not sent")
    func cancelled() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            let waiting = Task { try await client.publish("taken back", to: "t", qos: .atLeastOnce) }
            let connection = try await server.connection()
            waiting.cancel()
            await #expect(throws: MQTTError.cancelled) { try await waiting.value }
            try await client.enqueue(ByteBuffer(string: "stays"), to: "t", qos: .atLeastOnce)
            try await connection.accept()
            #expect(try await payloads(connection, 1) == ["stays"])
            // This one is on its way already.
            let sent = Task { try await client.publish("sent", to: "t", qos: .atLeastOnce) }
            #expect(try await payloads(connection, 1) == ["sent"])
            sent.cancel()
            await #expect(throws: MQTTError.cancelled) { try await sent.value }
        }
    }

    @Test("a message that is taken back makes room at once", arguments: [QoS.atMostOnce, .exactlyOnce])
    func roomOfRemoved(_ qos: QoS) async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.queue.messagesMax = 3
        }
        try await withClient(configuration) { client in
            let connection = try await server.connection()
            var ids: [PublishID] = []
            for number in 0..<3 {
                ids.append(try await client.enqueue(ByteBuffer(string: "\(number)"), to: "t", qos: qos))
            }
            client.removePublish(ids[1])
            // It would wait for room that nobody makes: there is no connection.
            try await client.enqueue(ByteBuffer(string: "3"), to: "t", qos: qos)
            try await connection.accept()
            var got: [String] = []
            for _ in 0..<3 {
                let publish = try await connection.publish()
                got.append(String(buffer: publish.payload))
            }
            #expect(got == ["0", "2", "3"])
        }
    }

    @Test("removePublish takes an enqueued message back, and an event tells", arguments: QoS.allCases)
    func removed(_ qos: QoS) async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            let events = client.events
            let connection = try await server.connection()
            let id = try await client.enqueue(ByteBuffer(string: "removed"), to: "t", qos: qos)
            let other = try await client.enqueue(ByteBuffer(string: "stays"), to: "t", qos: qos)
            client.removePublish(id)
            for await case .publishFailed(let failed, let error) in events {
                #expect(failed == id && error == .removed)
                break
            }
            try await connection.accept()
            #expect(try await payloads(connection, 1) == ["stays"])
            guard qos == .atLeastOnce else { return }
            connection.send(.puback(Acknowledgement(packetID: 1)))
            connection.send(.puback(Acknowledgement(packetID: 2)))
            for await case .published(let published) in events {
                #expect(published == other)
                break
            }
        }
    }

    @Test("flush waits for what was given before it, and can be cancelled")
    func flush() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            let connection = try await server.connection()
            try await connection.accept()
            try await client.enqueue(ByteBuffer(string: "m"), to: "t", qos: .atLeastOnce)
            _ = try await connection.publish()
            let given = Task { try await client.flush() }
            given.cancel()
            await #expect(throws: MQTTError.cancelled) { try await given.value }
            async let flushing: Void = client.flush()
            connection.send(.puback(Acknowledgement(packetID: 1)))
            try await flushing
        }
    }

    @Test("what still waits when the client ends fails")
    func ends() async throws {
        let client = try MQTTClient(.test(Self.nobody), logger: quiet)
        try await client.enqueue(ByteBuffer(string: "m"), to: "t", qos: .atLeastOnce)
        let publishing = Task { try await client.publish("m", to: "t", qos: .atLeastOnce) }
        let subscribing = Task { _ = try await client.subscribe(to: "t") }
        let flushing = Task { try await client.flush() }
        let running = Task { try await client.run() }
        client.close()
        try await running.value
        await #expect(throws: MQTTError.closed) { try await publishing.value }
        await #expect(throws: MQTTError.closed) { try await subscribing.value }
        await #expect(throws: MQTTError.closed) { try await flushing.value }
        await #expect(throws: MQTTError.closed) { try await client.flush() }
    }
}

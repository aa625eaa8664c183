import MQTT
import MQTTPackets
import MQTTTesting
import Testing

extension MQTTClient {
    /// The form of `enqueue` that cannot wait: it is taken where nothing may suspend.
    fileprivate func handOver(_ payload: String, _ qos: QoS, bytes: Int = 0) throws(MQTTError) -> PublishID {
        let padding = String(repeating: " ", count: max(0, bytes - payload.utf8.count))
        return try enqueue(ByteBuffer(string: payload + padding), to: "t", qos: qos)
    }

    /// Hands messages over until the queue is full: how many it took of `count`.
    fileprivate func handOver(_ count: Int, _ qos: QoS, bytes: Int) throws(MQTTError) -> Int {
        for number in 0..<count {
            do {
                _ = try handOver("\(number)", qos, bytes: bytes)
            } catch .queueFull {
                return number
            }
        }
        return count
    }
}

@Suite(.timeLimit(.minutes(2))) struct EnqueueTests {
    typealias Policy = MQTTClient.QueueLimits.Policy

    /// The messages of a client that has `count` of them, those of QoS 1 acknowledged.
    private func payloads(_ server: FakeServer, _ count: Int, _ qos: QoS) async throws -> [String] {
        let connection = try await server.connection()
        try await connection.accept()
        var payloads: [String] = []
        for _ in 0..<count {
            let publish = try await connection.publish()
            payloads.append(String(String(buffer: publish.payload).prefix { $0 != " " }))
            guard qos == .atLeastOnce else { continue }
            connection.send(.puback(Acknowledgement(packetID: publish.packetID ?? 0)))
        }
        return payloads
    }

    @Test(
        "enqueue in code that cannot wait: where the queue is full it throws, and with room again it takes",
        arguments: [QoS.atMostOnce, .exactlyOnce],
        [Policy.wait, .refuseNewest]
    )
    func cannotWait(_ qos: QoS, _ policy: Policy) async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.queue.messagesMax = 3
            $0.queue.policy = policy
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let events = client.events
        let ids = try (0..<3).map { try client.handOver("\($0)", qos) }
        #expect(Set(ids).count == 3)
        #expect(throws: MQTTError.queueFull) { try client.handOver("3", qos) }
        client.removePublish(ids[0])
        for await case .publishFailed(ids[0], .removed) in events { break }
        // The place is free once the client's loop has told so.
        while (try? client.handOver("4", qos)) == nil {
            try Task.checkCancellation()
            await Task.yield()
        }
        let running = Task { try await client.run() }
        #expect(try await payloads(server, 3, qos) == ["1", "2", "4"])
        client.close()
        try await running.value
    }

    @Test("enqueue in code that cannot wait: where the oldest make room it always takes, and events tell of those")
    func makesRoom() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.queue.messagesMax = 3
            $0.queue.policy = .dropOldest
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let events = client.events
        let ids = try (0..<10).map { try client.handOver("\($0)", .atLeastOnce) }
        let running = Task { try await client.run() }
        #expect(try await payloads(server, 3, .atLeastOnce) == ["7", "8", "9"])
        client.close()
        try await running.value
        var dropped: Set<PublishID> = []
        for await case .publishFailed(let id, .dropped) in events { dropped.insert(id) }
        #expect(dropped == Set(ids.prefix(7)))
    }

    @Test(
        "the bytes of a queue are bounded: the newest are refused, or wait outside",
        arguments: [QoS.atMostOnce, .atLeastOnce],
        [Policy.wait, .refuseNewest]
    )
    func bytesRefused(_ qos: QoS, _ policy: Policy) async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.queue.bytesMax = 5_000
            $0.queue.policy = policy
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let taken = try client.handOver(20, qos, bytes: 1_000)
        // What is kept beside a message takes less room than this one does.
        #expect((3...5).contains(taken))
        let waiting = Task {
            try await client.publish(ByteBuffer(string: "last"), to: "t", qos: qos)
        }
        if policy == .refuseNewest {
            await #expect(throws: MQTTError.queueFull) { try await waiting.value }
        }
        let running = Task { try await client.run() }
        let expected = (0..<taken).map(String.init) + (policy == .wait ? ["last"] : [])
        #expect(try await payloads(server, expected.count, qos) == expected)
        if policy == .wait { #expect(try await waiting.value == .success) }
        client.close()
        try await running.value
    }

    @Test("the bytes of a queue are bounded: the oldest make room", arguments: [QoS.atMostOnce, .atLeastOnce])
    func bytesDropped(_ qos: QoS) async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            $0.queue.bytesMax = 5_000
            $0.queue.policy = .dropOldest
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let events = client.events
        let ids = try (0..<20).map { try client.handOver("\($0)", qos, bytes: 1_000) }
        _ = try client.handOver("end", qos)
        // The end is small, and makes room for no more than one.
        let running = Task { try await client.run() }
        let connection = try await server.connection()
        try await connection.accept()
        var arrived: [String] = []
        while arrived.last != "end" {
            let publish = try await connection.publish()
            arrived.append(String(String(buffer: publish.payload).prefix { $0 != " " }))
        }
        let kept = arrived.count - 1
        #expect((3...5).contains(kept))
        #expect(arrived == (20 - kept..<20).map(String.init) + ["end"])
        client.close()
        try await running.value
        var dropped: [PublishID] = []
        for await case .publishFailed(let id, .dropped) in events { dropped.append(id) }
        #expect(Set(dropped) == Set(ids.prefix(20 - kept)) && dropped.count == 20 - kept)
    }

    @Test(
        "a message waits for a connection as long as it may, and those that came later go on waiting",
        arguments: [QoS.atMostOnce, .exactlyOnce]
    )
    func ages(_ qos: QoS) async throws {
        try await withBroker { _, connect in
            let receiver = try await connect("receiver")
            try await receiver.subscribe("t", .exactlyOnce)
            let link = try await connect.link()
            try await link.refuse()
            let client = try await connect.client("sender", over: link) { $0.queue.ageMax = .seconds(100) }
            let events = client.events
            let old = try client.handOver("old", qos)
            try await connect.clock.advance(by: .seconds(60))
            _ = try client.handOver("young", qos)
            try await connect.clock.advance(by: .seconds(60))
            for await case .publishFailed(let id, let error) in events {
                #expect(id == old && error == .expired)
                break
            }
            try await link.accept()
            let payload = try await connect.clock.letTimePass { try await receiver.nextPayload() }
            #expect(payload == "young")
        }
    }

    @Test("where QoS 0 is not to wait for a connection, no way of publishing keeps it; QoS 1 waits all the same")
    func keepsAtMostOnce() async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) { $0.queue.keepsAtMostOnce = false }
        try await withClient(configuration) { client in
            for _ in 0..<2 {
                #expect(throws: MQTTError.notConnected) { try client.handOver("lost", .atMostOnce) }
                await #expect(throws: MQTTError.notConnected) { try await client.publish("lost", to: "t") }
                await #expect(throws: MQTTError.notConnected) {
                    try await client.enqueue(ByteBuffer(string: "lost"), to: "t")
                }
                _ = try client.handOver("kept", .atLeastOnce)
                let connection = try await server.connection()
                try await connection.accept()
                #expect(try await connection.acknowledge(1) == ["kept"])
                _ = try client.handOver("sent", .atMostOnce)
                #expect(try await connection.publish().payload == ByteBuffer(string: "sent"))
                connection.close()
                while case .connected = client.connectionState { await Task.yield() }
            }
        }
    }

    @Test("enqueue in code that cannot wait throws for what is no message, and once the client has ended")
    func invalid() async throws {
        let client = try MQTTClient(.test(ServerAddress(host: "127.0.0.1", port: 1)), logger: quiet)
        #expect(throws: MQTTError.self) { try client.enqueue(ByteBuffer(), to: "a/+") }
        let running = Task { try await client.run() }
        client.close()
        try await running.value
        #expect(throws: MQTTError.closed) { try client.handOver("late", .atLeastOnce) }
        #expect(throws: MQTTError.closed) { try client.handOver("late", .atMostOnce) }
    }
}

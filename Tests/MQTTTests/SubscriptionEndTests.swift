import MQTT
import MQTTPackets
import MQTTTesting
import Testing

@Suite(.timeLimit(.minutes(2))) struct SubscriptionEndTests {
    private struct Failed: Error {}

    private func connected(
        _ version: ProtocolVersion = .v5,
        _ body: (MQTTClient, FakeServer.Connection) async throws -> Void
    ) async throws {
        let server = try await FakeServer(version)
        try await withClient(.test(server.address, "c", version)) { client in
            let connection = try await server.connection()
            try await connection.accept()
            try await body(client, connection)
        }
    }

    private func message(_ id: UInt16) -> Packet {
        .publish(Publish(topic: "t", payload: ByteBuffer(string: "\(id)"), qos: .atLeastOnce, packetID: id))
    }

    /// The client has handed over all that came before, and has done what it was told.
    private func roundTrip(_ client: MQTTClient, _ connection: FakeServer.Connection) async throws {
        // Who has the second answer has been given all that came before the first.
        for _ in 0..<2 {
            let publishing = Task { try await client.publish("m", to: "x", qos: .atLeastOnce) }
            _ = try await connection.acknowledge(1)
            #expect(try await publishing.value == .success)
        }
    }

    @Test("withSubscription gives what its body gives, once the server has said that the subscription is over")
    func returns() async throws {
        try await connected { client, connection in
            let using = Task {
                try await client.withSubscription(to: "t", qos: .atLeastOnce) { messages in
                    await messages.first(1).map(\.payloadString)
                }
            }
            try await connection.grant()
            for id in 1...3 as ClosedRange<UInt16> { connection.send(message(id)) }
            var acknowledged: [UInt16] = []
            var given: [String]?
            while acknowledged.count < 3 {
                switch try await connection.next() {
                case .puback(let answer)?: acknowledged.append(answer.packetID)
                case .unsubscribe(let unsubscribe)?:
                    #expect(unsubscribe.filters == ["t"])
                    connection.send(.unsuback(Unsuback(packetID: unsubscribe.packetID, reasonCodes: [.success])))
                    given = try await using.value
                case let other: throw TimedOut(description: "\(String(describing: other))")
                }
            }
            // What the body did not take is discarded, and holds back nothing.
            #expect(acknowledged == [1, 2, 3])
            #expect(given == ["1"])
        }
    }

    @Test("withSubscription throws what its body throws, and the subscription is over too")
    func throwing() async throws {
        try await connected { client, connection in
            let (entered, continuation) = AsyncStream.makeStream(of: Void.self)
            let (leaving, leave) = AsyncStream.makeStream(of: Void.self)
            let using = Task {
                try await client.withSubscription(to: [TopicSubscription("t", qos: .atLeastOnce)]) { _ in
                    continuation.yield()
                    _ = await leaving.first(1)
                    throw Failed()
                }
            }
            try await connection.grant()
            #expect(await entered.first(1).count == 1)
            connection.send(message(1))
            try await roundTrip(client, connection)
            leave.yield()
            await #expect(throws: Failed.self) { try await using.value }
            var kinds: [PacketKind] = []
            for _ in 0..<2 {
                let packet = try #require(try await connection.next())
                kinds.append(packet.kind)
                if case .unsubscribe(let unsubscribe) = packet { #expect(unsubscribe.filters == ["t"]) }
                if case .puback(let answer) = packet { #expect(answer.packetID == 1) }
            }
            #expect(Set(kinds) == [.puback, .unsubscribe])
        }
    }

    @Test("a subscription to several filters gives up each of them, and those alone that nobody else has")
    func several() async throws {
        try await connected { client, connection in
            let keeping = Task { try await client.subscribe(to: "b") }
            try await connection.grant()
            let kept = try await keeping.value
            let using = Task {
                try await client.withSubscription(to: ["a", "b", "c/#"].map { TopicSubscription($0) }) { $0.grants }
            }
            for _ in 0..<3 { try await connection.grant() }
            var ended: [String] = []
            for _ in 0..<2 { ended += try await connection.unsubscribe().filters }
            #expect(Set(ended) == ["a", "c/#"])
            #expect(try await using.value.map(\.filter) == ["a", "b", "c/#"])
            connection.send(.publish(Publish(topic: "b", payload: ByteBuffer(string: "still"))))
            #expect(await kept.first(1).map(\.payloadString) == ["still"])
        }
    }

    @Test("a subscription that is let go of ends at the server")
    func released() async throws {
        try await connected { client, connection in
            let subscribing = Task { _ = try await client.subscribe(to: "t") }
            try await connection.grant()
            try await subscribing.value
            #expect(try await connection.unsubscribe().filters == ["t"])
        }
    }

    @Test(
        "a server that refuses to end a subscription: unsubscribe() throws its code, and the sequence has ended all the same",
        arguments: [ReasonCode.unspecifiedError, .notAuthorized, .topicFilterInvalid]
    )
    func refused(_ code: ReasonCode) async throws {
        try await connected { client, connection in
            let subscribing = Task { try await client.subscribe(to: "t") }
            try await connection.grant()
            let subscription = try await subscribing.value
            let ending = Task { try await subscription.unsubscribe() }
            try await connection.unsubscribe(code)
            await #expect(throws: MQTTError.unsubscriptionRefused(code)) { try await ending.value }
            #expect(await subscription.first(1).isEmpty)
            // It is not asked for a second time.
            try await subscription.unsubscribe()

            let using = Task { try await client.withSubscription(to: "u") { _ in } }
            try await connection.grant()
            try await connection.unsubscribe(code)
            await #expect(throws: MQTTError.unsubscriptionRefused(code)) { try await using.value }
        }
    }

    @Test("of several filters one that the server keeps is enough for unsubscribe() to throw")
    func refusedInPart() async throws {
        try await connected { client, connection in
            let subscribing = Task { try await client.subscribe(to: ["a", "b"].map { TopicSubscription($0) }) }
            for _ in 0..<2 { try await connection.grant() }
            let subscription = try await subscribing.value
            let ending = Task { try await subscription.unsubscribe() }
            try await connection.unsubscribe(.notAuthorized)
            try await connection.unsubscribe()
            await #expect(throws: MQTTError.unsubscriptionRefused(.notAuthorized)) { try await ending.value }
        }
    }

    @Test("that there was no subscription to end is no error")
    func notThere() async throws {
        try await connected { client, connection in
            let subscribing = Task { try await client.subscribe(to: "t") }
            try await connection.grant()
            let subscription = try await subscribing.value
            let ending = Task { try await subscription.unsubscribe() }
            try await connection.unsubscribe(.noSubscriptionExisted)
            try await ending.value
        }
    }

    @Test("before 5.0 UNSUBACK has no codes, and ends the subscription", arguments: [ProtocolVersion.v3_1, .v3_1_1])
    func withoutCodes(_ version: ProtocolVersion) async throws {
        try await connected(version) { client, connection in
            let subscribing = Task { try await client.subscribe(to: "t") }
            try await connection.grant()
            let subscription = try await subscribing.value
            let ending = Task { try await subscription.unsubscribe() }
            try await connection.unsubscribe()
            try await ending.value
        }
    }

    @Test(
        "without a connection a subscription ends at once, and the server is told with the next one if it has it still"
    )
    func offline() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address, "c") { $0.sessionExpiry = .never }) { client in
            let subscribing = Task { try await client.subscribe(to: "t") }
            let first = try await server.connection()
            try await first.accept()
            try await first.grant()
            let subscription = try await subscribing.value
            first.close()
            while case .connected = client.connectionState { await Task.yield() }
            try await subscription.unsubscribe()
            let next = try await server.connection()
            try await next.accept(sessionPresent: true)
            #expect(try await next.unsubscribe().filters == ["t"])
        }
    }

    // MARK: Messages of no subscription

    @Test("a second unclaimedMessages() takes over from the first, which ends once its messages are taken")
    func takesOver() async throws {
        try await connected { client, connection in
            let first = client.unclaimedMessages()
            try await roundTrip(client, connection)
            connection.send(message(1))
            connection.send(message(2))
            #expect(await first.first(1).map(\.payloadString) == ["1"])
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 1)))
            try await roundTrip(client, connection)
            let second = client.unclaimedMessages()
            try await roundTrip(client, connection)
            connection.send(message(3))
            #expect(await second.first(1).map(\.payloadString) == ["3"])
            #expect(await first.first(9).map(\.payloadString) == ["2"])
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 2)))
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 3)))
            // The end of the first is no end of the second.
            try await first.unsubscribe()
            connection.send(message(4))
            #expect(await second.first(1).map(\.payloadString) == ["4"])
        }
    }

    @Test("what belongs to no subscription is acknowledged and dropped where nobody asks for it")
    func nobodyAsks() async throws {
        try await connected { client, connection in
            connection.send(message(1))
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 1)))
            let unclaimed = client.unclaimedMessages(acknowledging: .byHand)
            try await roundTrip(client, connection)
            connection.send(message(2))
            let messages = await unclaimed.first(1)
            #expect(messages.map(\.payloadString) == ["2"])
            try await roundTrip(client, connection)
            messages[0].acknowledge()
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 2)))
        }
    }

    @Test("[MQTT-3.11.3-1] an UNSUBACK that has not a code for each filter is an error", arguments: [0, 2])
    func unsuback(_ codes: Int) async throws {
        let server = try await FakeServer()
        let client = try MQTTClient(.test(server.address) { $0.reconnect = .never }, logger: quiet)
        let running = Task { try await client.run() }
        let subscribing = Task { try await client.subscribe(to: "t") }
        let connection = try await server.connection()
        try await connection.accept()
        try await connection.grant()
        let subscription = try await subscribing.value
        let ending = Task { try await subscription.unsubscribe() }
        guard case .unsubscribe(let unsubscribe)? = try await connection.next() else {
            throw TimedOut(description: "UNSUBSCRIBE")
        }
        let answer = Unsuback(packetID: unsubscribe.packetID, reasonCodes: Array(repeating: .success, count: codes))
        connection.send(.unsuback(answer))
        #expect(try await connection.next()?.kind == .disconnect)
        // Whether the server has it still, the next connection shows.
        try await ending.value
        client.close()
        _ = await running.result
    }
}

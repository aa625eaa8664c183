import MQTT
import MQTTPackets
import MQTTTesting
import Testing

extension MQTTClient {
    /// `enqueue` has a form that throws instead.
    fileprivate func publishWhenThereIsRoom(_ message: MQTTMessage) async throws {
        try await enqueue(message.payload, to: "back", qos: .atLeastOnce)
    }
}

/// Messages that nobody takes any more, or that come beside something else, hold nothing back and are not lost.
@Suite("Messages that hold nothing back", .timeLimit(.minutes(2)))
struct HeldMessagesTests {
    private static let encoder = PacketEncoder(version: .v5)

    private func message(_ payload: String, _ topic: String, _ id: UInt16? = nil, _ identifier: UInt32? = nil) -> Packet
    {
        var properties = Properties()
        properties[integer: .subscriptionIdentifier] = identifier
        return .publish(
            Publish(
                topic: topic,
                payload: ByteBuffer(string: payload),
                qos: id == nil ? .atMostOnce : .atLeastOnce,
                packetID: id,
                properties: properties
            )
        )
    }

    /// In one piece, so that one read has all of it.
    private func together(_ packets: Packet...) -> ByteBuffer {
        var bytes = ByteBuffer()
        for packet in packets { Self.encoder.encode(packet, into: &bytes) }
        return bytes
    }

    private func subscribePacket(_ connection: FakeServer.Connection) async throws -> Subscribe {
        guard case .subscribe(let subscribe)? = try await connection.next() else {
            throw TimedOut(description: "SUBSCRIBE")
        }
        return subscribe
    }

    private func connected(
        _ connack: Properties = Properties(),
        _ change: (inout MQTTClient.Configuration) -> Void = { _ in },
        _ body: (MQTTClient, FakeServer.Connection) async throws -> Void
    ) async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address, "", .v5, change)) { client in
            let connection = try await server.connection()
            try await connection.accept(connack)
            try await body(client, connection)
        }
    }

    private func subscribed(
        _ client: MQTTClient,
        _ connection: FakeServer.Connection,
        _ filter: String,
        _ acknowledging: AcknowledgementMode = .whenTaken
    ) async throws -> MQTTSubscription {
        let subscribing = Task {
            try await client.subscribe(to: filter, qos: .atLeastOnce, acknowledging: acknowledging)
        }
        let packetID = try await subscribePacket(connection).packetID
        connection.send(.suback(Suback(packetID: packetID, reasonCodes: [.grantedQoS1])))
        return try await subscribing.value
    }

    @Test("what came in one read with DISCONNECT is handed over")
    func beforeDisconnect() async throws {
        try await connected { client, connection in
            let subscription = try await subscribed(client, connection, "t")
            let end = Disconnect(reasonCode: .serverShuttingDown)
            connection.send(together(message("1", "t"), message("2", "t"), .disconnect(end)))
            #expect(await subscription.first(2).map(\.payloadString) == ["1", "2"])
        }
    }

    @Test("what came in one read with the refusal of another subscription is handed over, and acknowledged")
    func besideRefusal() async throws {
        try await connected { client, connection in
            let subscription = try await subscribed(client, connection, "t")
            let subscribing = Task { try await client.subscribe(to: "other") }
            let packetID = try await subscribePacket(connection).packetID
            let refusal = Suback(packetID: packetID, reasonCodes: [.notAuthorized])
            connection.send(together(message("1", "t", 5), .suback(refusal)))
            await #expect(throws: MQTTError.self) { _ = try await subscribing.value }
            #expect(await subscription.first(1).map(\.payloadString) == ["1"])
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 5)))
        }
    }

    @Test("what came for a subscription that was refused in part is acknowledged: nobody else would do it")
    func refusedInPart() async throws {
        try await connected { client, connection in
            let subscribing = Task {
                try await client.subscribe(to: [TopicSubscription("a", qos: .atLeastOnce), TopicSubscription("b")])
            }
            let first = try await subscribePacket(connection).packetID
            let second = try await subscribePacket(connection).packetID
            connection.send(
                together(
                    .suback(Suback(packetID: first, reasonCodes: [.grantedQoS1])),
                    message("retained", "a", 7),
                    .suback(Suback(packetID: second, reasonCodes: [.notAuthorized]))
                )
            )
            await #expect(throws: MQTTError.self) { _ = try await subscribing.value }
            var isAcknowledged = false
            while !isAcknowledged, let packet = try await connection.next() {
                isAcknowledged = packet == .puback(Acknowledgement(packetID: 7))
            }
            #expect(isAcknowledged)
        }
    }

    @Test("a reader that publishes each message goes on when the queue and its own sequence are full")
    func echo() async throws {
        var oneAtATime = Properties()
        oneAtATime[integer: .receiveMaximum] = 1
        let change: (inout MQTTClient.Configuration) -> Void = {
            $0.queue.messagesMax = 2
            $0.sequenceBytesMax = 500
        }
        try await connected(oneAtATime, change) { client, connection in
            let subscription = try await subscribed(client, connection, "t")
            let echoing = Task {
                var left = 40
                for await message in subscription {
                    try await client.publishWhenThereIsRoom(message)
                    left -= 1
                    if left == 0 { break }
                }
            }
            for number in 1...40 { connection.send(message("\(number)", "t", UInt16(number))) }
            var echoed: [String] = []
            while echoed.count < 40, let packet = try await connection.next() {
                guard case .publish(let publish) = packet else { continue }
                echoed.append(String(buffer: publish.payload))
                connection.send(.puback(Acknowledgement(packetID: publish.packetID ?? 0)))
            }
            #expect(echoed == (1...40).map(String.init))
            try await echoing.value
        }
    }

    @Test("messages that belong to no subscription: their sequence ends when it is told to")
    func unclaimed() async throws {
        try await connected { client, _ in
            let unclaimed = client.unclaimedMessages()
            let reading = Task { await unclaimed.first(1).count }
            try await unclaimed.unsubscribe()
            #expect(await reading.value == 0)
        }
    }

    @Test("a message with identifiers of an earlier program goes to all that match")
    func foreignIdentifiers() async throws {
        try await connected { client, connection in
            let one = try await subscribed(client, connection, "s/#")
            let other = try await subscribed(client, connection, "s/+/t")
            connection.send(message("m", "s/1/t", 3, 77))
            #expect(await one.first(1).map(\.payloadString) == ["m"])
            #expect(await other.first(1).map(\.payloadString) == ["m"])
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 3)))
        }
    }

    @Test("where two sequences have a message, each acknowledges for itself alone, however often")
    func acknowledgedTwice() async throws {
        try await connected { client, connection in
            let one = try await subscribed(client, connection, "s/#", .byHand)
            let other = try await subscribed(client, connection, "s/+", .byHand)
            connection.send(message("m", "s/1", 3, 77))
            let first = await one.first(1)
            let second = await other.first(1)
            first[0].acknowledge()
            first[0].acknowledge()
            try await client.publish("behind", to: "x")
            #expect(try await connection.publish().topic == "x")
            second[0].acknowledge()
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 3)))
        }
    }

    @Test("a subscription that outlives its client can be ended")
    func outlives() async throws {
        try await withBroker { server in
            let subscription = try await MQTTClient.withConnection(.test(server), logger: quiet) { client in
                try await client.subscribe(to: "t")
            }
            try await subscription.unsubscribe()
            #expect(await subscription.first(1).isEmpty)
        }
    }
}

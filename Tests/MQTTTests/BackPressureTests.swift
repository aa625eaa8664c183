import MQTT
import MQTTPackets
import MQTTTesting
import Testing

@Suite(.timeLimit(.minutes(2))) struct BackPressureTests {
    /// A client that has subscribed to `t`, and the server's end of it.
    private func subscribed(
        _ acknowledging: AcknowledgementMode = .whenTaken,
        sequenceBytesMax: Int = 1 << 20,
        _ body: (MQTTClient, MQTTSubscription, FakeServer.Connection) async throws -> Void
    ) async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address) { $0.sequenceBytesMax = sequenceBytesMax }) { client in
            let subscribing = Task {
                try await client.subscribe(to: "t", qos: .exactlyOnce, acknowledging: acknowledging)
            }
            let connection = try await server.connection()
            try await connection.accept()
            guard case .subscribe(let subscribe)? = try await connection.next() else {
                throw TimedOut(description: "SUBSCRIBE")
            }
            connection.send(.suback(Suback(packetID: subscribe.packetID, reasonCodes: [.grantedQoS2])))
            try await body(client, try await subscribing.value, connection)
        }
    }

    private func message(_ payload: String, _ qos: QoS, _ id: UInt16? = nil) -> Packet {
        .publish(Publish(topic: "t", payload: ByteBuffer(string: payload), qos: qos, packetID: id))
    }

    @Test("a message is acknowledged when the application takes it, and not before")
    func whenTaken() async throws {
        try await subscribed { client, subscription, connection in
            connection.send(message("1", .atLeastOnce, 1))
            connection.send(message("2", .exactlyOnce, 2))
            // The answer to what was sent behind them would come first, if they were acknowledged as they come.
            let publishing = Task { try await client.publish("m", to: "x", qos: .atLeastOnce) }
            let publish = try await connection.publish()
            connection.send(.puback(Acknowledgement(packetID: publish.packetID ?? 0)))
            _ = try await publishing.value
            var iterator = subscription.makeAsyncIterator()
            #expect(await iterator.next()?.payloadString == "1")
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 1)))
            #expect(await iterator.next()?.payloadString == "2")
            #expect(try await connection.next() == .pubrec(Acknowledgement(packetID: 2)))
            connection.send(.pubrel(Acknowledgement(packetID: 2)))
            #expect(try await connection.next() == .pubcomp(Acknowledgement(packetID: 2)))
        }
    }

    @Test("messages come out in the order in which they came, whatever bursts they came in", arguments: [0, 1, 7, 200])
    func order(takenBetween: Int) async throws {
        try await subscribed { client, subscription, connection in
            var iterator = subscription.makeAsyncIterator()
            var (sent, taken) = (0, 0)
            let encoder = PacketEncoder(version: .v5)
            let small = Array(repeating: 40, count: 60)
            for size in [1, 2, 63, 64, 65, 1, 1, 300, 1, 1_024, 3, 2_000, 62, 1] + small {
                var burst = ByteBuffer()
                for number in sent..<(sent + size) { encoder.encode(message("\(number)", .atMostOnce), into: &burst) }
                connection.send(burst)
                sent += size
                // Who has the second answer has been given all that came before the first.
                for _ in 0..<2 {
                    let publishing = Task { try await client.publish("m", to: "x", qos: .atLeastOnce) }
                    let publish = try await connection.publish()
                    connection.send(.puback(Acknowledgement(packetID: publish.packetID ?? 0)))
                    _ = try await publishing.value
                }
                for _ in 0..<min(takenBetween, sent - taken) {
                    #expect(await iterator.next()?.payloadString == "\(taken)")
                    taken += 1
                }
            }
            while taken < sent {
                #expect(await iterator.next()?.payloadString == "\(taken)")
                taken += 1
            }
        }
    }

    @Test("by hand: with a reason code, and in the order in which they came")
    func byHand() async throws {
        try await subscribed(.byHand) { client, subscription, connection in
            for id in 1...2 { connection.send(message("\(id)", .atLeastOnce, UInt16(id))) }
            let messages = await subscription.first(2)
            messages[1].acknowledge(.quotaExceeded)
            messages[0].acknowledge()
            let first = try await connection.next()
            let second = try await connection.next()
            #expect(first == .puback(Acknowledgement(packetID: 1)))
            #expect(second == .puback(Acknowledgement(packetID: 2, reasonCode: .quotaExceeded)))
        }
    }

    @Test("what nobody takes is acknowledged once its subscription has ended")
    func ended() async throws {
        try await subscribed { client, subscription, connection in
            connection.send(message("1", .atLeastOnce, 1))
            connection.send(message("2", .atLeastOnce, 2))
            #expect(await subscription.first(1).count == 1)
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 1)))
            let ending = Task { try await subscription.unsubscribe() }
            guard case .unsubscribe(let unsubscribe)? = try await connection.next() else {
                throw TimedOut(description: "UNSUBSCRIBE")
            }
            connection.send(.unsuback(Unsuback(packetID: unsubscribe.packetID, reasonCodes: [.success])))
            try await ending.value
            #expect(await subscription.first(9).map(\.payloadString) == ["2"])
            #expect(try await connection.next() == .puback(Acknowledgement(packetID: 2)))
        }
    }

    @Test("a full sequence holds back reading, and nothing of QoS 0 is lost")
    func holdsReading() async throws {
        try await subscribed(sequenceBytesMax: 10_000) { client, subscription, connection in
            let payload = String(repeating: "x", count: 1_000)
            for _ in 0..<20_000 { connection.send(message(payload, .atMostOnce)) }
            var count = 0
            for await message in subscription {
                #expect(message.payload.readableBytes == 1_000)
                count += 1
                if count == 20_000 { break }
            }
        }
    }

    @Test("a full sequence does not keep its reader from answers: then QoS 0 has no room")
    func answers() async throws {
        try await subscribed(sequenceBytesMax: 10_000) { client, subscription, connection in
            let payload = String(repeating: "x", count: 1_000)
            for _ in 0..<5_000 { connection.send(message(payload, .atMostOnce)) }
            var iterator = subscription.makeAsyncIterator()
            #expect(await iterator.next() != nil)
            let publishing = Task { try await client.publish("m", to: "x", qos: .atLeastOnce) }
            let publish = try await connection.publish()
            connection.send(.puback(Acknowledgement(packetID: publish.packetID ?? 0)))
            #expect(try await publishing.value == .success)
            #expect(await iterator.next() != nil)
        }
    }

    @Test("a reader that is cancelled gets nil, and the sequence goes on for the next")
    func cancelledReader() async throws {
        try await subscribed { client, subscription, connection in
            let reader = Task { await subscription.first(1).count }
            reader.cancel()
            #expect(await reader.value == 0)
            connection.send(message("m", .atMostOnce))
            #expect(await subscription.first(1).count == 1)
        }
    }
}

import MQTT
import MQTTPackets
import MQTTTesting
import NIOCore
import Testing

/// What a server sends at the limits that CONNECT has told it, and one above.
@Suite(.timeLimit(.minutes(2))) struct ReceivingLimitTests {
    /// A client that has subscribed to `t`. Where there is a code, it leaves for that reason what the body has sent last.
    private func subscribed(
        leaving code: ReasonCode?,
        _ change: (inout MQTTClient.Configuration) -> Void,
        _ body: (MQTTClient, MQTTSubscription, FakeServer.Connection) async throws -> Void
    ) async throws {
        let server = try await FakeServer()
        let configuration = MQTTClient.Configuration.test(server.address) {
            change(&$0)
            $0.reconnect = .never
        }
        let client = try MQTTClient(configuration, logger: quiet)
        let running = Task { try await client.run() }
        let subscribing = Task { try await client.subscribe(to: "t", qos: .exactlyOnce, acknowledging: .byHand) }
        let connection = try await server.connection()
        try await connection.accept()
        try await connection.grant()
        try await body(client, try await subscribing.value, connection)
        guard let code else {
            client.close()
            return try await running.value
        }
        #expect(try await connection.disconnect().reasonCode == code)
        connection.close()
        let error = await #expect(throws: MQTTError.self) { try await running.value }
        guard case .protocolViolation(code, _)? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    private func message(_ topic: String, _ payload: String, _ id: UInt16? = nil, _ qos: QoS = .atMostOnce) -> Publish {
        Publish(topic: topic, payload: ByteBuffer(string: payload), qos: qos, packetID: id)
    }

    /// The client has taken no offence at what came before.
    private func goesOn(_ client: MQTTClient, _ connection: FakeServer.Connection) async throws {
        let publishing = Task { try await client.publish("goes on", to: "x", qos: .atLeastOnce) }
        #expect(try await connection.acknowledge(1) == ["goes on"])
        #expect(try await publishing.value == .success)
    }

    @Test("[MQTT-3.1.2-24] a packet of exactly the largest size is taken, and one byte more is too large")
    func packetBytes() async throws {
        let bytesMax = 300
        try await subscribed(leaving: .packetTooLarge) {
            $0.packetBytesMax = UInt32(bytesMax)
        } _: { client, subscription, connection in
            let encoder = PacketEncoder(version: .v5)
            var largest = message("t", "")
            while encoder.packetBytes(largest) < bytesMax { largest.payload.writeInteger(UInt8(7)) }
            #expect(encoder.packetBytes(largest) == bytesMax)
            connection.send(.publish(largest))
            #expect(await subscription.first(1).map(\.payload) == [largest.payload])
            try await goesOn(client, connection)
            largest.payload.writeInteger(UInt8(7))
            connection.send(.publish(largest))
        }
    }

    private func aliased(_ alias: UInt32, _ topic: String, _ payload: String) -> Packet {
        var message = message(topic, payload)
        message.properties[integer: .topicAlias] = alias
        return .publish(message)
    }

    @Test(
        "[MQTT-3.1.2-26] the highest topic alias that was allowed stands for its topic, and the next is invalid",
        arguments: [1, 2, 65_535]
    )
    func aliases(_ maximum: Int) async throws {
        try await subscribed(leaving: maximum < 65_535 ? .topicAliasInvalid : nil) {
            $0.topicAliasesMax = maximum
        } _: { client, subscription, connection in
            connection.send(aliased(UInt32(maximum), "t", "1"))
            connection.send(aliased(UInt32(maximum), "", "2"))
            let messages = await subscription.first(2)
            #expect(messages.map(\.topic) == ["t", "t"] && messages.map(\.payloadString) == ["1", "2"])
            // The alias is the connection's business.
            #expect(messages.allSatisfy { $0.properties.isEmpty })
            try await goesOn(client, connection)
            if maximum < 65_535 { connection.send(aliased(UInt32(maximum) + 1, "t", "3")) }
        }
    }

    @Test("[MQTT-3.1.2-27] where no topic aliases were allowed the first is invalid")
    func noAliases() async throws {
        try await subscribed(leaving: .topicAliasInvalid) {
            $0.topicAliasesMax = 0
        } _: { client, _, connection in
            connection.send(aliased(1, "t", "m"))
        }
    }

    @Test("an alias can be given to another topic, and one that was given to none is an error")
    func aliasesChange() async throws {
        try await subscribed(leaving: .protocolError) {
            $0.topicAliasesMax = 2
        } _: { client, subscription, connection in
            for (topic, payload) in [("other", "1"), ("", "2"), ("t", "3"), ("", "4")] {
                connection.send(aliased(1, topic, payload))
            }
            #expect(await subscription.first(2).map(\.payloadString) == ["3", "4"])
            connection.send(aliased(2, "", "5"))
        }
    }

    @Test(
        "[MQTT-3.3.4-9] as many unacknowledged messages as Receive Maximum are taken, one more is an error",
        arguments: [QoS.atLeastOnce, .exactlyOnce]
    )
    func receiveMaximum(_ qos: QoS) async throws {
        try await subscribed(leaving: .receiveMaximumExceeded) {
            $0.receiveMaximum = 3
        } _: { client, subscription, connection in
            for id in 1...3 as ClosedRange<UInt16> { connection.send(.publish(message("t", "\(id)", id, qos))) }
            // Neither QoS 0 nor a repetition counts.
            connection.send(.publish(message("t", "uncounted")))
            if qos == .exactlyOnce { connection.send(.publish(message("t", "3", 3, qos))) }
            #expect(await subscription.first(4).count == 4)
            try await goesOn(client, connection)
            connection.send(.publish(message("t", "4", 4, qos)))
        }
    }

    @Test(
        "an acknowledgement makes room for another message: PUBACK at QoS 1, PUBCOMP at QoS 2, and either that is an error"
    )
    func makesRoom() async throws {
        try await subscribed(leaving: .receiveMaximumExceeded) {
            $0.receiveMaximum = 1
        } _: { _, subscription, connection in
            var messages = subscription.makeAsyncIterator()
            connection.send(.publish(message("t", "1", 1, .atLeastOnce)))
            await messages.next()?.acknowledge()
            let first = try await connection.next()
            #expect(first == .puback(Acknowledgement(packetID: 1)))
            connection.send(.publish(message("t", "2", 2, .exactlyOnce)))
            await messages.next()?.acknowledge(.quotaExceeded)
            #expect(try await connection.next() == .pubrec(Acknowledgement(packetID: 2, reasonCode: .quotaExceeded)))
            connection.send(.publish(message("t", "3", 3, .exactlyOnce)))
            await messages.next()?.acknowledge()
            #expect(try await connection.next() == .pubrec(Acknowledgement(packetID: 3)))
            connection.send(.pubrel(Acknowledgement(packetID: 3)))
            #expect(try await connection.next() == .pubcomp(Acknowledgement(packetID: 3)))
            connection.send(.publish(message("t", "4", 4, .exactlyOnce)))
            await messages.next()?.acknowledge()
            #expect(try await connection.next() == .pubrec(Acknowledgement(packetID: 4)))
            // That is not the last answer: the message still counts.
            connection.send(.publish(message("t", "5", 5, .atLeastOnce)))
        }
    }

    @Test("before 5.0 there is no Receive Maximum")
    func unbounded() async throws {
        let server = try await FakeServer(.v3_1_1)
        try await withClient(.test(server.address, "c", .v3_1_1) { $0.receiveMaximum = 1 }) { client in
            let subscribing = Task { try await client.subscribe(to: "t", qos: .atLeastOnce, acknowledging: .byHand) }
            let connection = try await server.connection()
            try await connection.accept()
            try await connection.grant()
            let subscription = try await subscribing.value
            for id in 1...5 as ClosedRange<UInt16> {
                connection.send(.publish(message("t", "\(id)", id, .atLeastOnce)))
            }
            #expect(await subscription.first(5).count == 5)
            try await goesOn(client, connection)
        }
    }
}

/// Overlapping filters, of which the server names those that a message is for.
@Suite(.timeLimit(.minutes(2))) struct IdentifierTests {
    @Test("[MQTT-3.3.4-3] a message with several subscription identifiers goes to the sequences of these, once to each")
    func several() async throws {
        let server = try await FakeServer()
        try await withClient(.test(server.address)) { client in
            let connection = try await server.connection()
            try await connection.accept()
            var subscriptions: [MQTTSubscription] = []
            var identifiers: [UInt32] = []
            for filters in [["a/#"], ["a/+", "+/b"], ["a/b"]] {
                async let subscribing = client.subscribe(to: filters.map { TopicSubscription($0, qos: .atLeastOnce) })
                for _ in filters {
                    let subscribe = try await connection.grant()
                    identifiers.append(try #require(subscribe.properties[integer: .subscriptionIdentifier]))
                }
                subscriptions.append(try await subscribing)
            }
            #expect(Set(identifiers).count == 4)
            let cases: [(of: [Int], to: [Int])] = [
                ([0, 1, 2, 3], [0, 1, 2]), ([0, 3], [0, 2]), ([1, 2], [1]), ([2], [1]), ([0], [0]),
            ]
            for (id, (of, _)) in cases.enumerated() {
                var properties = Properties()
                for at in of { properties.append(.subscriptionIdentifier, .integer(identifiers[at])) }
                connection.send(
                    .publish(
                        Publish(
                            topic: "a/b",
                            payload: ByteBuffer(string: "\(id)"),
                            qos: .atLeastOnce,
                            packetID: UInt16(id) + 1,
                            properties: properties
                        )
                    )
                )
            }
            for (at, subscription) in subscriptions.enumerated() {
                let expected = cases.indices.filter { cases[$0].to.contains(at) }
                let messages = await subscription.first(expected.count)
                #expect(messages.map(\.payloadString) == expected.map(String.init))
                #expect(messages.allSatisfy { $0.properties.isEmpty })
            }
            // Each once, by whichever sequence was the last to have it.
            for id in cases.indices {
                #expect(try await connection.next() == .puback(Acknowledgement(packetID: UInt16(id) + 1)))
            }
        }
    }
}

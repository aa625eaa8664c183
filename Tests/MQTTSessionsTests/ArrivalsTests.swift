import MQTTPackets
import MQTTSessions
import NIOCore
import Testing

/// What the application has not taken yet.
@Suite struct ArrivalsTests {
    private func connected(receiveMaximum: UInt32? = nil) throws -> ClientSession {
        var connect = Connect(version: .v5, clientID: "c", cleanStart: false)
        connect.properties[integer: .receiveMaximum] = receiveMaximum
        var client = ClientSession(connect: connect, acknowledging: .whenTold)
        try reconnect(&client, sessionPresent: false)
        return client
    }

    private func reconnect(_ client: inout ClientSession, sessionPresent: Bool) throws {
        client.connectionBegan()
        client.output = ByteBuffer()
        _ = try client.received(.connack(Connack(sessionPresent: sessionPresent, reasonCode: .success)))
    }

    private func arrive(_ client: inout ClientSession, _ qos: QoS, _ packetID: UInt16) throws -> Receipt? {
        guard case .deliver(let receipt) = try client.publishArrived(qos: qos, packetID: packetID) else { return nil }
        return receipt
    }

    private func sent(_ client: inout ClientSession) throws -> [Packet] {
        defer { client.output = ByteBuffer() }
        return try packets(client.output, .v5)
    }

    @Test("[MQTT-4.6.0-2] [MQTT-4.6.0-3] acknowledgements leave in the order in which the messages came")
    func order() throws {
        var client = try connected()
        var receipts: [Receipt] = []
        for id in 1...3 {
            receipts.append(try #require(try arrive(&client, id == 2 ? .exactlyOnce : .atLeastOnce, UInt16(id))))
        }
        client.acknowledge(receipts[2])
        client.acknowledge(receipts[1], .quotaExceeded)
        #expect(try sent(&client).isEmpty)
        client.acknowledge(receipts[0])
        #expect(
            try sent(&client) == [
                .puback(Acknowledgement(packetID: 1)),
                .pubrec(Acknowledgement(packetID: 2, reasonCode: .quotaExceeded)),
                .puback(Acknowledgement(packetID: 3)),
            ]
        )
        client.acknowledge(receipts[0])
        #expect(try sent(&client).isEmpty)
    }

    @Test("[MQTT-4.3.3-10] a QoS 2 message that comes again is not delivered again, and answered once it is taken")
    func repeated() throws {
        var client = try connected()
        let receipt = try #require(try arrive(&client, .exactlyOnce, 7))
        try reconnect(&client, sessionPresent: true)
        #expect(try arrive(&client, .exactlyOnce, 7) == nil)
        #expect(try sent(&client).isEmpty)
        client.acknowledge(receipt)
        #expect(try sent(&client) == [.pubrec(Acknowledgement(packetID: 7))])
        // Taken before it comes again: answered at once.
        try reconnect(&client, sessionPresent: true)
        #expect(try arrive(&client, .exactlyOnce, 7) == nil)
        #expect(try sent(&client) == [.pubrec(Acknowledgement(packetID: 7))])
        client.pubrelReceived(7)
        #expect(try sent(&client) == [.pubcomp(Acknowledgement(packetID: 7))])
        #expect(try arrive(&client, .exactlyOnce, 7) != nil)
    }

    @Test("an acknowledgement of an earlier connection at QoS 1, or of an earlier session, is of no use")
    func late() throws {
        var client = try connected()
        let once = try #require(try arrive(&client, .atLeastOnce, 1))
        let twice = try #require(try arrive(&client, .exactlyOnce, 2))
        try reconnect(&client, sessionPresent: false)
        let first = try #require(try arrive(&client, .atLeastOnce, 1))
        let second = try #require(try arrive(&client, .exactlyOnce, 2))
        client.acknowledge(once)
        client.acknowledge(twice)
        #expect(try sent(&client).isEmpty)
        client.acknowledge(first)
        client.acknowledge(second)
        #expect(try sent(&client).map(\.kind) == [.puback, .pubrec])
    }

    @Test(
        "what was acknowledged once is not again, whatever has its packet identifier by then",
        arguments: [false, true]
    )
    func twice(_ isAnotherConnection: Bool) throws {
        var client = try connected()
        let receipt = try #require(try arrive(&client, .exactlyOnce, 7))
        if isAnotherConnection {
            try reconnect(&client, sessionPresent: true)
            #expect(try arrive(&client, .exactlyOnce, 7) == nil)
        }
        client.acknowledge(receipt)
        client.pubrelReceived(7)
        #expect(try sent(&client).map(\.kind) == [.pubrec, .pubcomp])
        let other = try #require(try arrive(&client, .exactlyOnce, 7))
        client.acknowledge(receipt)
        #expect(try sent(&client).isEmpty)
        // Nor once the other is of an earlier connection, too.
        try reconnect(&client, sessionPresent: true)
        client.acknowledge(receipt)
        #expect(try arrive(&client, .exactlyOnce, 7) == nil)
        #expect(try sent(&client).isEmpty)
        client.acknowledge(other, .quotaExceeded)
        client.acknowledge(other)
        #expect(try sent(&client) == [.pubrec(Acknowledgement(packetID: 7, reasonCode: .quotaExceeded))])
    }

    @Test("a refusal at QoS 2 that the connection did not carry goes with the next", arguments: [false, true])
    func refusedLate(_ isBlocked: Bool) throws {
        var client = try connected()
        if isBlocked { _ = try arrive(&client, .atLeastOnce, 1) }
        let receipt = try #require(try arrive(&client, .exactlyOnce, 7))
        // Behind one that is not taken it cannot leave.
        if isBlocked { client.acknowledge(receipt, .notAuthorized) }
        try reconnect(&client, sessionPresent: true)
        if !isBlocked { client.acknowledge(receipt, .notAuthorized) }
        #expect(try arrive(&client, .exactlyOnce, 7) == nil)
        #expect(try sent(&client) == [.pubrec(Acknowledgement(packetID: 7, reasonCode: .notAuthorized))])
        #expect(try arrive(&client, .exactlyOnce, 7) != nil)
    }

    @Test("[MQTT-2.3.1-4 of 3.1.1] before 5.0 there are no more unacknowledged messages than packet identifiers")
    func packetIdentifiers() throws {
        var client = ClientSession(connect: Connect(version: .v3_1_1, clientID: "c"), acknowledging: .whenTold)
        try reconnect(&client, sessionPresent: false)
        for id in 1...UInt16.max { _ = try arrive(&client, .atLeastOnce, id) }
        #expect(throws: DecodingError.self) { try client.publishArrived(qos: .atLeastOnce, packetID: 1) }
    }

    @Test("[MQTT-3.3.4-7] more unacknowledged messages than Receive Maximum are an error")
    func receiveMaximum() throws {
        var client = try connected(receiveMaximum: 2)
        let receipt = try #require(try arrive(&client, .atLeastOnce, 1))
        _ = try arrive(&client, .exactlyOnce, 2)
        client.acknowledge(receipt)
        _ = try arrive(&client, .atLeastOnce, 1)
        let error = #expect(throws: DecodingError.self) { try client.publishArrived(qos: .atLeastOnce, packetID: 3) }
        #expect(error?.reasonCode == .receiveMaximumExceeded)
    }
}

@Suite struct RecentAliasesTests {
    @Test("the topic that was not used for the longest gives up its alias")
    func leastRecent() {
        var aliases = RecentAliases(maximum: 3)
        #expect(["a", "b", "c"].map { aliases.use($0) } == [.define(1), .define(2), .define(3)])
        #expect(["a", "c", "a"].map { aliases.use($0) } == [.use(1), .use(3), .use(1)])
        #expect(aliases.use("d") == .define(2))
        #expect(aliases.use("b") == .define(3))
        #expect(aliases.use("a") == .use(1))
        #expect(aliases.use("c") == .define(2))
    }

    @Test("without aliases there are none, and with one each new topic takes it")
    func few() {
        var none = RecentAliases(maximum: 0)
        #expect(none.use("a") == .none)
        var one = RecentAliases(maximum: 1)
        #expect(["a", "a", "b", "a"].map { one.use($0) } == [.define(1), .use(1), .define(1), .define(1)])
    }
}

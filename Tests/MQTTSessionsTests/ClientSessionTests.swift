import MQTTPackets
import MQTTSessions
import NIOCore
import Testing

@Suite struct ClientSessionTests {
    /// A client whose CONNECT has been accepted, and that has nothing to send.
    private func connected(
        _ version: ProtocolVersion = .v5,
        sessionPresent: Bool = false,
        receiveMaximum: UInt32? = nil
    ) throws -> ClientSession {
        var client = ClientSession(connect: Connect(version: version, clientID: "c", cleanStart: false))
        client.connectionBegan()
        try accept(&client, sessionPresent: sessionPresent, receiveMaximum: receiveMaximum)
        _ = take(&client)
        return client
    }

    private func accept(_ client: inout ClientSession, sessionPresent: Bool, receiveMaximum: UInt32? = nil) throws {
        var properties = Properties()
        properties[integer: .receiveMaximum] = receiveMaximum
        let connack = Connack(sessionPresent: sessionPresent, reasonCode: .success, properties: properties)
        #expect(try client.received(.connack(connack)) == .connected(connack))
    }

    private func take(_ client: inout ClientSession) -> ByteBuffer {
        defer { client.output = ByteBuffer() }
        return client.output
    }

    private func publish(_ payload: String, _ qos: QoS) -> Publish {
        Publish(topic: "t", payload: ByteBuffer(string: payload), qos: qos)
    }

    private func sent(_ client: inout ClientSession) throws -> [Packet] { try packets(take(&client), client.version) }

    @Test("[MQTT-3.1.0-1] the first packet of a connection is CONNECT, and messages wait for CONNACK")
    func connectFirst() throws {
        var client = ClientSession(connect: Connect(version: .v5, clientID: "c"))
        #expect(client.publish(publish("early", .atLeastOnce)) == 0)
        client.connectionBegan()
        #expect(try sent(&client).map(\.kind) == [.connect])
        try accept(&client, sessionPresent: false)
        #expect(try sent(&client).map(\.kind) == [.publish])
    }

    @Test("[MQTT-4.9.0-1] [MQTT-4.9.0-2] no more than the broker's Receive Maximum is in flight")
    func receiveMaximum() throws {
        var client = try connected(receiveMaximum: 2)
        for at in 0..<4 { _ = client.publish(publish("\(at)", at == 0 ? .exactlyOnce : .atLeastOnce)) }
        #expect(try sent(&client).count == 2)
        #expect(try client.received(.pubrec(Acknowledgement(packetID: 1))) == nil)
        #expect(try sent(&client).map(\.kind) == [.pubrel])
        #expect(try client.received(.pubcomp(Acknowledgement(packetID: 1))) == .published(0, .success))
        #expect(try sent(&client).map(\.kind) == [.publish])
    }

    @Test("[MQTT-4.4.0-1] [MQTT-3.3.1-1] where the session is present unfinished messages are sent again, with DUP")
    func resumed() throws {
        var client = try connected()
        _ = client.publish(publish("one", .atLeastOnce))
        _ = client.publish(publish("two", .exactlyOnce))
        _ = try client.received(.pubrec(Acknowledgement(packetID: 2)))
        client.connectionBegan()
        _ = take(&client)
        try accept(&client, sessionPresent: true)
        var again = publish("one", .atLeastOnce)
        again.isDuplicate = true
        again.packetID = 1
        #expect(try sent(&client) == [.publish(again), .pubrel(Acknowledgement(packetID: 2))])
    }

    @Test("[MQTT-3.2.2-5] where the session is not present messages are sent as new ones")
    func forgotten() throws {
        var client = try connected()
        _ = client.publish(publish("one", .atLeastOnce))
        client.connectionBegan()
        _ = take(&client)
        try accept(&client, sessionPresent: false)
        guard case .publish(let again)? = try sent(&client).first else {
            Issue.record("not sent again")
            return
        }
        #expect(!again.isDuplicate)
        #expect(again.payload == ByteBuffer(string: "one"))
    }

    @Test("[MQTT-4.3.3-10] a QoS 2 message that is repeated is not given to the application again")
    func received() throws {
        var client = try connected()
        var message = publish("m", .exactlyOnce)
        message.packetID = 9
        #expect(try client.received(.publish(message)) == .message(message))
        #expect(try client.received(.publish(message)) == nil)
        #expect(try sent(&client).map(\.kind) == [.pubrec, .pubrec])
        #expect(try client.received(.pubrel(Acknowledgement(packetID: 9))) == nil)
        #expect(try sent(&client) == [.pubcomp(Acknowledgement(packetID: 9))])
        #expect(try client.received(.publish(message)) == .message(message))
    }

    @Test("an acknowledgement with an error ends the message with it")
    func refused() throws {
        var client = try connected()
        for _ in 0..<2 { _ = client.publish(publish("m", .exactlyOnce)) }
        let refusal = Acknowledgement(packetID: 1, reasonCode: .quotaExceeded)
        #expect(try client.received(.pubrec(refusal)) == .published(0, .quotaExceeded))
        #expect(try client.received(.pubrec(refusal)) == nil)
        #expect(client.outbound.first == 1)
    }

    @Test("[MQTT-2.2.1-3] requests and messages never have the same packet identifier in use")
    func identifiers() throws {
        var client = try connected()
        var inUse: Set<UInt16> = []
        for at in 0..<70_000 {
            // Every message is answered at once, and few of the requests are.
            _ = client.publish(publish("m", .atLeastOnce))
            if at % 97 == 0 { _ = client.subscribe([Subscribe.Filter("a")]) }
            if at % 8_191 == 0 { _ = client.unsubscribe(["a"]) }
            for packet in try sent(&client) {
                switch packet {
                case .publish(let publish):
                    let id = try #require(publish.packetID)
                    guard !inUse.contains(id) else {
                        Issue.record("\(id) is in use")
                        return
                    }
                    _ = try client.received(.puback(Acknowledgement(packetID: id)))
                case .subscribe(let subscribe): #expect(inUse.insert(subscribe.packetID).inserted)
                case .unsubscribe(let unsubscribe): #expect(inUse.insert(unsubscribe.packetID).inserted)
                default: Issue.record("\(packet.kind)")
                }
            }
            if inUse.count > 500, let oldest = inUse.min() {
                inUse.remove(oldest)
                _ = try client.received(.suback(Suback(packetID: oldest, reasonCodes: [.success])))
            }
            if client.outbound.queued > 0 { inUse = try answerAll(&client, inUse) }
        }
        #expect(client.outbound.isEmpty)
    }

    /// A message waits for an identifier that a request has: it goes out with the answer.
    private func answerAll(_ client: inout ClientSession, _ inUse: Set<UInt16>) throws -> Set<UInt16> {
        for id in inUse.sorted() {
            _ = try client.received(.suback(Suback(packetID: id, reasonCodes: [.success])))
        }
        for case .publish(let publish) in try sent(&client) {
            _ = try client.received(.puback(Acknowledgement(packetID: try #require(publish.packetID))))
        }
        return []
    }

    @Test("[MQTT-3.3.2-12] the topic of an alias is the one that came with it on this connection")
    func aliases() throws {
        var client = try connected()
        client.connect.properties[integer: .topicAliasMaximum] = 3
        var message = publish("m", .atMostOnce)
        message.properties[integer: .topicAlias] = 3
        #expect(try client.received(.publish(message)) == .message(message))
        var short = message
        short.topic = ""
        #expect(try client.received(.publish(short)) == .message(message))
        client.connectionBegan()
        try accept(&client, sessionPresent: true)
        #expect(throws: DecodingError.self) { try client.received(.publish(short)) }
    }

    @Test("[MQTT-3.1.2-27] an alias above what this end allows is refused")
    func aliasTooHigh() throws {
        var client = try connected()
        client.connect.properties[integer: .topicAliasMaximum] = 3
        var message = publish("m", .atMostOnce)
        message.properties[integer: .topicAlias] = 4
        let error = #expect(throws: DecodingError.self) { try client.received(.publish(message)) }
        #expect(error?.reasonCode == .topicAliasInvalid)
    }

    @Test("a QoS 2 message that the broker has received ends when the session is forgotten, and its sender is told")
    func forgottenWhileReleased() throws {
        var client = try connected()
        _ = client.publish(publish("m", .exactlyOnce))
        _ = try client.received(.pubrec(Acknowledgement(packetID: 1)))
        client.connectionBegan()
        try accept(&client, sessionPresent: false)
        #expect(client.ended.map(\.number) == [0])
        #expect(client.ended.map(\.outcome) == [.received])
        #expect(client.outbound.isEmpty)
    }

    @Test(
        "[MQTT-3.2.2-6] a refusal with a session, a session after Clean Start and what comes before CONNACK are errors"
    )
    func wrongConnacks() throws {
        var client = ClientSession(connect: Connect(version: .v5, clientID: "c", cleanStart: true))
        for packet in [
            Packet.connack(Connack(sessionPresent: true, reasonCode: .notAuthorized)), .pingresp,
            .connack(Connack(sessionPresent: true, reasonCode: .success)),
        ] {
            client.connectionBegan()
            #expect(throws: DecodingError.self, "\(packet)") { try client.received(packet) }
        }
    }

    @Test("requests have at most 32,768 identifiers, and end when there are none left")
    func requestsExhausted() throws {
        var client = try connected()
        for _ in 0..<32_768 { #expect(client.subscribe([Subscribe.Filter("a")]) != nil) }
        #expect(client.subscribe([Subscribe.Filter("a")]) == nil)
        #expect(client.unsubscribe(["a"]) == nil)
        _ = try client.received(.suback(Suback(packetID: 0x9000, reasonCodes: [.success])))
        #expect(client.unsubscribe(["a"]) == 0x9000)
    }

    @Test("[MQTT-3.3.2-6] a message that waited is sent with what is left of its expiry, and not when nothing is")
    func expiry() throws {
        var client = ClientSession(connect: Connect(version: .v5, clientID: "c"))
        for seconds: UInt32 in [1, 10] {
            var message = publish("\(seconds)", .atLeastOnce)
            message.properties[integer: .messageExpiryInterval] = seconds
            _ = client.publish(message)
        }
        client.now = 4_000
        client.connectionBegan()
        _ = take(&client)
        try accept(&client, sessionPresent: false)
        guard case .publish(let message)? = try sent(&client).first else {
            Issue.record("nothing was sent")
            return
        }
        #expect(message.payload == ByteBuffer(string: "10"))
        #expect(message.properties[integer: .messageExpiryInterval] == 6)
        #expect(client.ended.map(\.number) == [0])
        #expect(client.ended.map(\.outcome) == [.expired])
    }

    @Test("[MQTT-3.2.2-11] [MQTT-3.2.2-14] [MQTT-3.2.2-15] what the broker does not take is not sent to it")
    func serverLimits() throws {
        var client = ClientSession(connect: Connect(version: .v5, clientID: "c"))
        _ = client.publish(publish("m", .exactlyOnce))
        var retained = publish("m", .atLeastOnce)
        retained.isRetained = true
        _ = client.publish(retained)
        _ = client.publish(publish(String(repeating: "m", count: 100), .atLeastOnce))
        _ = client.publish(publish("m", .atLeastOnce))
        client.connectionBegan()
        _ = take(&client)
        var properties = Properties()
        properties[integer: .maximumQoS] = 1
        properties[integer: .retainAvailable] = 0
        properties[integer: .maximumPacketSize] = 100
        _ = try client.received(.connack(Connack(sessionPresent: false, reasonCode: .success, properties: properties)))
        #expect(try sent(&client).count == 1)
        let refused: [ReasonCode] = [.qosNotSupported, .retainNotSupported, .packetTooLarge]
        #expect(client.ended.map(\.outcome) == refused.map { .refused($0) })
    }

    @Test("[MQTT-3.2.2-16] the identifier that the broker assigned is the one of the next connection")
    func assignedIdentifier() throws {
        var client = ClientSession(connect: Connect(version: .v5, clientID: ""))
        client.connectionBegan()
        var properties = Properties()
        properties[string: .assignedClientIdentifier] = "given"
        _ = try client.received(
            .connack(Connack(sessionPresent: false, reasonCode: .success, properties: properties))
        )
        client.connectionBegan(cleanStart: false)
        guard case .connect(let connect)? = try sent(&client).first else {
            Issue.record("no CONNECT")
            return
        }
        #expect(connect.clientID == "given")
        #expect(!connect.cleanStart)
    }

    @Test("a second CONNACK and what only clients send are protocol errors")
    func protocolErrors() throws {
        var client = try connected()
        let wrong: [Packet] = [
            .connack(Connack(sessionPresent: false, reasonCode: .success)), .pingreq,
            .connect(Connect(version: .v5, clientID: "x")), .unsubscribe(Unsubscribe(packetID: 1, filters: ["a"])),
            .subscribe(Subscribe(packetID: 1, filters: [Subscribe.Filter("a")])),
        ]
        for packet in wrong {
            #expect(throws: DecodingError.self, "\(packet.kind)") { try client.received(packet) }
        }
    }
}

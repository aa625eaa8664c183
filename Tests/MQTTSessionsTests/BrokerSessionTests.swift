import MQTTPackets
import MQTTSessions
import Testing

@Suite struct BrokerSessionTests {
    private var session = BrokerSession(clientID: "c", incarnation: 1, expiryInterval: 60)

    /// A session with one message sent, and its packet identifier.
    private mutating func send(_ qos: QoS) -> UInt16 {
        let number = session.outbound.end
        session.outbound.add(qos: qos)
        let step = session.outbound.nextStep(quota: 10, committed: .max)
        #expect(step == .publish(number))
        session.outbound.published()
        return OutboundQueue.packetID(number)
    }

    private mutating func receive(_ qos: QoS, _ packetID: UInt16, most: Int? = nil) -> BrokerSession.PublishVerdict {
        session.publishReceived(qos: qos, packetID: packetID, receiveMaximum: most)
    }

    // MARK: From the client

    @Test("[MQTT-4.3.1-1] a PUBLISH at QoS 0 is routed and not answered, whatever else is open")
    mutating func atMostOnceReceived() {
        _ = receive(.exactlyOnce, 1, most: 1)
        #expect(receive(.atMostOnce, 0, most: 1) == .route)
        #expect(session.inbound.unacknowledged == 1)
    }

    @Test("[MQTT-4.3.2-4] [MQTT-4.3.2-5] a PUBLISH at QoS 1 is routed and acknowledged, again when it is repeated")
    mutating func atLeastOnceReceived() {
        #expect(receive(.atLeastOnce, 1) == .routeThenAcknowledge)
        session.inbound.acknowledged()
        #expect(receive(.atLeastOnce, 1) == .routeThenAcknowledge)
        session.inbound.acknowledged()
        #expect(session.inbound.unacknowledged == 0)
    }

    @Test("[MQTT-4.3.3-10] a PUBLISH at QoS 2 that repeats one not yet released is not delivered again")
    mutating func exactlyOnceReceived() {
        #expect(receive(.exactlyOnce, 1) == .routeThenReceive)
        #expect(receive(.exactlyOnce, 1) == .receiveAgain)
        session.connectionEnded()
        session.connectionBegan()
        #expect(receive(.exactlyOnce, 1) == .receiveAgain)
    }

    @Test("[MQTT-4.3.3-11] [MQTT-4.3.3-12] after PUBREL the packet identifier is that of a new message")
    mutating func releaseReceived() {
        #expect(receive(.exactlyOnce, 1) == .routeThenReceive)
        #expect(session.pubrelReceived(1) == true)
        #expect(session.pubrelReceived(1) == false)
        #expect(receive(.exactlyOnce, 1) == .routeThenReceive)
    }

    @Test("a PUBREL whose identifier is not known is told from one that is")
    mutating func unknownRelease() {
        #expect(session.pubrelReceived(5) == false)
        #expect(session.inbound.unacknowledged == 0)
    }

    @Test("[MQTT-3.3.4-7] more unacknowledged PUBLISH packets than Receive Maximum end the connection")
    mutating func receiveMaximum() {
        #expect(receive(.exactlyOnce, 1, most: 2) == .routeThenReceive)
        #expect(receive(.atLeastOnce, 2, most: 2) == .routeThenAcknowledge)
        #expect(receive(.atLeastOnce, 3, most: 2) == .disconnect(.receiveMaximumExceeded))
        #expect(receive(.exactlyOnce, 4, most: 2) == .disconnect(.receiveMaximumExceeded))
        #expect(receive(.exactlyOnce, 1, most: 2) == .receiveAgain)
    }

    @Test("a QoS 2 message that was refused for Receive Maximum is new when it comes again")
    mutating func refusedAndRepeated() {
        _ = receive(.exactlyOnce, 1, most: 1)
        #expect(receive(.exactlyOnce, 2, most: 1) == .disconnect(.receiveMaximumExceeded))
        session.connectionEnded()
        session.connectionBegan()
        #expect(receive(.exactlyOnce, 1, most: 1) == .receiveAgain)
        #expect(session.pubrelReceived(1) == true)
        #expect(receive(.exactlyOnce, 2, most: 1) == .routeThenReceive)
    }

    @Test("before 5.0 any number of PUBLISH packets may be unacknowledged")
    mutating func noReceiveMaximum() {
        for id in 1...UInt16.max { #expect(receive(.exactlyOnce, id) == .routeThenReceive) }
        #expect(session.inbound.unreleased.count == 65_535)
    }

    @Test("identifiers of an earlier connection do not count against Receive Maximum")
    mutating func restoredIdentifiers() {
        #expect(receive(.exactlyOnce, 1, most: 1) == .routeThenReceive)
        session.connectionEnded()
        session.connectionBegan()
        #expect(receive(.exactlyOnce, 2, most: 1) == .routeThenReceive)
        #expect(session.pubrelReceived(1) == true)
        #expect(receive(.atLeastOnce, 3, most: 1) == .disconnect(.receiveMaximumExceeded))
        #expect(session.pubrelReceived(2) == true)
        #expect(receive(.atLeastOnce, 3, most: 1) == .routeThenAcknowledge)
    }

    // MARK: To the client

    @Test("[MQTT-4.3.2-3] PUBACK ends a message at QoS 1, once")
    mutating func acknowledged() {
        let id = send(.atLeastOnce)
        #expect(session.pubackReceived(id) == .finished(0))
        #expect(session.pubackReceived(id) == .unknown)
        #expect(session.outbound.isEmpty)
    }

    @Test("[MQTT-4.3.3-4] PUBREC brings PUBREL, again when it is repeated, and PUBCOMP ends the message")
    mutating func exactlyOnceSent() {
        let id = send(.exactlyOnce)
        #expect(session.pubcompReceived(id) == .unknown)
        #expect(session.pubrecReceived(id, isError: false) == .release(0))
        #expect(session.outbound[0].message == nil)
        #expect(session.pubrecReceived(id, isError: false) == .release(0))
        #expect(session.outbound.inFlight == 1)
        #expect(session.pubcompReceived(id) == .finished(0))
        #expect(session.pubcompReceived(id) == .unknown)
        #expect(session.pubrecReceived(id, isError: false) == .unknown)
        #expect(session.outbound.isEmpty)
        #expect(session.outbound.inFlight == 0)
    }

    @Test("[MQTT-4.4.0-2] a PUBREC with an error ends the message, but not one that was released already")
    mutating func refused() {
        let first = send(.exactlyOnce)
        #expect(session.pubrecReceived(first, isError: true) == .finished(0))
        let second = send(.exactlyOnce)
        #expect(session.pubrecReceived(second, isError: false) == .release(1))
        #expect(session.pubrecReceived(second, isError: true) == .unknown)
        #expect(session.pubcompReceived(second) == .finished(1))
    }

    @Test(
        "an answer of the other QoS, or to what is not in flight, changes nothing",
        arguments: [QoS.atLeastOnce, .exactlyOnce]
    )
    mutating func wrongAnswer(_ qos: QoS) {
        let id = send(qos)
        if qos == .atLeastOnce {
            #expect(session.pubrecReceived(id, isError: false) == .unknown)
            #expect(session.pubcompReceived(id) == .unknown)
        } else {
            #expect(session.pubackReceived(id) == .unknown)
        }
        #expect(session.pubackReceived(id + 1) == .unknown)
        #expect(session.pubrecReceived(.max, isError: false) == .unknown)
        #expect(session.outbound.inFlight == 1)
        #expect(session.outbound[0].state == .sent)
    }

    @Test("a late answer to a message that has not been sent on this connection yet ends nothing")
    mutating func answerBeforeRedelivery() {
        let id = send(.atLeastOnce)
        session.connectionEnded()
        session.connectionBegan()
        #expect(session.pubackReceived(id) == .unknown)
        #expect(session.outbound.nextStep(quota: 1, committed: .max) == .publish(0))
    }

    @Test("a session outlives its connection where its expiry interval is not 0", arguments: [0, 1, UInt32.max])
    func persistence(_ interval: UInt32) {
        let session = BrokerSession(clientID: "c", incarnation: 1, expiryInterval: interval)
        #expect(session.isPersistent == (interval > 0))
    }
}

import MQTTPackets
import MQTTSessions

private let window = 100

func sessionBenchmarks() {
    measure("Session: QoS 1 to a receiver", operations: window, expecting: window) {
        let message = Message(Samples.publish)
        var session = makeSession()
        return {
            let numbers = send(message, .atLeastOnce, &session)
            return finished(numbers) { session.pubackReceived($0) }
        }
    }
    measure("Session: QoS 2 to a receiver", operations: window, expecting: window) {
        let message = Message(Samples.publish)
        var session = makeSession()
        return {
            let numbers = send(message, .exactlyOnce, &session)
            for number in numbers {
                let verdict = session.pubrecReceived(OutboundQueue.packetID(number), isError: false)
                guard verdict == .release(number) else { return 0 }
            }
            return finished(numbers) { session.pubcompReceived($0) }
        }
    }
    measure("Session: QoS 1 from a publisher", operations: window, expecting: window) {
        var session = makeSession()
        return {
            var routed = 0
            for packetID in 1...UInt16(window) {
                let verdict = session.publishReceived(qos: .atLeastOnce, packetID: packetID, receiveMaximum: window)
                if verdict == .routeThenAcknowledge { routed += 1 }
                session.inbound.acknowledged()
            }
            return routed
        }
    }
    measure("Session: QoS 2 from a publisher", operations: window, expecting: window) {
        var session = makeSession()
        return {
            var released = 0
            for packetID in 1...UInt16(window) {
                let verdict = session.publishReceived(qos: .exactlyOnce, packetID: packetID, receiveMaximum: window)
                guard verdict == .routeThenReceive else { return 0 }
            }
            for packetID in 1...UInt16(window) where session.pubrelReceived(packetID) { released += 1 }
            return released
        }
    }
}

private func makeSession() -> BrokerSession { BrokerSession(clientID: "press-12", incarnation: 1, expiryInterval: 0) }

/// Queues a window of messages and sends them.
private func send(_ message: Message, _ qos: QoS, _ session: inout BrokerSession) -> Range<UInt64> {
    let first = session.outbound.end
    for _ in 0..<window { session.outbound.append(message, qos: qos, isRetained: false) }
    while case .publish = session.outbound.nextStep(quota: window, committed: 0) {
        precondition(session.outbound.next().message != nil, "a message to be sent is not there")
        session.outbound.published()
    }
    return first..<session.outbound.end
}

private func finished(
    _ numbers: Range<UInt64>,
    _ answer: (UInt16) -> BrokerSession.AcknowledgementVerdict
) -> Int {
    var count = 0
    for number in numbers where answer(OutboundQueue.packetID(number)) == .finished(number) { count += 1 }
    return count
}

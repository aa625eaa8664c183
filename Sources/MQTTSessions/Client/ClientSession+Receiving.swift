import MQTTPackets

extension ClientSession {
    /// What to do with a PUBLISH.
    package enum Arrival: Sendable, Equatable {
        /// Give it to the application. At QoS 1 and 2 it is to be acknowledged by the receipt, once.
        case deliver(Receipt?)
        /// A QoS 2 message that the application was given before.
        case repeated
    }

    /// A PUBLISH came. Throws where it is one more than this end has allowed.
    package mutating func publishArrived(qos: QoS, packetID: UInt16) throws(DecodingError) -> Arrival {
        switch qos {
        case .atMostOnce: return .deliver(nil)
        case .atLeastOnce:
            inbound.receivedAtLeastOnce()
            try checkWindow()
            return .deliver(arrivals.append(packetID, qos))
        case .exactlyOnce:
            let isNew = inbound.received(packetID)  // [MQTT-4.3.3-10]
            try checkWindow()
            if isNew { return .deliver(arrivals.append(packetID, qos)) }
            arrivals.repeated(packetID)
            sendAcknowledgements()
            return .repeated
        }
    }

    /// Before 5.0 there are no more than packet identifiers [MQTT-2.3.1-4 of 3.1.1]. Mutating, so that the session is not
    /// copied for it.
    private mutating func checkWindow() throws(DecodingError) {
        let maximum = Int(connect.properties[integer: .receiveMaximum] ?? 65_535)
        guard inbound.unacknowledged <= maximum else {
            throw DecodingError(.receiveMaximumExceeded, "more than \(maximum) unacknowledged messages")
        }
    }

    /// The application has taken the message, or refuses it with an error. Before 5.0 there are no errors.
    package mutating func acknowledge(_ receipt: Receipt, _ reasonCode: ReasonCode = .success) {
        let isTaken = arrivals.taken(receipt, reasonCode)
        if isTaken && receipt.qos == .exactlyOnce && !(reasonCode.isError && version == .v5) {
            keeping?.add(.packetReceived(incarnation: SessionKeeping.incarnation, packetID: receipt.packetID))
        }
        sendAcknowledgements()
    }

    private mutating func sendAcknowledgements() {
        while let entry = arrivals.popReady() {
            let isError = entry.reasonCode.isError && version == .v5
            if entry.qos == .atLeastOnce {
                sendShort(.puback, entry.packetID, entry.reasonCode)
                inbound.acknowledged()
            } else {
                answer(.pubrec, entry.packetID, entry.reasonCode)
                if isError { inbound.released(entry.packetID) }
            }
        }
    }

    /// PUBREL came.
    package mutating func pubrelReceived(_ packetID: UInt16) {
        let isKnown = inbound.released(packetID)
        if isKnown { keeping?.add(.packetReleased(incarnation: SessionKeeping.incarnation, packetID: packetID)) }
        answer(.pubcomp, packetID, isKnown ? .success : .packetIdentifierNotFound)
    }

    /// An acknowledgement without properties: most of what a receiver sends.
    mutating func sendShort(_ kind: PacketKind, _ packetID: UInt16, _ reasonCode: ReasonCode = .success) {
        let hasReason = reasonCode != .success && version == .v5
        output.writeMultipleIntegers(kind.rawValue << 4 | kind.reservedFlags, hasReason ? 3 : 2 as UInt8, packetID)
        if hasReason { output.writeInteger(reasonCode.rawValue) }
    }
}

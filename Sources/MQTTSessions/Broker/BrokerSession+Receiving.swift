import MQTTPackets

extension BrokerSession {
    /// What to do with a PUBLISH.
    package enum PublishVerdict: Sendable, Equatable {
        case route
        case routeThenAcknowledge
        case routeThenReceive
        /// A repeated QoS 2 message: PUBREC again, and no second delivery.
        case receiveAgain
        case disconnect(ReasonCode)
    }

    /// A PUBLISH came. `receiveMaximum` is nil where the protocol has none.
    package mutating func publishReceived(qos: QoS, packetID: UInt16, receiveMaximum: Int?) -> PublishVerdict {
        switch qos {
        case .atMostOnce: return .route
        case .atLeastOnce:
            if let receiveMaximum, inbound.unacknowledged >= receiveMaximum {
                return .disconnect(.receiveMaximumExceeded)
            }
            inbound.receivedAtLeastOnce()
            return .routeThenAcknowledge
        case .exactlyOnce:
            if !inbound.received(packetID) { return .receiveAgain }  // [MQTT-4.3.3-10]
            if let receiveMaximum, inbound.unacknowledged > receiveMaximum {
                // It was not taken, so it is new when the client sends it again.
                inbound.released(packetID)
                return .disconnect(.receiveMaximumExceeded)  // [MQTT-3.3.4-7]
            }
            return .routeThenReceive
        }
    }

    /// PUBREL came. False where the identifier is not known: PUBCOMP says so with 0x92.
    package mutating func pubrelReceived(_ packetID: UInt16) -> Bool {
        inbound.released(packetID)
    }
}

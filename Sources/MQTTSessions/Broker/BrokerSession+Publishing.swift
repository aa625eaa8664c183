import MQTTPackets

extension BrokerSession {
    /// What an acknowledgement from the receiver ended.
    package enum AcknowledgementVerdict: Sendable, Equatable {
        /// The message with this number is over.
        case finished(UInt64)
        /// PUBREL is due for the message with this number.
        case release(UInt64)
        /// No message in flight has the identifier in this state.
        case unknown
    }

    /// PUBACK came, with whatever code: a failure too ends the message [MQTT-4.4.0-2].
    package mutating func pubackReceived(_ packetID: UInt16) -> AcknowledgementVerdict {
        guard let head = outbound.head(of: packetID), head.qos == .atLeastOnce, head.state == .sent else {
            return .unknown
        }
        outbound.finish(head.number)
        return .finished(head.number)
    }

    package mutating func pubrecReceived(_ packetID: UInt16, isError: Bool) -> AcknowledgementVerdict {
        guard let head = outbound.head(of: packetID), head.qos == .exactlyOnce else { return .unknown }
        switch head.state {
        case .sent where isError:
            outbound.finish(head.number)
            return .finished(head.number)
        case .sent:
            outbound.received(head.number)
            return .release(head.number)
        case .released where !isError: return .release(head.number)
        default: return .unknown
        }
    }

    package mutating func pubcompReceived(_ packetID: UInt16) -> AcknowledgementVerdict {
        guard let head = outbound.head(of: packetID), head.state == .released else { return .unknown }
        outbound.finish(head.number)
        return .finished(head.number)
    }
}

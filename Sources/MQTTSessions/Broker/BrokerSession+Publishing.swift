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
        guard let number = outbound.number(of: packetID), outbound.head(number).qos == .atLeastOnce,
            outbound.head(number).state == .sent
        else { return .unknown }
        outbound.finish(number)
        return .finished(number)
    }

    package mutating func pubrecReceived(_ packetID: UInt16, isError: Bool) -> AcknowledgementVerdict {
        guard let number = outbound.number(of: packetID), outbound.head(number).qos == .exactlyOnce else {
            return .unknown
        }
        switch outbound.head(number).state {
        case .sent where isError:
            outbound.finish(number)
            return .finished(number)
        case .sent:
            outbound.received(number)
            return .release(number)
        case .released where !isError: return .release(number)
        default: return .unknown
        }
    }

    package mutating func pubcompReceived(_ packetID: UInt16) -> AcknowledgementVerdict {
        guard let number = outbound.number(of: packetID), outbound.head(number).state == .released else {
            return .unknown
        }
        outbound.finish(number)
        return .finished(number)
    }
}

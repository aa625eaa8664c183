import MQTTPackets
import Testing

/// One row of the table: a whole packet as bytes and what it comes to.
struct PacketCase: Sendable, CustomTestStringConvertible {
    enum Outcome: Sendable {
        /// A packet that is encoded as these bytes again.
        case canonical(Packet)
        /// A packet that our encoder writes in another way.
        case accepted(Packet)
        case refused(ReasonCode)
    }

    /// What the row proves, with the number of the norm where there is one.
    let sentence: String
    let version: ProtocolVersion
    let bytes: [UInt8]
    let outcome: Outcome

    var testDescription: String { "\(sentence) (\(version))" }

    var packet: Packet? {
        switch outcome {
        case .canonical(let packet), .accepted(let packet): packet
        case .refused: nil
        }
    }

    static func packet(
        _ sentence: String,
        _ version: ProtocolVersion,
        _ notation: String,
        _ packet: Packet
    ) -> PacketCase {
        PacketCase(
            sentence: sentence,
            version: version,
            bytes: MQTTPacketsTests.bytes(notation),
            outcome: .canonical(packet)
        )
    }

    static func accepted(
        _ sentence: String,
        _ version: ProtocolVersion,
        _ notation: String,
        _ packet: Packet
    ) -> PacketCase {
        PacketCase(
            sentence: sentence,
            version: version,
            bytes: MQTTPacketsTests.bytes(notation),
            outcome: .accepted(packet)
        )
    }

    static func refused(
        _ sentence: String,
        _ version: ProtocolVersion,
        _ notation: String,
        _ code: ReasonCode = .malformedPacket
    ) -> PacketCase {
        PacketCase(
            sentence: sentence,
            version: version,
            bytes: MQTTPacketsTests.bytes(notation),
            outcome: .refused(code)
        )
    }
}

extension PacketCase {
    static let all: [PacketCase] =
        connect + connectRefused + connack + publish + publishRefused + acknowledgements + subscribe + suback
        + unsubscribe + unsuback + pings + disconnect + auth + headers

    static let decodable = all.filter { $0.packet != nil }
}

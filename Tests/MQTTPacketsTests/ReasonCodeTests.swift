import MQTTPackets
import Testing

@Suite struct ReasonCodeTests {
    /// Section 2.4, by packet: written from the specification and not from the code.
    private static let allowed: [PacketKind: [UInt8]] = [
        .connack: [
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A,
            0x9B, 0x9C, 0x9D, 0x9F,
        ],
        .puback: [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        .pubrec: [0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99],
        .pubrel: [0x00, 0x92],
        .pubcomp: [0x00, 0x92],
        .suback: [0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2],
        .unsuback: [0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91],
        .disconnect: [
            0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96,
            0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
        ],
        .auth: [0x00, 0x18, 0x19],
    ]

    @Test("[MQTT-3.2.2-8] [MQTT-3.4.2-1] [MQTT-3.14.2-1] each packet takes its reason codes and no others")
    func everyCode() throws {
        for (kind, codes) in Self.allowed {
            for raw in UInt8.min...UInt8.max {
                let bytes: [UInt8] =
                    switch kind {
                    case .connack: [0x20, 3, 0, raw, 0]
                    case .pubrel: [0x62, 3, 0, 1, raw]
                    case .suback, .unsuback: [kind.rawValue << 4, 4, 0, 1, 0, raw]
                    case .disconnect: [0xE0, 1, raw]
                    case .auth: [0xF0, 6, raw, 4, 0x15, 0, 1, 0x6D]
                    default: [kind.rawValue << 4, 3, 0, 1, raw]
                    }
                let expected: ReasonCode? = codes.contains(raw) ? nil : .malformedPacket
                #expect(reasonCode(of: bytes, .v5) == expected, "\(ReasonCode(rawValue: raw)) in \(kind)")
                #expect(ReasonCode(rawValue: raw).isAllowed(in: kind) == codes.contains(raw))
            }
        }
    }

    @Test("every reason of 5.0 has a return code of 3.1.1, and every such code its reason")
    func returnCodes() throws {
        for raw in UInt8.min...UInt8.max {
            for version in [ProtocolVersion.v3_1, .v3_1_1] {
                let reason = ReasonCode(rawValue: raw)
                let bytes = encodeOne(.connack(Connack(sessionPresent: false, reasonCode: reason)), version)
                #expect(bytes.count == 4 && bytes[3] <= 5 && (bytes[3] == 0) == (raw == 0))
                #expect(try decodeOne(bytes, version) != nil)
                #expect(reasonCode(of: [0x20, 2, 0, raw], version) == (raw <= 5 ? nil : .malformedPacket))
            }
        }
        for code in UInt8(0)...5 { #expect(ReasonCode(connackReturnCode: code)?.connackReturnCode == code) }
        #expect(ReasonCode(connackReturnCode: 6) == nil)
    }

    @Test("[MQTT-3.9.3-2] before 5.0 SUBACK says every failure as 80, and takes only 0, 1, 2 and 80")
    func suback() throws {
        for version in [ProtocolVersion.v3_1, .v3_1_1] {
            for raw in UInt8.min...UInt8.max {
                let isKnown = raw <= 2 || raw == 0x80
                #expect(reasonCode(of: [0x90, 3, 0, 1, raw], version) == (isKnown ? nil : .malformedPacket))
            }
            let suback = Suback(packetID: 1, reasonCodes: [.notAuthorized, .grantedQoS1, .topicFilterInvalid])
            #expect(encodeOne(.suback(suback), version) == [0x90, 5, 0, 1, 0x80, 1, 0x80])
        }
    }

    @Test("a code is printed with its name and its number")
    func description() {
        #expect(ReasonCode.success.description == "success (0x00)")
        #expect(ReasonCode.packetTooLarge.description == "packet too large (0x95)")
        #expect(ReasonCode(rawValue: 0x7F).description == "unknown reason (0x7F)")
        #expect(ReasonCode.unspecifiedError.isError && !ReasonCode.reAuthenticate.isError)
    }
}

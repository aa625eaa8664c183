import MQTTPackets

extension PacketCase {
    static let acknowledgements: [PacketCase] =
        [
            accepted(
                "3.1 sends PUBREL again with DUP",
                .v3_1,
                "6A 02 00 01",
                .pubrel(Acknowledgement(packetID: 1))
            ),
            refused("DUP of PUBREL is reserved from 3.1.1 on", .v3_1_1, "6A 02 00 01"),
            refused("[MQTT-3.6.1-1] the flags of PUBREL are 0010", .v3_1_1, "60 02 00 01"),
            refused("[MQTT-3.6.1-1] the flags of PUBREL are 0010", .v5, "60 02 00 01"),
            packet(
                "PUBREL gives up an identifier that nobody knows",
                .v5,
                "62 03 00 01 92",
                .pubrel(Acknowledgement(packetID: 1, reasonCode: .packetIdentifierNotFound))
            ),
            packet(
                "PUBCOMP answers an identifier that nobody knows",
                .v5,
                "70 03 00 01 92",
                .pubcomp(Acknowledgement(packetID: 1, reasonCode: .packetIdentifierNotFound))
            ),
            refused("[MQTT-3.6.2-1] the reason code is one of PUBREL", .v5, "62 03 00 01 10"),
            refused("[MQTT-3.7.2-1] the reason code is one of PUBCOMP", .v5, "70 03 00 01 FF"),
            packet(
                "PUBACK says that nobody subscribed",
                .v5,
                "40 03 00 01 10",
                .puback(Acknowledgement(packetID: 1, reasonCode: .noMatchingSubscribers))
            ),
            packet(
                "PUBREC refuses a message",
                .v5,
                "50 03 00 01 97",
                .pubrec(Acknowledgement(packetID: 1, reasonCode: .quotaExceeded))
            ),
            refused("[MQTT-3.4.2-1] the reason code is one of PUBACK", .v5, "40 03 00 01 FF"),
            refused("[MQTT-3.4.2-1] the reason code is one of PUBACK", .v5, "40 03 00 01 92"),
            refused("[MQTT-3.5.2-1] the reason code is one of PUBREC", .v5, "50 03 00 01 01"),
        ] + kinds.flatMap { kind in ProtocolVersion.allCases.flatMap { inAnyVersion(kind, $0) } + of5(kind) }

    private struct Kind: Sendable {
        let first: String
        let name: String
        let packet: @Sendable (Acknowledgement) -> Packet
    }

    private static let kinds = [
        Kind(first: "40", name: "PUBACK", packet: Packet.puback),
        Kind(first: "50", name: "PUBREC", packet: Packet.pubrec),
        Kind(first: "62", name: "PUBREL", packet: Packet.pubrel),
        Kind(first: "70", name: "PUBCOMP", packet: Packet.pubcomp),
    ]

    private static func inAnyVersion(_ kind: Kind, _ version: ProtocolVersion) -> [PacketCase] {
        [
            packet(
                "\(kind.name) is two bytes long when all is well",
                version,
                "\(kind.first) 02 12 34",
                kind.packet(Acknowledgement(packetID: 0x1234))
            ),
            refused("\(kind.name) is not empty", version, "\(kind.first) 00"),
            refused("\(kind.name) has a whole packet identifier", version, "\(kind.first) 01 00"),
            refused("\(kind.name) has no packet identifier 0", version, "\(kind.first) 02 00 00", .protocolError),
            refused("\(kind.name) has its reserved flags", version, "\(kind.first.prefix(1))1 02 00 01"),
            refused(
                "nothing follows the fields of \(kind.name)",
                version,
                version == .v5 ? "\(kind.first) 05 00 01 00 00 00" : "\(kind.first) 03 00 01 00"
            ),
        ]
    }

    private static func of5(_ kind: Kind) -> [PacketCase] {
        [
            accepted(
                "\(kind.name) may leave out the property length",
                .v5,
                "\(kind.first) 03 00 01 00",
                kind.packet(Acknowledgement(packetID: 1))
            ),
            accepted(
                "\(kind.name) may have an empty property length",
                .v5,
                "\(kind.first) 04 00 01 00 00",
                kind.packet(Acknowledgement(packetID: 1))
            ),
            packet(
                "\(kind.name) carries each of its properties",
                .v5,
                "\(kind.first) 0F 00 01 00 0B 1F 00 01 'w' 26 00 01 'k' 00 01 'v'",
                kind.packet(
                    Acknowledgement(packetID: 1, properties: Properties([.text(.reasonString, "w"), .user("k", "v")]))
                )
            ),
            refused("the properties end within \(kind.name)", .v5, "\(kind.first) 04 00 01 00 20"),
            refused("\(kind.name) has no property of PUBLISH", .v5, "\(kind.first) 06 00 01 00 02 01 01"),
            refused(
                "the reason string of \(kind.name) stands once",
                .v5,
                "\(kind.first) 0A 00 01 00 06 1F 00 00 1F 00 00",
                .protocolError
            ),
        ]
    }
}

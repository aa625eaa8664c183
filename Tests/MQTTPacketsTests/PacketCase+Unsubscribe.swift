import MQTTPackets

extension PacketCase {
    static let unsubscribe: [PacketCase] = [
        packet(
            "a filter is given up",
            .v3_1,
            "A2 05 00 01 00 01 'a'",
            .unsubscribe(Unsubscribe(packetID: 1, filters: ["a"]))
        ),
        accepted(
            "3.1 sends UNSUBSCRIBE again with DUP",
            .v3_1,
            "AA 05 00 01 00 01 'a'",
            .unsubscribe(Unsubscribe(packetID: 1, filters: ["a"]))
        ),
        packet(
            "several filters are given up",
            .v3_1_1,
            "A2 0A 00 01 00 03 'a/+' 00 01 '#'",
            .unsubscribe(Unsubscribe(packetID: 1, filters: ["a/+", "#"]))
        ),
        packet(
            "several filters are given up",
            .v5,
            "A2 0B 00 01 00 00 03 'a/+' 00 01 '#'",
            .unsubscribe(Unsubscribe(packetID: 1, filters: ["a/+", "#"]))
        ),
        packet(
            "UNSUBSCRIBE carries each of its properties",
            .v5,
            "A2 13 00 01 0D 26 00 01 'k' 00 01 'v' 26 00 01 'k' 00 00 00 01 'a'",
            .unsubscribe(
                Unsubscribe(
                    packetID: 1,
                    filters: ["a"],
                    properties: Properties([.user("k", "v"), .user("k", "")])
                )
            )
        ),
        refused("[MQTT-3.10.1-1] the flags of UNSUBSCRIBE are 0010", .v3_1, "A0 05 00 01 00 01 'a'"),
        refused("[MQTT-3.10.1-1] the flags of UNSUBSCRIBE are 0010", .v3_1_1, "A0 05 00 01 00 01 'a'"),
        refused("[MQTT-3.10.1-1] the flags of UNSUBSCRIBE are 0010", .v5, "AA 06 00 01 00 00 01 'a'"),
        refused("[MQTT-2.3.1-1] a packet identifier is not 0", .v3_1, "A2 05 00 00 00 01 'a'", .protocolError),
        refused("[MQTT-2.3.1-1] a packet identifier is not 0", .v3_1_1, "A2 05 00 00 00 01 'a'", .protocolError),
        refused("[MQTT-2.2.1-3] a packet identifier is not 0", .v5, "A2 06 00 00 00 00 01 'a'", .protocolError),
        refused("[MQTT-3.10.3-2] UNSUBSCRIBE has a filter", .v3_1, "A2 02 00 01", .protocolError),
        refused("[MQTT-3.10.3-2] UNSUBSCRIBE has a filter", .v3_1_1, "A2 02 00 01", .protocolError),
        refused("[MQTT-3.10.3-2] UNSUBSCRIBE has a filter", .v5, "A2 03 00 01 00", .protocolError),
        refused("each filter is whole", .v3_1_1, "A2 05 00 01 00 20 'a'"),
        refused("each filter is whole", .v5, "A2 06 00 01 00 00 20 'a'"),
        refused("[MQTT-3.10.3-1] a filter is well-formed UTF-8", .v3_1_1, "A2 06 00 01 00 02 61 FF"),
        refused("[MQTT-3.10.3-1] a filter is well-formed UTF-8", .v5, "A2 07 00 01 00 00 02 61 FF"),
        refused("UNSUBSCRIBE has no subscription identifier", .v5, "A2 08 00 01 02 0B 01 00 01 'a'"),
        refused("UNSUBSCRIBE is not empty", .v5, "A2 00"),
    ]

    static let unsuback: [PacketCase] = [
        packet("UNSUBACK has no codes", .v3_1, "B0 02 00 01", .unsuback(Unsuback(packetID: 1))),
        packet("UNSUBACK has no codes", .v3_1_1, "B0 02 00 01", .unsuback(Unsuback(packetID: 1))),
        packet(
            "[MQTT-3.11.3-1] codes in the order of the filters",
            .v5,
            "B0 06 00 01 00 11 00 87",
            .unsuback(Unsuback(packetID: 1, reasonCodes: [.noSubscriptionExisted, .success, .notAuthorized]))
        ),
        packet(
            "UNSUBACK carries each of its properties",
            .v5,
            "B0 0F 00 01 0B 1F 00 01 'w' 26 00 01 'k' 00 01 'v' 00",
            .unsuback(
                Unsuback(
                    packetID: 1,
                    reasonCodes: [.success],
                    properties: Properties([.text(.reasonString, "w"), .user("k", "v")])
                )
            )
        ),
        refused("UNSUBACK has no codes", .v3_1, "B0 03 00 01 00"),
        refused("UNSUBACK has no codes", .v3_1_1, "B0 03 00 01 00"),
        refused("[MQTT-3.11.3-2] the reason code is one of UNSUBACK", .v5, "B0 04 00 01 00 01"),
        refused("UNSUBACK of 5.0 has a code", .v5, "B0 03 00 01 00", .protocolError),
        refused("UNSUBACK of 5.0 has a property length", .v5, "B0 02 00 01"),
        refused("UNSUBACK has no packet identifier 0", .v3_1_1, "B0 02 00 00", .protocolError),
        refused("UNSUBACK has no packet identifier 0", .v5, "B0 04 00 00 00 00", .protocolError),
        refused("UNSUBACK has its reserved flags", .v3_1_1, "B2 02 00 01"),
        refused("UNSUBACK is not empty", .v5, "B0 00"),
    ]
}

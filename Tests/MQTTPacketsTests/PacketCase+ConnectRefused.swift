import MQTTPackets

extension PacketCase {
    static let connectRefused: [PacketCase] = protocolRefused + flagsRefused + payloadRefused + connectPropertiesRefused

    private static let protocolRefused: [PacketCase] = [
        refused("[MQTT-3.1.4-1] CONNECT is not empty", .v3_1_1, "10 00"),
        refused("[MQTT-3.1.4-1] CONNECT is not empty", .v5, "10 00"),
        refused(
            "[MQTT-3.1.2-1] the protocol name is MQTT or MQIsdp",
            .v3_1_1,
            "10 0D 00 04 'MQXX' 04 02 00 3C 00 01 'a'"
        ),
        refused(
            "[MQTT-3.1.2-1] the protocol name keeps its case",
            .v5,
            "10 0E 00 04 'mqtt' 05 02 00 3C 00 00 01 'a'"
        ),
        refused(
            "the protocol name is well-formed UTF-8",
            .v5,
            "10 0E 00 04 'MQT' FF 05 02 00 3C 00 00 01 'a'"
        ),
        refused(
            "the protocol name's length fits into the packet",
            .v5,
            "10 0C FF FF 'MQTT' 04 02 00 3C 00 00"
        ),
        refused(
            "[MQTT-3.1.2-2] an unknown level is answered as such",
            .v3_1_1,
            "10 0D 00 04 'MQTT' 63 02 00 3C 00 01 'a'",
            .unsupportedProtocolVersion
        ),
        refused(
            "[MQTT-3.1.2-2] a later level is answered as such, whatever follows it",
            .v5,
            "10 07 00 04 'MQTT' 06",
            .unsupportedProtocolVersion
        ),
        refused(
            "the name of 3.1 does not go with a later level",
            .v3_1_1,
            "10 0F 00 06 'MQIsdp' 04 02 00 3C 00 01 'a'",
            .unsupportedProtocolVersion
        ),
        refused(
            "the later name does not go with the level of 3.1",
            .v3_1,
            "10 0D 00 04 'MQTT' 03 02 00 3C 00 01 'a'",
            .unsupportedProtocolVersion
        ),
        refused(
            "the bit by which a bridge marks itself is an unknown level",
            .v3_1_1,
            "10 0D 00 04 'MQTT' 84 02 00 3C 00 01 'a'",
            .unsupportedProtocolVersion
        ),
    ]

    private static let flagsRefused: [PacketCase] = [
        refused("[MQTT-3.1.2-3] the reserved flag is 0", .v3_1, "10 0F 00 06 'MQIsdp' 03 03 00 3C 00 01 'a'"),
        refused("[MQTT-3.1.2-3] the reserved flag is 0", .v3_1_1, "10 0D 00 04 'MQTT' 04 03 00 3C 00 01 'a'"),
        refused("[MQTT-3.1.2-3] the reserved flag is 0", .v5, "10 0E 00 04 'MQTT' 05 03 00 3C 00 00 01 'a'"),
        refused("[MQTT-3.1.2-13] without a will its QoS is 0", .v3_1_1, "10 0D 00 04 'MQTT' 04 0A 00 3C 00 01 'a'"),
        refused("[MQTT-3.1.2-11] without a will its QoS is 0", .v5, "10 0E 00 04 'MQTT' 05 12 00 3C 00 00 01 'a'"),
        refused(
            "[MQTT-3.1.2-15] without a will, will retain is 0",
            .v3_1_1,
            "10 0D 00 04 'MQTT' 04 22 00 3C 00 01 'a'"
        ),
        refused("[MQTT-3.1.2-13] without a will, will retain is 0", .v5, "10 0E 00 04 'MQTT' 05 22 00 3C 00 00 01 'a'"),
        refused(
            "[MQTT-3.1.2-14] will QoS is never 3",
            .v3_1,
            "10 14 00 06 'MQIsdp' 03 1E 00 3C 00 01 'a' 00 01 't' 00 00"
        ),
        refused(
            "[MQTT-3.1.2-14] will QoS is never 3",
            .v3_1_1,
            "10 12 00 04 'MQTT' 04 1E 00 3C 00 01 'a' 00 01 't' 00 00"
        ),
        refused(
            "[MQTT-3.1.2-12] will QoS is never 3",
            .v5,
            "10 14 00 04 'MQTT' 05 1E 00 3C 00 00 01 'a' 00 00 01 't' 00 00"
        ),
        refused(
            "[MQTT-3.1.2-22] no password without a user name",
            .v3_1,
            "10 12 00 06 'MQIsdp' 03 42 00 3C 00 01 'a' 00 01 'p'"
        ),
        refused(
            "[MQTT-3.1.2-22] no password without a user name",
            .v3_1_1,
            "10 10 00 04 'MQTT' 04 42 00 3C 00 01 'a' 00 01 'p'"
        ),
    ]

    private static let payloadRefused: [PacketCase] = [
        refused("[MQTT-3.1.3-3] the client identifier is present", .v3_1, "10 0C 00 06 'MQIsdp' 03 02 00 3C"),
        refused("[MQTT-3.1.3-3] the client identifier is present", .v3_1_1, "10 0A 00 04 'MQTT' 04 02 00 3C"),
        refused("[MQTT-3.1.3-3] the client identifier is present", .v5, "10 0B 00 04 'MQTT' 05 02 00 3C 00"),
        refused("the client identifier ends within CONNECT", .v5, "10 10 00 04 'MQTT' 05 02 00 3C 00 FF FF 'abc'"),
        refused(
            "[MQTT-1.5.3-2] no U+0000 in the client identifier",
            .v3_1_1,
            "10 0F 00 04 'MQTT' 04 02 00 3C 00 03 61 00 62"
        ),
        refused(
            "[MQTT-1.5.4-2] no U+0000 in the client identifier",
            .v5,
            "10 10 00 04 'MQTT' 05 02 00 3C 00 00 03 61 00 62"
        ),
        refused(
            "[MQTT-1.5.4-1] no surrogate in the client identifier",
            .v5,
            "10 10 00 04 'MQTT' 05 02 00 3C 00 00 03 ED A0 80"
        ),
        refused(
            "[MQTT-1.5.3-1] no overlong form in the client identifier",
            .v3_1_1,
            "10 0E 00 04 'MQTT' 04 02 00 3C 00 02 C0 AF"
        ),
        refused(
            "[MQTT-1.5.4-1] nothing above U+10FFFF in the client identifier",
            .v5,
            "10 11 00 04 'MQTT' 05 02 00 3C 00 00 04 F4 90 80 80"
        ),
        refused("[MQTT-3.1.2-9] with a will its topic is present", .v3_1_1, "10 0D 00 04 'MQTT' 04 06 00 3C 00 01 'a'"),
        refused(
            "[MQTT-3.1.2-9] with a will its payload is present",
            .v5,
            "10 12 00 04 'MQTT' 05 06 00 3C 00 00 01 'a' 00 00 01 't'"
        ),
        refused(
            "[MQTT-4.7.3-1] the will topic is not empty",
            .v3_1_1,
            "10 12 00 04 'MQTT' 04 06 00 3C 00 01 'a' 00 00 00 01 'm'"
        ),
        refused(
            "[MQTT-3.1.3-11] the will topic is well-formed UTF-8",
            .v5,
            "10 16 00 04 'MQTT' 05 06 00 3C 00 00 01 'a' 00 00 02 77 FF 00 01 'm'"
        ),
        refused(
            "[MQTT-4.7.1-1] the will topic has no wildcards",
            .v3_1_1,
            "10 15 00 04 'MQTT' 04 06 00 3C 00 01 'a' 00 03 'a/#' 00 01 'm'"
        ),
        refused(
            "[MQTT-4.7.0-1] the will topic has no wildcards",
            .v5,
            "10 17 00 04 'MQTT' 05 06 00 3C 00 00 01 'a' 00 00 03 '+/a' 00 01 'm'"
        ),
        refused(
            "[MQTT-3.1.2-19] a flagged user name is present",
            .v3_1_1,
            "10 0D 00 04 'MQTT' 04 82 00 3C 00 01 'a'"
        ),
        refused("[MQTT-3.1.2-17] a flagged user name is present", .v5, "10 0E 00 04 'MQTT' 05 82 00 3C 00 00 01 'a'"),
        refused(
            "[MQTT-3.1.2-21] a flagged password is present",
            .v3_1_1,
            "10 10 00 04 'MQTT' 04 C2 00 3C 00 01 'a' 00 01 'u'"
        ),
        refused(
            "[MQTT-3.1.2-19] a flagged password is present",
            .v5,
            "10 11 00 04 'MQTT' 05 C2 00 3C 00 00 01 'a' 00 01 'u'"
        ),
        refused(
            "in 3.1 what is left for a user name is still a whole string",
            .v3_1,
            "10 12 00 06 'MQIsdp' 03 82 00 3C 00 01 'a' 00 02 'u'"
        ),
        refused(
            "[MQTT-3.1.2-18] no user name without its flag",
            .v3_1_1,
            "10 10 00 04 'MQTT' 04 02 00 3C 00 01 'a' 00 01 'u'"
        ),
        refused(
            "[MQTT-3.1.2-16] no user name without its flag",
            .v5,
            "10 11 00 04 'MQTT' 05 02 00 3C 00 00 01 'a' 00 01 'u'"
        ),
        refused(
            "[MQTT-3.1.3-12] the user name is well-formed UTF-8",
            .v5,
            "10 11 00 04 'MQTT' 05 82 00 3C 00 00 01 'a' 00 01 80"
        ),
    ]

    private static let connectPropertiesRefused: [PacketCase] = [
        refused("the property length is present", .v5, "10 0A 00 04 'MQTT' 05 02 00 3C"),
        refused("the properties end within CONNECT", .v5, "10 0E 00 04 'MQTT' 05 02 00 3C 7F 00 01 'x'"),
        refused("the property length has at most four bytes", .v5, "10 0F 00 04 'MQTT' 05 02 00 3C FF FF FF FF 00"),
        refused(
            "[MQTT-1.5.5-1] the property length has no byte too many",
            .v5,
            "10 0F 00 04 'MQTT' 05 02 00 3C 80 00 00 01 'a'"
        ),
        refused(
            "a property ends within the property length",
            .v5,
            "10 13 00 04 'MQTT' 05 02 00 3C 02 11 00 00 00 00 00 01 'a'"
        ),
        refused(
            "Receive Maximum is not 0",
            .v5,
            "10 11 00 04 'MQTT' 05 02 00 3C 03 21 00 00 00 01 'a'",
            .protocolError
        ),
        refused(
            "Maximum Packet Size is not 0",
            .v5,
            "10 13 00 04 'MQTT' 05 02 00 3C 05 27 00 00 00 00 00 01 'a'",
            .protocolError
        ),
        refused(
            "Request Problem Information is 0 or 1",
            .v5,
            "10 10 00 04 'MQTT' 05 02 00 3C 02 17 02 00 01 'a'",
            .protocolError
        ),
        refused(
            "Authentication Data needs a method",
            .v5,
            "10 12 00 04 'MQTT' 05 02 00 3C 04 16 00 01 61 00 01 'a'",
            .protocolError
        ),
        refused(
            "[MQTT-1.5.7-1] both strings of a user property are well-formed",
            .v5,
            "10 15 00 04 'MQTT' 05 02 00 3C 07 26 00 01 FF 00 01 'v' 00 01 'a'"
        ),
        refused(
            "a property of PUBLISH has no place in CONNECT",
            .v5,
            "10 11 00 04 'MQTT' 05 02 00 3C 03 23 00 01 00 01 'a'"
        ),
        refused(
            "a property of the will has no place among those of CONNECT",
            .v5,
            "10 19 00 04 'MQTT' 05 06 00 3C 05 18 00 00 00 01 00 01 'a' 00 00 01 't' 00 00"
        ),
        refused(
            "the response topic of a will has no wildcards",
            .v5,
            "10 1A 00 04 'MQTT' 05 06 00 3C 00 00 01 'a' 06 08 00 03 'r/#' 00 01 't' 00 00",
            .protocolError
        ),
    ]
}

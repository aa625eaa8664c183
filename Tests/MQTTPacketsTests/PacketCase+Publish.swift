import MQTTPackets
import NIOCore

extension PacketCase {
    static let publish: [PacketCase] = ProtocolVersion.allCases.flatMap(publishOfAnyVersion) + publishWithProperties

    private static func publishOfAnyVersion(_ version: ProtocolVersion) -> [PacketCase] {
        // The property length, which stands before the payload in 5.0 only.
        let properties = version == .v5 ? "00 " : ""
        func length(_ count: Int) -> String { hex(variable(version == .v5 ? count + 1 : count)) }
        return [
            packet(
                "a message at QoS 0 has no packet identifier [MQTT-2.2.1-2]",
                version,
                "30 \(length(5)) 00 01 'a' \(properties)'hi'",
                .publish(message("a", "hi"))
            ),
            packet(
                "a message may be empty",
                version,
                "30 \(length(3)) 00 01 'a' \(properties)",
                .publish(message("a", ""))
            ),
            packet(
                "a message at QoS 1",
                version,
                "32 \(length(6)) 00 01 'a' 00 01 \(properties)'h'",
                .publish(message("a", "h", .atLeastOnce, packetID: 1))
            ),
            packet(
                "a message at QoS 2, retained and sent again",
                version,
                "3D \(length(6)) 00 01 'a' FF FF \(properties)'h'",
                .publish(message("a", "h", .exactlyOnce, retained: true, duplicate: true, packetID: 65_535))
            ),
            packet(
                "a retained message",
                version,
                "31 \(length(4)) 00 01 'a' \(properties)'h'",
                .publish(message("a", "h", retained: true))
            ),
            packet(
                "a remaining length of two bytes",
                version,
                "30 \(length(203)) 00 01 'a' \(properties)61*200",
                .publish(message("a", String(repeating: "a", count: 200)))
            ),
            packet(
                "the payload is any bytes",
                version,
                "30 \(length(6)) 00 01 'a' \(properties)00 FF C0",
                .publish(Publish(topic: "a", payload: ByteBuffer(bytes: [0, 0xFF, 0xC0])))
            ),
            packet(
                "[MQTT-4.7.3-4] a topic name is taken as it is",
                version,
                "30 \(length(15)) 00 0D '/$' C3 A9 'e' CC 81 F0 9F 90 9D '//' \(properties)",
                .publish(message("/$\u{E9}e\u{301}\u{1F41D}//", ""))
            ),
        ]
    }

    private static let publishWithProperties: [PacketCase] = [
        packet(
            "PUBLISH carries each of its properties",
            .v5,
            """
            32 28 00 01 'a' 00 0A 21 01 01 02 00 00 00 3C 03 00 01 'c' 08 00 01 'r' 09 00 02 00 FF 0B 80 01 23 00 \
            05 26 00 01 'k' 00 01 'v' 'h'
            """,
            .publish(
                message(
                    "a",
                    "h",
                    .atLeastOnce,
                    packetID: 10,
                    properties: [
                        .number(.payloadFormatIndicator, 1), .number(.messageExpiryInterval, 60),
                        .text(.contentType, "c"), .text(.responseTopic, "r"), .data(.correlationData, [0, 0xFF]),
                        .number(.subscriptionIdentifier, 128), .number(.topicAlias, 5), .user("k", "v"),
                    ]
                )
            )
        ),
        packet(
            "a topic alias stands for an empty topic name",
            .v5,
            "30 07 00 00 03 23 00 01 'h'",
            .publish(message("", "h", properties: [.number(.topicAlias, 1)]))
        ),
        packet(
            "[MQTT-3.3.4-4] subscription identifiers may repeat",
            .v5,
            "30 0D 00 01 'a' 09 0B 01 0B FF FF FF 7F 0B 01",
            .publish(
                message(
                    "a",
                    "",
                    properties: [
                        .number(.subscriptionIdentifier, 1), .number(.subscriptionIdentifier, 268_435_455),
                        .number(.subscriptionIdentifier, 1),
                    ]
                )
            )
        ),
        packet(
            "[MQTT-3.3.2-18] user properties keep their order among others",
            .v5,
            "30 19 00 01 'a' 15 26 00 01 'b' 00 00 01 00 26 00 01 'a' 00 01 '1' 26 00 01 'b' 00 00",
            .publish(
                message(
                    "a",
                    "",
                    properties: [
                        .user("b", ""), .number(.payloadFormatIndicator, 0), .user("a", "1"), .user("b", ""),
                    ]
                )
            )
        ),
    ]

    private static func message(
        _ topic: String,
        _ payload: String,
        _ qos: QoS = .atMostOnce,
        retained: Bool = false,
        duplicate: Bool = false,
        packetID: UInt16? = nil,
        properties: [Property] = []
    ) -> Publish {
        Publish(
            topic: topic,
            payload: ByteBuffer(string: payload),
            qos: qos,
            isRetained: retained,
            isDuplicate: duplicate,
            packetID: packetID,
            properties: Properties(properties)
        )
    }

    static let publishRefused: [PacketCase] =
        ProtocolVersion.allCases.flatMap(refusedInAnyVersion) + [
            refused("[MQTT-4.7.3-1] a topic name is not empty", .v3_1, "30 03 00 00 'x'", .protocolError),
            refused("[MQTT-4.7.3-1] a topic name is not empty", .v3_1_1, "30 03 00 00 'x'", .protocolError),
            refused("an empty topic name needs an alias", .v5, "30 04 00 00 00 'x'", .protocolError),
            refused(
                "an empty topic name needs an alias, not another property",
                .v5,
                "30 06 00 00 02 01 01 'x'",
                .protocolError
            ),
            refused("PUBLISH of 5.0 has a property length", .v5, "30 03 00 01 'a'"),
            refused("the properties end within PUBLISH", .v5, "30 05 00 01 'a' 20 'x'"),
            refused("[MQTT-1.5.5-1] the property length has no byte too many", .v5, "30 06 00 01 'a' 80 00 'x'"),
            refused(
                "[MQTT-3.3.2-8] a topic alias is not 0",
                .v5,
                "30 08 00 01 'a' 03 23 00 00 'x'",
                .topicAliasInvalid
            ),
            refused(
                "a topic alias stands once",
                .v5,
                "30 0B 00 01 'a' 06 23 00 01 23 00 01 'x'",
                .protocolError
            ),
            refused("Payload Format Indicator is 0 or 1", .v5, "30 07 00 01 'a' 02 01 02 'x'", .protocolError),
            refused(
                "Message Expiry Interval stands once",
                .v5,
                "30 0F 00 01 'a' 0A 02 00 00 00 01 02 00 00 00 01 'x'",
                .protocolError
            ),
            refused(
                "[MQTT-3.3.2-14] the response topic has no wildcards",
                .v5,
                "30 0B 00 01 'a' 06 08 00 03 'r/#' 'x'",
                .protocolError
            ),
            refused("the response topic is not empty", .v5, "30 08 00 01 'a' 03 08 00 00 'x'", .protocolError),
            refused(
                "[MQTT-3.3.2-13] the response topic is well-formed UTF-8",
                .v5,
                "30 09 00 01 'a' 04 08 00 01 FF 'x'"
            ),
            refused(
                "[MQTT-3.3.2-19] the content type is well-formed UTF-8",
                .v5,
                "30 0A 00 01 'a' 05 03 00 02 C3 28 'x'"
            ),
            refused(
                "a subscription identifier is not 0",
                .v5,
                "30 07 00 01 'a' 02 0B 00 'x'",
                .protocolError
            ),
            refused(
                "[MQTT-1.5.5-1] a subscription identifier has no byte too many",
                .v5,
                "30 08 00 01 'a' 03 0B 81 00 'x'"
            ),
            refused(
                "a subscription identifier has at most four bytes",
                .v5,
                "30 0B 00 01 'a' 06 0B 81 81 81 81 01 'x'"
            ),
            refused("a property of CONNACK has no place in PUBLISH", .v5, "30 07 00 01 'a' 02 24 01 'x'"),
            refused("a property that nobody knows", .v5, "30 07 00 01 'a' 02 7F 01 'x'"),
        ]

    private static func refusedInAnyVersion(_ version: ProtocolVersion) -> [PacketCase] {
        let properties = version == .v5 ? "00 " : ""
        func length(_ count: Int) -> String { hex(variable(version == .v5 ? count + 1 : count)) }
        return [
            refused("PUBLISH is not empty", version, "30 00"),
            refused("PUBLISH has a topic name", version, "30 01 00"),
            refused("[MQTT-3.3.1-4] QoS is never 3", version, "36 \(length(6)) 00 01 'a' 00 01 \(properties)'x'"),
            refused("[MQTT-3.3.1-2] DUP is 0 at QoS 0", version, "38 \(length(4)) 00 01 'a' \(properties)'x'"),
            refused(
                "[MQTT-2.2.1-3] a packet identifier is not 0",
                version,
                "32 \(length(6)) 00 01 'a' 00 00 \(properties)'x'",
                .protocolError
            ),
            refused("a message at QoS 1 has a packet identifier", version, "32 03 00 01 'a'"),
            refused("a packet identifier has two bytes", version, "34 04 00 01 'a' 01"),
            refused("the topic name ends within PUBLISH", version, "30 05 10 00 'abc'"),
            refused("[MQTT-3.3.2-2] no + in a topic name", version, "30 \(length(5)) 00 03 'a/+' \(properties)"),
            refused("[MQTT-3.3.2-2] no # in a topic name", version, "30 \(length(5)) 00 03 'a/#' \(properties)"),
            refused(
                "[MQTT-3.3.2-2] no wildcard behind another character",
                version,
                "30 \(length(5)) 00 03 C3 A9 '+' \(properties)"
            ),
            refused(
                "[MQTT-4.7.3-2] no U+0000 in a topic name",
                version,
                "30 \(length(5)) 00 03 61 00 62 \(properties)"
            ),
            refused(
                "[MQTT-3.3.2-1] a topic name is well-formed UTF-8",
                version,
                "30 \(length(10)) 00 08 'foo/' EC 8C 04 10 \(properties)"
            ),
            refused(
                "[MQTT-1.5.4-1] no surrogate in a topic name",
                version,
                "30 \(length(6)) 00 04 'a' ED A0 80 \(properties)"
            ),
        ]
    }
}

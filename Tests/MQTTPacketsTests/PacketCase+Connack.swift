import MQTTPackets

extension PacketCase {
    static let connack: [PacketCase] = [
        packet("a connection is accepted", .v3_1, "20 02 00 00", .connack(answer(.success))),
        accepted("3.1 has no session present flag", .v3_1, "20 02 FF 00", .connack(answer(.success))),
        packet("level not accepted", .v3_1, "20 02 00 01", .connack(answer(.unsupportedProtocolVersion))),
        packet("identifier rejected", .v3_1, "20 02 00 02", .connack(answer(.clientIdentifierNotValid))),
        refused("return codes from 6 on are reserved", .v3_1, "20 02 00 06"),
        packet("a connection is accepted", .v3_1_1, "20 02 00 00", .connack(answer(.success))),
        packet(
            "[MQTT-3.2.2-2] a session is present",
            .v3_1_1,
            "20 02 01 00",
            .connack(answer(.success, sessionPresent: true))
        ),
        packet("server unavailable", .v3_1_1, "20 02 00 03", .connack(answer(.serverUnavailable))),
        packet("bad user name or password", .v3_1_1, "20 02 00 04", .connack(answer(.badUserNameOrPassword))),
        packet("not authorized", .v3_1_1, "20 02 00 05", .connack(answer(.notAuthorized))),
        refused("return codes from 6 on are reserved", .v3_1_1, "20 02 00 06"),
        refused("reason codes of 5.0 are none of 3.1.1", .v3_1_1, "20 02 00 85"),
        refused("[MQTT-3.2.2-1] reserved acknowledge flags are 0", .v3_1_1, "20 02 02 00"),
        refused("CONNACK has a return code", .v3_1_1, "20 01 00"),
        refused("CONNACK of 3.1.1 has no properties", .v3_1_1, "20 03 00 00 00"),
        packet("a connection is accepted", .v5, "20 03 00 00 00", .connack(answer(.success))),
        packet(
            "[MQTT-3.2.2-3] a session is present",
            .v5,
            "20 03 01 00 00",
            .connack(answer(.success, sessionPresent: true))
        ),
        accepted(
            "a server that does not speak 5.0 refuses as it can",
            .v5,
            "20 02 00 01",
            .connack(answer(.unsupportedProtocolVersion))
        ),
        packet("a connection is refused", .v5, "20 03 00 8A 00", .connack(answer(.banned))),
        packet(
            "CONNACK carries each of its properties",
            .v5,
            """
            20 3F 00 00 3C 11 00 00 0E 10 12 00 01 's' 13 00 3C 15 00 01 'm' 16 00 01 FF 1A 00 01 'r' 1C 00 01 'o' \
            1F 00 01 'w' 21 00 14 22 00 0A 24 01 25 00 26 00 01 'k' 00 01 'v' 27 00 00 10 00 28 00 29 00 2A 01
            """,
            .connack(
                Connack(
                    sessionPresent: false,
                    reasonCode: .success,
                    properties: Properties([
                        .number(.sessionExpiryInterval, 3_600), .text(.assignedClientIdentifier, "s"),
                        .number(.serverKeepAlive, 60), .text(.authenticationMethod, "m"),
                        .data(.authenticationData, [0xFF]), .text(.responseInformation, "r"),
                        .text(.serverReference, "o"), .text(.reasonString, "w"), .number(.receiveMaximum, 20),
                        .number(.topicAliasMaximum, 10), .number(.maximumQoS, 1), .number(.retainAvailable, 0),
                        .user("k", "v"), .number(.maximumPacketSize, 4_096),
                        .number(.wildcardSubscriptionAvailable, 0), .number(.subscriptionIdentifierAvailable, 0),
                        .number(.sharedSubscriptionAvailable, 1),
                    ])
                )
            )
        ),
        refused("[MQTT-3.2.2-1] reserved acknowledge flags are 0", .v5, "20 03 80 00 00"),
        refused("[MQTT-3.2.2-8] the reason code is one of CONNACK", .v5, "20 03 00 01 00"),
        refused("[MQTT-3.2.2-8] the reason code is one of CONNACK", .v5, "20 03 00 8E 00"),
        refused("CONNACK of 5.0 has a property length", .v5, "20 02 00 00"),
        refused("CONNACK is not empty", .v5, "20 00"),
        refused("Maximum QoS is 0 or 1", .v5, "20 05 00 00 02 24 02", .protocolError),
        refused("Receive Maximum is not 0", .v5, "20 06 00 00 03 21 00 00", .protocolError),
        refused("Maximum Packet Size is not 0", .v5, "20 08 00 00 05 27 00 00 00 00", .protocolError),
        refused("nothing follows the properties", .v5, "20 06 00 00 02 24 01 00"),
    ]

    private static func answer(_ reasonCode: ReasonCode, sessionPresent: Bool = false) -> Connack {
        Connack(sessionPresent: sessionPresent, reasonCode: reasonCode)
    }
}

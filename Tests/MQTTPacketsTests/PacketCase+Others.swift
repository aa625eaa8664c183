import MQTTPackets

extension PacketCase {
    static let pings: [PacketCase] = ProtocolVersion.allCases.flatMap { version in
        [
            packet("PINGREQ is two bytes", version, "C0 00", .pingreq),
            packet("PINGRESP is two bytes", version, "D0 00", .pingresp),
            refused("PINGREQ has no body", version, "C0 01 00"),
            refused("PINGRESP has no body", version, "D0 01 00"),
            refused("PINGREQ has its reserved flags", version, "C1 00"),
            refused("PINGRESP has its reserved flags", version, "D8 00"),
        ]
    }

    static let disconnect: [PacketCase] = [
        packet("DISCONNECT is two bytes", .v3_1, "E0 00", .disconnect(Disconnect())),
        packet("DISCONNECT is two bytes", .v3_1_1, "E0 00", .disconnect(Disconnect())),
        refused("DISCONNECT has no reason code before 5.0", .v3_1, "E0 01 00"),
        refused("DISCONNECT has no reason code before 5.0", .v3_1_1, "E0 01 00"),
        refused("[MQTT-3.14.1-1] DISCONNECT has its reserved flags", .v3_1_1, "E2 00"),
        packet("a normal disconnection is two bytes", .v5, "E0 00", .disconnect(Disconnect())),
        accepted("a normal disconnection may say so", .v5, "E0 01 00", .disconnect(Disconnect())),
        accepted("a normal disconnection may have a property length", .v5, "E0 02 00 00", .disconnect(Disconnect())),
        packet(
            "the property length may be left out",
            .v5,
            "E0 01 04",
            .disconnect(Disconnect(reasonCode: .disconnectWithWill))
        ),
        accepted(
            "the property length may be 0",
            .v5,
            "E0 02 8E 00",
            .disconnect(Disconnect(reasonCode: .sessionTakenOver))
        ),
        packet(
            "section 2.4 lists Bad authentication method for DISCONNECT",
            .v5,
            "E0 01 8C",
            .disconnect(Disconnect(reasonCode: .badAuthenticationMethod))
        ),
        packet(
            "DISCONNECT carries each of its properties",
            .v5,
            "E0 16 00 14 11 00 00 00 FF 1C 00 01 'o' 1F 00 01 'w' 26 00 01 'k' 00 01 'v'",
            .disconnect(
                Disconnect(
                    properties: Properties([
                        .number(.sessionExpiryInterval, 255), .text(.serverReference, "o"),
                        .text(.reasonString, "w"), .user("k", "v"),
                    ])
                )
            )
        ),
        refused("[MQTT-3.14.1-1] DISCONNECT has its reserved flags", .v5, "E1 00"),
        refused("[MQTT-3.14.2-1] the reason code is one of DISCONNECT", .v5, "E0 01 01"),
        refused("[MQTT-3.14.2-1] the reason code is one of DISCONNECT", .v5, "E0 01 92"),
        refused("the properties end within DISCONNECT", .v5, "E0 02 00 05"),
        refused("nothing follows the properties", .v5, "E0 03 00 00 00"),
        refused("DISCONNECT has no authentication method", .v5, "E0 06 00 04 15 00 01 'm'"),
    ]

    static let auth: [PacketCase] = [
        packet("AUTH may be two bytes when all is well", .v5, "F0 00", .auth(Auth(reasonCode: .success))),
        packet(
            "authentication goes on",
            .v5,
            "F0 0A 18 08 15 00 01 'm' 16 00 01 FF",
            .auth(
                Auth(
                    reasonCode: .continueAuthentication,
                    properties: Properties([.text(.authenticationMethod, "m"), .data(.authenticationData, [0xFF])])
                )
            )
        ),
        packet(
            "AUTH carries each of its properties",
            .v5,
            "F0 14 19 12 15 00 01 'm' 16 00 00 1F 00 01 'w' 26 00 01 'k' 00 01 'v'",
            .auth(
                Auth(
                    reasonCode: .reAuthenticate,
                    properties: Properties([
                        .text(.authenticationMethod, "m"), .data(.authenticationData, []), .text(.reasonString, "w"),
                        .user("k", "v"),
                    ])
                )
            )
        ),
        packet(
            "success names its method",
            .v5,
            "F0 06 00 04 15 00 01 'm'",
            .auth(Auth(reasonCode: .success, properties: Properties([.text(.authenticationMethod, "m")])))
        ),
        refused("AUTH does not exist before 5.0", .v3_1, "F0 00"),
        refused("AUTH does not exist before 5.0", .v3_1_1, "F0 00"),
        refused("[MQTT-3.15.1-1] AUTH has its reserved flags", .v5, "F1 00"),
        refused("[MQTT-3.15.2-1] the reason code is one of AUTH", .v5, "F0 06 01 04 15 00 01 'm'"),
        refused("a reason code other than success brings a property length", .v5, "F0 01 18"),
        refused("AUTH names its method", .v5, "F0 02 18 00", .protocolError),
        refused("AUTH names its method", .v5, "F0 06 18 04 16 00 01 FF", .protocolError),
        refused(
            "the authentication method stands once",
            .v5,
            "F0 0A 18 08 15 00 01 'm' 15 00 01 'm'",
            .protocolError
        ),
        refused("nothing follows the properties", .v5, "F0 07 18 04 15 00 01 'm' 00"),
    ]

    static let headers: [PacketCase] = ProtocolVersion.allCases.flatMap { version in
        [
            refused("[MQTT-4.13.1-1] packet type 0 is reserved", version, "00 00"),
            refused("packet type 0 is reserved, whatever its flags", version, "0F 00"),
            refused("[MQTT-2.1.3-1] CONNECT has its reserved flags", version, "11 00"),
            refused("[MQTT-2.1.3-1] CONNACK has its reserved flags", version, "24 02 00 00"),
            refused("a remaining length has at most four bytes", version, "30 FF FF FF FF"),
            refused("a remaining length has at most four bytes", version, "C0 80 80 80 80 00"),
            refused("[MQTT-1.5.5-1] a remaining length has no byte too many", version, "C0 80 00"),
            refused("[MQTT-1.5.5-1] a remaining length has no byte too many", version, "C0 80 80 00"),
            refused("[MQTT-1.5.5-1] a remaining length has no byte too many", version, "C0 80 80 80 00"),
            refused("a request of HTTP is no packet", version, "'GET' 20 '/' 20 'HTTP/1.1' 0D 0A 0D 0A"),
        ]
    }
}

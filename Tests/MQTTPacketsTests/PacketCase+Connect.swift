import MQTTPackets
import NIOCore

extension PacketCase {
    static let connect: [PacketCase] = [
        packet(
            "a client connects with MQIsdp at level 3",
            .v3_1,
            "10 0F 00 06 'MQIsdp' 03 02 00 3C 00 01 'a'",
            .connect(Connect(version: .v3_1, clientID: "a"))
        ),
        packet(
            "[MQTT-3.1.3-1] all fields of the payload stand in order",
            .v3_1,
            "10 1C 00 06 'MQIsdp' 03 F4 00 0A 00 01 'a' 00 01 't' 00 02 'no' 00 01 'u' 00 01 'p'",
            .connect(full(version: .v3_1))
        ),
        accepted(
            "3.1 lets a flagged user name be missing",
            .v3_1,
            "10 0F 00 06 'MQIsdp' 03 82 00 3C 00 01 'a'",
            .connect(Connect(version: .v3_1, clientID: "a"))
        ),
        accepted(
            "3.1 lets a flagged password be missing",
            .v3_1,
            "10 12 00 06 'MQIsdp' 03 C2 00 3C 00 01 'a' 00 01 'u'",
            .connect(Connect(version: .v3_1, clientID: "a", userName: "u"))
        ),
        accepted(
            "3.1 disregards will QoS and will retain without a will",
            .v3_1,
            "10 0F 00 06 'MQIsdp' 03 3A 00 3C 00 01 'a'",
            .connect(Connect(version: .v3_1, clientID: "a"))
        ),
        packet(
            "a client connects with MQTT at level 4",
            .v3_1_1,
            "10 0D 00 04 'MQTT' 04 02 00 3C 00 01 'a'",
            .connect(Connect(version: .v3_1_1, clientID: "a"))
        ),
        packet(
            "[MQTT-3.1.3-1] all fields of the payload stand in order",
            .v3_1_1,
            "10 1A 00 04 'MQTT' 04 F4 00 0A 00 01 'a' 00 01 't' 00 02 'no' 00 01 'u' 00 01 'p'",
            .connect(full(version: .v3_1_1))
        ),
        packet(
            "[MQTT-3.1.3-6] the client identifier may be empty",
            .v3_1_1,
            "10 0C 00 04 'MQTT' 04 02 00 00 00 00",
            .connect(Connect(version: .v3_1_1, clientID: "", keepAlive: 0))
        ),
        packet(
            "user name, password and will payload may be empty",
            .v3_1_1,
            "10 16 00 04 'MQTT' 04 C6 FF FF 00 01 'a' 00 01 't' 00 00 00 00 00 00",
            .connect(
                Connect(
                    version: .v3_1_1,
                    clientID: "a",
                    keepAlive: 65_535,
                    will: Will(topic: "t", payload: ByteBuffer()),
                    userName: "",
                    password: ByteBuffer()
                )
            )
        ),
        packet(
            "[MQTT-1.5.4-3] EF BB BF is U+FEFF and is kept",
            .v3_1_1,
            "10 10 00 04 'MQTT' 04 02 00 3C 00 04 EF BB BF 61",
            .connect(Connect(version: .v3_1_1, clientID: "\u{FEFF}a"))
        ),
        packet(
            "a client connects with MQTT at level 5",
            .v5,
            "10 0E 00 04 'MQTT' 05 02 00 3C 00 00 01 'a'",
            .connect(Connect(version: .v5, clientID: "a"))
        ),
        packet(
            "[MQTT-3.1.3-1] all fields of the payload stand in order",
            .v5,
            "10 1C 00 04 'MQTT' 05 F4 00 0A 00 00 01 'a' 00 00 01 't' 00 02 'no' 00 01 'u' 00 01 'p'",
            .connect(full(version: .v5))
        ),
        packet(
            "CONNECT carries each of its properties",
            .v5,
            """
            10 32 00 04 'MQTT' 05 02 00 3C 24 11 00 00 0E 10 15 00 01 'm' 16 00 02 01 02 17 00 19 01 21 00 14 22 \
            00 0A 26 00 01 'k' 00 01 'v' 27 00 00 10 00 00 01 'a'
            """,
            .connect(Connect(version: .v5, clientID: "a", properties: everyProperty))
        ),
        packet(
            "the will carries each of its properties",
            .v5,
            """
            10 33 00 04 'MQTT' 05 06 00 3C 00 00 01 'a' 1F 01 01 02 00 00 00 3C 03 00 01 'c' 08 00 01 'r' 09 00 01 \
            FF 18 00 00 00 1E 26 00 01 'k' 00 01 'v' 00 01 't' 00 00
            """,
            .connect(Connect(version: .v5, clientID: "a", will: willWithEveryProperty))
        ),
        packet(
            "5.0 has a password without a user name",
            .v5,
            "10 13 00 04 'MQTT' 05 42 00 3C 00 00 01 'a' 00 03 00 FF 01",
            .connect(Connect(version: .v5, clientID: "a", password: ByteBuffer(bytes: [0, 0xFF, 1])))
        ),
        packet(
            "[MQTT-3.1.3-10] the will's user properties keep their order and may repeat",
            .v5,
            """
            10 28 00 04 'MQTT' 05 06 00 3C 00 00 00 15 26 00 01 'b' 00 01 '2' 26 00 01 'a' 00 01 '1' 26 00 01 'b' \
            00 01 '2' 00 01 't' 00 00
            """,
            .connect(
                Connect(
                    version: .v5,
                    clientID: "",
                    will: Will(
                        topic: "t",
                        payload: ByteBuffer(),
                        properties: Properties([.user("b", "2"), .user("a", "1"), .user("b", "2")])
                    )
                )
            )
        ),
    ]

    private static func full(version: ProtocolVersion) -> Connect {
        Connect(
            version: version,
            clientID: "a",
            cleanStart: false,
            keepAlive: 10,
            will: Will(topic: "t", payload: ByteBuffer(string: "no"), qos: .exactlyOnce, isRetained: true),
            userName: "u",
            password: ByteBuffer(string: "p")
        )
    }

    private static let everyProperty = Properties([
        .number(.sessionExpiryInterval, 3_600), .text(.authenticationMethod, "m"),
        .data(.authenticationData, [1, 2]), .number(.requestProblemInformation, 0),
        .number(.requestResponseInformation, 1), .number(.receiveMaximum, 20), .number(.topicAliasMaximum, 10),
        .user("k", "v"), .number(.maximumPacketSize, 4_096),
    ])

    private static let willWithEveryProperty = Will(
        topic: "t",
        payload: ByteBuffer(),
        properties: Properties([
            .number(.payloadFormatIndicator, 1), .number(.messageExpiryInterval, 60), .text(.contentType, "c"),
            .text(.responseTopic, "r"), .data(.correlationData, [0xFF]), .number(.willDelayInterval, 30),
            .user("k", "v"),
        ])
    )
}

import MQTTPackets

extension PacketCase {
    static let subscribe: [PacketCase] = subscribeAccepted + subscribeRefused

    private static let subscribeAccepted: [PacketCase] = [
        packet("a filter with its QoS", .v3_1, "82 06 00 01 00 01 'a' 01", request([filter("a", .atLeastOnce)])),
        accepted(
            "3.1 sends SUBSCRIBE again with DUP",
            .v3_1,
            "8A 06 00 01 00 01 'a' 01",
            request([filter("a", .atLeastOnce)])
        ),
        packet(
            "several filters, each with its QoS",
            .v3_1_1,
            "82 12 FF FF 00 03 'a/+' 00 00 01 '#' 02 00 03 'a/+' 01",
            .subscribe(
                Subscribe(
                    packetID: 65_535,
                    filters: [filter("a/+", .atMostOnce), filter("#", .exactlyOnce), filter("a/+", .atLeastOnce)]
                )
            )
        ),
        packet("a filter with its options", .v5, "82 07 00 01 00 00 01 'a' 00", request([filter("a", .atMostOnce)])),
        packet(
            "each option has its bits",
            .v5,
            "82 13 00 01 00 00 01 'a' 04 00 01 'b' 08 00 01 'c' 10 00 01 'd' 2E",
            request([
                Subscribe.Filter("a", SubscriptionOptions(noLocal: true)),
                Subscribe.Filter("b", SubscriptionOptions(retainAsPublished: true)),
                Subscribe.Filter("c", SubscriptionOptions(retainHandling: .ifNew)),
                Subscribe.Filter(
                    "d",
                    SubscriptionOptions(
                        qos: .exactlyOnce,
                        noLocal: true,
                        retainAsPublished: true,
                        retainHandling: .never
                    )
                ),
            ])
        ),
        packet(
            "SUBSCRIBE carries each of its properties",
            .v5,
            "82 1A 00 01 13 0B FF FF FF 7F 26 00 01 'k' 00 01 'v' 26 00 01 'k' 00 01 'v' 00 01 'a' 02",
            .subscribe(
                Subscribe(
                    packetID: 1,
                    filters: [filter("a", .exactlyOnce)],
                    properties: Properties([
                        .number(.subscriptionIdentifier, 268_435_455), .user("k", "v"), .user("k", "v"),
                    ])
                )
            )
        ),
        packet(
            "a filter that breaks the rules is left for SUBACK to refuse",
            .v5,
            "82 09 00 01 00 00 03 'a+#' 00",
            request([filter("a+#", .atMostOnce)])
        ),
        packet(
            "an empty filter is left for SUBACK to refuse",
            .v3_1_1,
            "82 05 00 01 00 00 00",
            request([filter("", .atMostOnce)])
        ),
    ]

    private static let subscribeRefused: [PacketCase] = [
        refused("[MQTT-3.8.1-1] the flags of SUBSCRIBE are 0010", .v3_1, "80 06 00 01 00 01 'a' 00"),
        refused("[MQTT-3.8.1-1] the flags of SUBSCRIBE are 0010", .v3_1_1, "80 06 00 01 00 01 'a' 00"),
        refused("DUP of SUBSCRIBE is reserved from 3.1.1 on", .v3_1_1, "8A 06 00 01 00 01 'a' 00"),
        refused("[MQTT-3.8.1-1] the flags of SUBSCRIBE are 0010", .v5, "83 07 00 01 00 00 01 'a' 00"),
        refused("SUBSCRIBE is not empty", .v3_1_1, "82 00"),
        refused("SUBSCRIBE has a property length", .v5, "82 02 00 01"),
        refused("[MQTT-2.3.1-1] a packet identifier is not 0", .v3_1, "82 06 00 00 00 01 'a' 00", .protocolError),
        refused("[MQTT-2.3.1-1] a packet identifier is not 0", .v3_1_1, "82 06 00 00 00 01 'a' 00", .protocolError),
        refused("[MQTT-2.2.1-3] a packet identifier is not 0", .v5, "82 07 00 00 00 00 01 'a' 00", .protocolError),
        refused("[MQTT-3.8.3-3] SUBSCRIBE has a filter", .v3_1, "82 02 00 01", .protocolError),
        refused("[MQTT-3.8.3-3] SUBSCRIBE has a filter", .v3_1_1, "82 02 00 01", .protocolError),
        refused("[MQTT-3.8.3-2] SUBSCRIBE has a filter", .v5, "82 03 00 01 00", .protocolError),
        refused("[MQTT-3-8.3-4] QoS is never 3", .v3_1, "82 06 00 01 00 01 'a' 03"),
        refused("[MQTT-3-8.3-4] QoS is never 3", .v3_1_1, "82 06 00 01 00 01 'a' 03"),
        refused("Maximum QoS of 3 is a protocol error", .v5, "82 07 00 01 00 00 01 'a' 03", .protocolError),
        refused("[MQTT-3-8.3-4] reserved bits are 0", .v3_1_1, "82 06 00 01 00 01 'a' 40"),
        refused("[MQTT-3-8.3-4] the options of 5.0 are reserved bits", .v3_1_1, "82 06 00 01 00 01 'a' 04"),
        refused("[MQTT-3.8.3-5] reserved bits are 0", .v5, "82 07 00 01 00 00 01 'a' 40"),
        refused("[MQTT-3.8.3-5] reserved bits are 0", .v5, "82 07 00 01 00 00 01 'a' 80"),
        refused("[MQTT-3.8.3-5] reserved bits come before QoS 3", .v5, "82 07 00 01 00 00 01 'a' C3"),
        refused("Retain Handling of 3 is a protocol error", .v5, "82 07 00 01 00 00 01 'a' 30", .protocolError),
        refused("a filter has its options", .v3_1_1, "82 05 00 01 00 01 'a'"),
        refused("a filter has its options", .v5, "82 06 00 01 00 00 01 'a'"),
        refused("each filter is whole", .v3_1_1, "82 09 00 01 00 01 'a' 00 00 20 'b'"),
        refused("each filter is whole", .v5, "82 0A 00 01 00 00 01 'a' 00 00 20 'b'"),
        refused("[MQTT-3.8.3-1] a filter is well-formed UTF-8", .v3_1_1, "82 07 00 01 00 02 61 FF 00"),
        refused("[MQTT-3.8.3-1] a filter is well-formed UTF-8", .v5, "82 08 00 01 00 00 02 61 FF 00"),
        refused("[MQTT-4.7.3-2] no U+0000 in a filter", .v5, "82 08 00 01 00 00 02 61 00 00"),
        refused("a subscription identifier is not 0", .v5, "82 09 00 01 02 0B 00 00 01 'a' 00", .protocolError),
        refused(
            "a subscription identifier stands once in SUBSCRIBE",
            .v5,
            "82 0B 00 01 04 0B 01 0B 01 00 01 'a' 00",
            .protocolError
        ),
        refused(
            "a subscription identifier has at most four bytes",
            .v5,
            "82 0D 00 01 06 0B FF FF FF FF 7F 00 01 'a' 00"
        ),
        refused("SUBSCRIBE has no reason string", .v5, "82 0A 00 01 03 1F 00 00 00 01 'a' 00"),
    ]

    private static func request(_ filters: [Subscribe.Filter]) -> Packet {
        .subscribe(Subscribe(packetID: 1, filters: filters))
    }

    private static func filter(_ filter: String, _ qos: QoS) -> Subscribe.Filter {
        Subscribe.Filter(filter, SubscriptionOptions(qos: qos))
    }

    static let suback: [PacketCase] = [
        packet(
            "[MQTT-3.9.3-1] codes in the order of the filters",
            .v3_1,
            "90 05 00 01 00 02 01",
            .suback(Suback(packetID: 1, reasonCodes: [.success, .grantedQoS2, .grantedQoS1]))
        ),
        packet(
            "[MQTT-3.9.3-1] codes in the order of the filters",
            .v3_1_1,
            "90 06 00 01 02 80 00 01",
            .suback(Suback(packetID: 1, reasonCodes: [.grantedQoS2, .unspecifiedError, .success, .grantedQoS1]))
        ),
        packet(
            "[MQTT-3.9.3-1] codes in the order of the filters",
            .v5,
            "90 06 00 01 00 00 87 02",
            .suback(Suback(packetID: 1, reasonCodes: [.success, .notAuthorized, .grantedQoS2]))
        ),
        packet(
            "SUBACK carries each of its properties",
            .v5,
            "90 0F 00 01 0B 1F 00 01 'w' 26 00 01 'k' 00 01 'v' 01",
            .suback(
                Suback(
                    packetID: 1,
                    reasonCodes: [.grantedQoS1],
                    properties: Properties([.text(.reasonString, "w"), .user("k", "v")])
                )
            )
        ),
        refused("[MQTT-3.9.3-2] codes other than 0, 1, 2 and 80 are reserved", .v3_1_1, "90 03 00 01 03"),
        refused("[MQTT-3.9.3-2] codes other than 0, 1, 2 and 80 are reserved", .v3_1_1, "90 03 00 01 87"),
        refused("the reason code is one of SUBACK", .v5, "90 04 00 01 00 03"),
        refused("the reason code is one of SUBACK", .v5, "90 04 00 01 00 11"),
        refused("SUBACK has a code", .v3_1, "90 02 00 01", .protocolError),
        refused("SUBACK has a code", .v3_1_1, "90 02 00 01", .protocolError),
        refused("SUBACK has a code", .v5, "90 03 00 01 00", .protocolError),
        refused("SUBACK has no packet identifier 0", .v3_1_1, "90 03 00 00 00", .protocolError),
        refused("SUBACK has no packet identifier 0", .v5, "90 04 00 00 00 00", .protocolError),
        refused("SUBACK has its reserved flags", .v5, "92 04 00 01 00 00"),
        refused("SUBACK is not empty", .v5, "90 00"),
        refused("SUBACK of 5.0 has a property length", .v5, "90 02 00 01"),
        refused("SUBACK has no subscription identifier", .v5, "90 06 00 01 02 0B 01 00"),
    ]
}

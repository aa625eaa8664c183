import MQTTPackets

/// What a broker has said in CONNACK that it takes (MQTT 5.0, section 3.2.2.3).
package struct ServerLimits: Sendable, Hashable {
    /// Messages of QoS 1 and 2 in flight.
    package var receiveMaximum = 65_535
    package var packetBytesMax = 268_435_460
    package var maximumQoS = QoS.exactlyOnce
    package var topicAliasMaximum = 0
    package var isRetainAvailable = true
    package var areWildcardsAvailable = true
    package var areIdentifiersAvailable = true
    package var areSharedAvailable = true

    package init() {}

    package init(_ properties: Properties) {
        func isAvailable(_ identifier: PropertyIdentifier) -> Bool { properties[integer: identifier] != 0 }
        receiveMaximum = properties[integer: .receiveMaximum].map(Int.init) ?? receiveMaximum
        packetBytesMax = properties[integer: .maximumPacketSize].map { min(Int($0), packetBytesMax) } ?? packetBytesMax
        maximumQoS = properties[integer: .maximumQoS].flatMap { QoS(rawValue: UInt8($0)) } ?? maximumQoS
        topicAliasMaximum = properties[integer: .topicAliasMaximum].map(Int.init) ?? 0
        isRetainAvailable = isAvailable(.retainAvailable)
        areWildcardsAvailable = isAvailable(.wildcardSubscriptionAvailable)
        areIdentifiersAvailable = isAvailable(.subscriptionIdentifierAvailable)
        areSharedAvailable = isAvailable(.sharedSubscriptionAvailable)
    }

    /// Why a publish may not be sent; nil where it may.
    package func refusal(qos: QoS, isRetained: Bool, packetBytes: Int) -> ReasonCode? {
        if qos > maximumQoS { return .qosNotSupported }  // [MQTT-3.2.2-11]
        if isRetained && !isRetainAvailable { return .retainNotSupported }  // [MQTT-3.2.2-14]
        if packetBytes > packetBytesMax { return .packetTooLarge }  // [MQTT-3.2.2-15]
        return nil
    }
}

extension ServerLimits {
    /// The same for one that was not encoded yet.
    package func refusal(_ publish: Publish, version: ProtocolVersion, alias: UInt16) -> ReasonCode? {
        refusal(
            qos: publish.qos,
            isRetained: publish.isRetained,
            packetBytes: PacketEncoder(version: version).packetBytes(publish, alias: alias)
        )
    }
}

import MQTTPackets
import NIOCore

/// Packets as clients send them.
enum Samples {
    static let topic = "plant/line-3/press-12/temperature"
    static let payload = ByteBuffer(repeating: 0x2A, count: 64)

    static var publish: Publish { Publish(topic: topic, payload: payload) }

    static var publishWithProperties: Publish {
        var properties = Properties()
        properties[integer: .payloadFormatIndicator] = 1
        properties[integer: .messageExpiryInterval] = 3_600
        properties[string: .contentType] = "application/json"
        properties[string: .responseTopic] = "plant/line-3/answers"
        properties[binary: .correlationData] = ByteBuffer(repeating: 0x17, count: 16)
        properties.appendUserProperty("unit", "celsius")
        return Publish(topic: topic, payload: payload, qos: .atLeastOnce, packetID: 7, properties: properties)
    }

    static var connect: Connect {
        var connect = Connect(version: .v5, clientID: "press-12", userName: "press", password: payload)
        connect.will = Will(topic: "plant/line-3/press-12/state", payload: ByteBuffer(string: "gone"), isRetained: true)
        connect.properties[integer: .sessionExpiryInterval] = 300
        connect.properties[integer: .receiveMaximum] = 50
        return connect
    }

    static var subscribe: Subscribe {
        Subscribe(
            packetID: 7,
            filters: [
                Subscribe.Filter("plant/line-3/+/temperature", SubscriptionOptions(qos: .atLeastOnce)),
                Subscribe.Filter("plant/line-3/press-12/state", SubscriptionOptions(qos: .exactlyOnce)),
                Subscribe.Filter("alarms/#"),
            ]
        )
    }
}

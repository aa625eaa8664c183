import NIOCore

extension Message {
    /// A message of this end, laid out for keeping.
    package convenience init(_ publish: Publish, publisher: String? = nil, expiresAt: Int64 = .max, seed: UInt64 = 0) {
        var properties = ByteBuffer()
        publish.properties.encode(into: &properties)
        self.init(publish, properties: properties, publisher: publisher, expiresAt: expiresAt, seed: seed)
    }
}

extension Message {
    /// The properties of its PUBLISH (MQTT 5.0, section 3.3.2.3), without topic alias, subscription identifiers and expiry
    /// interval.
    public var properties: Properties { Publish(self).properties }
}

extension Publish {
    /// The message as a packet. The properties were checked when the message was made.
    package init(_ message: Message) {
        let bytes = message.bytes
        self.init(
            topic: message.topic,
            payload: message.payload,
            qos: message.qos,
            isRetained: message.isRetained,
            properties: (try? Properties(decoding: bytes.span, message.view.properties, in: .publish))
                ?? Properties()
        )
    }
}

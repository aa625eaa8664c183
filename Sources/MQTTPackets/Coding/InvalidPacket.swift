import NIOCore

/// Why what an application wants to send is no packet. The encoder takes for granted that this was asked.
package struct InvalidPacket: Error, Hashable {
    package let explanation: String

    package init(_ explanation: String) { self.explanation = explanation }

    private static let bytesMax = 65_535
    private static let remainingBytesMax = 268_435_455

    fileprivate static func check(_ text: String?, _ what: String) throws(InvalidPacket) {
        guard let text else { return }
        guard text.utf8.count <= bytesMax else { throw InvalidPacket("\(what) has more than \(bytesMax) bytes") }
        guard !text.utf8.contains(0) else { throw InvalidPacket("\(what) has U+0000 in it") }  // [MQTT-1.5.4-2]
    }

    fileprivate static func check(_ data: ByteBuffer?, _ what: String) throws(InvalidPacket) {
        guard data?.readableBytes ?? 0 <= bytesMax else {
            throw InvalidPacket("\(what) has more than \(bytesMax) bytes")
        }
    }

    fileprivate static func check(_ properties: Properties, in place: PropertyPlace) throws(InvalidPacket) {
        for property in properties.elements where !property.identifier.isAllowed(in: place) {
            throw InvalidPacket("\(property.identifier) has no place in \(place)")
        }
        if let topic = properties[string: .responseTopic], !Topics.isValidName(topic) {
            throw InvalidPacket("the response topic is no topic name")  // [MQTT-3.3.2-14]
        }
    }

    fileprivate static func check(packetBytes: Int) throws(InvalidPacket) {
        guard packetBytes <= remainingBytesMax else { throw InvalidPacket("a packet has at most 256 MiB") }
    }
}

extension Publish {
    /// Throws where the message cannot be encoded.
    package func check() throws(InvalidPacket) {
        guard Topics.isValidName(topic) else {
            throw InvalidPacket("a topic name has 1 to 65,535 bytes, without +, # and U+0000: \(topic.prefix(100))")
        }
        if !properties.isEmpty {
            try InvalidPacket.check(properties, in: .publish)
            if properties[integer: .topicAlias] != nil { throw InvalidPacket("topic aliases are given by the client") }
            if properties[integer: .subscriptionIdentifier] != nil {
                throw InvalidPacket("a client's PUBLISH has no subscription identifier")  // [MQTT-3.3.4-6]
            }
        }
        try InvalidPacket.check(
            packetBytes: payload.readableBytes + topic.utf8.count + properties.encodedBytes + 16
        )
    }
}

extension Connect {
    /// Throws where the packet cannot be encoded, or where the version does not have what it asks for.
    package func check() throws(InvalidPacket) {
        try InvalidPacket.check(clientID, "the client identifier")
        try InvalidPacket.check(userName, "the user name")
        try InvalidPacket.check(password, "the password")
        try InvalidPacket.check(properties, in: .connect)
        if version < .v5 {
            if password != nil && userName == nil {
                throw InvalidPacket("a password without a user name needs MQTT 5.0")  // [MQTT-3.1.2-22]
            }
            if clientID.isEmpty && (!cleanStart || version == .v3_1) {
                throw InvalidPacket("\(version) needs a client identifier here")  // [MQTT-3.1.3-7]
            }
        }
        guard let will else { return }
        guard Topics.isValidName(will.topic) else { throw InvalidPacket("the will's topic is no topic name") }
        try InvalidPacket.check(will.payload, "the will's payload")
        try InvalidPacket.check(will.properties, in: .will)
    }
}

extension Disconnect {
    /// Throws where a client cannot send it.
    package func check() throws(InvalidPacket) {
        try InvalidPacket.check(properties, in: .disconnect)
        if properties[string: .serverReference] != nil { throw InvalidPacket("a client refers to no server") }
    }
}

extension Subscribe.Filter {
    /// Throws where the filter is none, or asks for what is not allowed with it.
    package func check() throws(InvalidPacket) {
        guard let parsed = ParsedFilter(filter) else {
            throw InvalidPacket("not a topic filter: \(filter.prefix(100))")
        }
        if parsed.group != nil && options.noLocal {
            throw InvalidPacket("a shared subscription cannot have No Local")  // [MQTT-3.8.3-4]
        }
    }
}

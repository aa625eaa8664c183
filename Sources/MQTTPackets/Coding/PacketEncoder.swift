import NIOCore

/// Packets to bytes, for either end. Strings and binary data beyond 65,535 bytes are the caller's error.
package struct PacketEncoder: Sendable {
    package var version: ProtocolVersion

    package init(version: ProtocolVersion) { self.version = version }

    package func encode(_ packet: Packet, into buffer: inout ByteBuffer) {
        let kind = packet.kind
        switch packet {
        case .connect(let connect): write(kind, into: &buffer) { body(connect, &$0) }
        case .connack(let connack): write(kind, into: &buffer) { body(connack, &$0) }
        case .publish(let publish): encode(publish, into: &buffer)
        case .puback(let answer), .pubrec(let answer), .pubrel(let answer), .pubcomp(let answer):
            write(kind, into: &buffer) { body(answer, &$0) }
        case .subscribe(let subscribe): write(kind, into: &buffer) { body(subscribe, &$0) }
        case .suback(let suback): write(kind, into: &buffer) { body(suback, &$0) }
        case .unsubscribe(let unsubscribe): write(kind, into: &buffer) { body(unsubscribe, &$0) }
        case .unsuback(let unsuback): write(kind, into: &buffer) { body(unsuback, &$0) }
        case .pingreq, .pingresp: write(kind, into: &buffer) { _ in }
        case .disconnect(let disconnect):
            write(kind, into: &buffer) { body(disconnect.reasonCode, disconnect.properties, &$0) }
        case .auth(let auth): write(kind, into: &buffer) { body(auth, &$0) }
        }
    }

    package func encode(_ packet: Packet) -> ByteBuffer {
        var buffer = ByteBuffer()
        encode(packet, into: &buffer)
        return buffer
    }

    private func write(_ kind: PacketKind, into buffer: inout ByteBuffer, _ writeBody: (inout ByteBuffer) -> Void) {
        var body = ByteBuffer()
        writeBody(&body)
        buffer.writeInteger(kind.rawValue << 4 | kind.reservedFlags)
        PrimitiveCoding.writeVariable(body.readableBytes, into: &buffer)
        buffer.writeImmutableBuffer(body)
    }

    /// How many bytes the PUBLISH has.
    package func packetBytes(_ publish: Publish, alias: UInt16 = 0, includesTopic: Bool = true) -> Int {
        let remaining = remainingBytes(
            publish,
            propertyBytes: propertyBytes(publish, alias),
            includesTopic: includesTopic
        )
        return 1 + PrimitiveCoding.variableBytes(remaining) + remaining
    }

    /// An alias of 0 is none; it stands for the topic where the topic is not included.
    package func encode(
        _ publish: Publish,
        alias: UInt16 = 0,
        includesTopic: Bool = true,
        into buffer: inout ByteBuffer
    ) {
        let isDuplicate = publish.isDuplicate && publish.qos != .atMostOnce  // [MQTT-3.3.1-2]
        let flags: UInt8 =
            (isDuplicate ? 8 : 0) | publish.qos.rawValue << 1 | (publish.isRetained ? 1 : 0)
        let propertyBytes = propertyBytes(publish, alias)
        let remaining = remainingBytes(publish, propertyBytes: propertyBytes, includesTopic: includesTopic)
        let topicBytes = includesTopic ? publish.topic.utf8.count : 0
        precondition(topicBytes <= 65_535, "a string has at most 65,535 bytes")
        precondition(
            publish.qos == .atMostOnce || publish.packetID ?? 0 > 0,
            "a PUBLISH at QoS 1 or 2 has a packet identifier"
        )
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 5 + remaining - publish.payload.readableBytes) {
            target in
            var writer = RawWriter(target)
            writer.integer(PacketKind.publish.rawValue << 4 | flags)
            writer.variable(remaining)
            writer.integer(UInt16(topicBytes))
            if includesTopic { writer.copy(publish.topic) }
            if publish.qos != .atMostOnce { writer.integer(publish.packetID ?? 0) }
            if version == .v5 {
                writer.variable(propertyBytes)
                if alias != 0 {
                    writer.integer(PropertyIdentifier.topicAlias.rawValue)
                    writer.integer(alias)
                }
            }
            return writer.count
        }
        if version == .v5 { publish.properties.encode(into: &buffer) }
        buffer.writeImmutableBuffer(publish.payload)
    }

    private func propertyBytes(_ publish: Publish, _ alias: UInt16) -> Int {
        publish.properties.encodedBytes + (alias == 0 ? 0 : 3)
    }

    private func remainingBytes(_ publish: Publish, propertyBytes: Int, includesTopic: Bool) -> Int {
        2 + (includesTopic ? publish.topic.utf8.count : 0) + (publish.qos == .atMostOnce ? 0 : 2)
            + (version == .v5 ? PrimitiveCoding.variableBytes(propertyBytes) + propertyBytes : 0)
            + publish.payload.readableBytes
    }

    private func properties(_ properties: Properties, _ buffer: inout ByteBuffer) {
        guard version == .v5 else { return }
        PrimitiveCoding.writeVariable(properties.encodedBytes, into: &buffer)
        properties.encode(into: &buffer)
    }

    private func body(_ connect: Connect, _ buffer: inout ByteBuffer) {
        PrimitiveCoding.write(connect.version.protocolName, into: &buffer)
        buffer.writeInteger(connect.version.rawValue)
        var flags: UInt8 = connect.cleanStart ? 2 : 0
        if let will = connect.will { flags |= 4 | will.qos.rawValue << 3 | (will.isRetained ? 0x20 : 0) }
        if connect.userName != nil { flags |= 0x80 }
        if connect.password != nil { flags |= 0x40 }
        buffer.writeInteger(flags)
        buffer.writeInteger(connect.keepAlive)
        let encoder = PacketEncoder(version: connect.version)
        encoder.properties(connect.properties, &buffer)
        PrimitiveCoding.write(connect.clientID, into: &buffer)
        if let will = connect.will {
            encoder.properties(will.properties, &buffer)
            PrimitiveCoding.write(will.topic, into: &buffer)
            PrimitiveCoding.write(will.payload, into: &buffer)
        }
        if let userName = connect.userName { PrimitiveCoding.write(userName, into: &buffer) }
        if let password = connect.password { PrimitiveCoding.write(password, into: &buffer) }
    }

    private func body(_ connack: Connack, _ buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt8(connack.sessionPresent && version > .v3_1 ? 1 : 0))
        buffer.writeInteger(version == .v5 ? connack.reasonCode.rawValue : connack.reasonCode.connackReturnCode)
        properties(connack.properties, &buffer)
    }

    private func body(_ answer: Acknowledgement, _ buffer: inout ByteBuffer) {
        buffer.writeInteger(answer.packetID)
        body(answer.reasonCode, answer.properties, &buffer)
    }

    /// A reason code and properties, each left out where the specification has a default for it.
    private func body(_ reasonCode: ReasonCode, _ packetProperties: Properties, _ buffer: inout ByteBuffer) {
        guard version == .v5, reasonCode != .success || !packetProperties.isEmpty else { return }
        buffer.writeInteger(reasonCode.rawValue)
        if !packetProperties.isEmpty { properties(packetProperties, &buffer) }
    }

    /// Unlike the others AUTH leaves out both or neither (section 3.15.2.1).
    private func body(_ auth: Auth, _ buffer: inout ByteBuffer) {
        guard auth.reasonCode != .success || !auth.properties.isEmpty else { return }
        buffer.writeInteger(auth.reasonCode.rawValue)
        properties(auth.properties, &buffer)
    }

    private func body(_ subscribe: Subscribe, _ buffer: inout ByteBuffer) {
        buffer.writeInteger(subscribe.packetID)
        properties(subscribe.properties, &buffer)
        for filter in subscribe.filters {
            PrimitiveCoding.write(filter.filter, into: &buffer)
            buffer.writeInteger(version == .v5 ? filter.options.byte : filter.options.qos.rawValue)
        }
    }

    private func body(_ suback: Suback, _ buffer: inout ByteBuffer) {
        buffer.writeInteger(suback.packetID)
        properties(suback.properties, &buffer)
        for code in suback.reasonCodes {
            buffer.writeInteger(version == .v5 || !code.isError ? code.rawValue : 0x80)  // [MQTT-3.9.3-2]
        }
    }

    private func body(_ unsubscribe: Unsubscribe, _ buffer: inout ByteBuffer) {
        buffer.writeInteger(unsubscribe.packetID)
        properties(unsubscribe.properties, &buffer)
        for filter in unsubscribe.filters { PrimitiveCoding.write(filter, into: &buffer) }
    }

    private func body(_ unsuback: Unsuback, _ buffer: inout ByteBuffer) {
        buffer.writeInteger(unsuback.packetID)
        guard version == .v5 else { return }
        properties(unsuback.properties, &buffer)
        for code in unsuback.reasonCodes { buffer.writeInteger(code.rawValue) }
    }
}

extension PacketCursor {
    mutating func connect(_ bytes: Span<UInt8>) throws(DecodingError) -> Connect {
        let version = try protocolVersion(bytes)
        let flags = try byte(bytes)
        if flags & 1 != 0 { throw .malformed("reserved CONNECT flag") }  // [MQTT-3.1.2-3]
        let keepAlive = try twoBytes(bytes)
        var connect = Connect(version: version, clientID: "", cleanStart: flags & 2 != 0, keepAlive: keepAlive)
        if version == .v5 {
            connect.properties = try properties(bytes, in: .connect)
            if connect.properties[binary: .authenticationData] != nil
                && connect.properties[string: .authenticationMethod] == nil
            {
                throw .protocolError("authentication data without a method")
            }
        }
        connect.clientID = try string(bytes)
        connect.will = try will(bytes, flags: flags, version: version)
        // In 3.1 the remaining length takes precedence over the flags of user name and password.
        let mayBeMissing = version == .v3_1
        if flags & 0x80 != 0 && !(mayBeMissing && remaining == 0) { connect.userName = try string(bytes) }
        if flags & 0x40 != 0 {
            // Only 5.0 has a password alone [MQTT-3.1.2-22].
            if flags & 0x80 == 0 && version < .v5 { throw .malformed("password without user name") }
            if !(mayBeMissing && remaining == 0) { connect.password = try binary(bytes) }
        }
        return connect
    }

    private mutating func protocolVersion(_ bytes: Span<UInt8>) throws(DecodingError) -> ProtocolVersion {
        let name = try string(bytes)
        guard name == "MQTT" || name == "MQIsdp" else { throw .malformed("protocol name") }  // [MQTT-3.1.2-1]
        let level = try byte(bytes)
        guard let version = ProtocolVersion(rawValue: level), version.protocolName == name else {
            throw DecodingError(.unsupportedProtocolVersion, "protocol \(name) at level \(level)")  // [MQTT-3.1.2-2]
        }
        return version
    }

    private mutating func will(
        _ bytes: Span<UInt8>,
        flags: UInt8,
        version: ProtocolVersion
    ) throws(DecodingError) -> Will? {
        guard flags & 4 != 0 else {
            // [MQTT-3.1.2-11] [MQTT-3.1.2-13]; 3.1 disregards them.
            if flags & 0x38 != 0 && version > .v3_1 { throw .malformed("will QoS or will retain without a will") }
            return nil
        }
        guard let qos = QoS(rawValue: flags >> 3 & 3) else { throw .malformed("will QoS 3") }  // [MQTT-3.1.2-12]
        let properties = version == .v5 ? try properties(bytes, in: .will) : Properties()
        let topic = try utf8(bytes)
        guard Topics.isValidName(bytes.extracting(topic)) else { throw .malformed("will topic") }
        return Will(
            topic: bytes.string(in: topic),
            payload: try binary(bytes),
            qos: qos,
            isRetained: flags & 0x20 != 0,
            properties: properties
        )
    }

    mutating func connack(_ bytes: Span<UInt8>, _ version: ProtocolVersion) throws(DecodingError) -> Connack {
        let flags = try byte(bytes)
        if flags & 0xFE != 0 && version > .v3_1 { throw .malformed("reserved CONNACK flags") }  // [MQTT-3.2.2-1]
        let sessionPresent = flags & 1 != 0 && version > .v3_1
        let code = try byte(bytes)
        // A server that does not speak 5.0 refuses in its own form, which is shorter than any of 5.0.
        let isOlder = version < .v5 || (remaining == 0 && (1...5).contains(code))
        guard !isOlder else {
            guard let reason = ReasonCode(connackReturnCode: code) else { throw .malformed("CONNACK return code") }
            return Connack(sessionPresent: sessionPresent, reasonCode: reason)
        }
        let reason = ReasonCode(rawValue: code)
        guard reason.isAllowed(in: .connack) else { throw .malformed("CONNACK reason code") }
        return Connack(
            sessionPresent: sessionPresent,
            reasonCode: reason,
            properties: try properties(bytes, in: .connack)
        )
    }

    mutating func disconnect(_ bytes: Span<UInt8>, _ version: ProtocolVersion) throws(DecodingError) -> Disconnect {
        guard version == .v5, remaining > 0 else { return Disconnect() }
        let reason = ReasonCode(rawValue: try byte(bytes))
        guard reason.isAllowed(in: .disconnect) else { throw .malformed("DISCONNECT reason code") }
        guard remaining > 0 else { return Disconnect(reasonCode: reason) }
        return Disconnect(reasonCode: reason, properties: try properties(bytes, in: .disconnect))
    }

    mutating func auth(_ bytes: Span<UInt8>) throws(DecodingError) -> Auth {
        guard remaining > 0 else { return Auth(reasonCode: .success) }
        let reason = ReasonCode(rawValue: try byte(bytes))
        guard reason.isAllowed(in: .auth) else { throw .malformed("AUTH reason code") }
        let properties = try properties(bytes, in: .auth)
        if properties[string: .authenticationMethod] == nil {
            throw .protocolError("AUTH without a method")  // section 3.15.2.2.2
        }
        return Auth(reasonCode: reason, properties: properties)
    }
}

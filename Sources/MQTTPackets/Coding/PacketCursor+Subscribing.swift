extension PacketCursor {
    mutating func acknowledgement(
        _ bytes: Span<UInt8>,
        _ version: ProtocolVersion,
        _ kind: PacketKind,
        _ place: PropertyPlace
    ) throws(DecodingError) -> Acknowledgement {
        var acknowledgement = Acknowledgement(packetID: try packetID(bytes))
        guard version == .v5, remaining > 0 else { return acknowledgement }
        acknowledgement.reasonCode = ReasonCode(rawValue: try byte(bytes))
        guard acknowledgement.reasonCode.isAllowed(in: kind) else { throw .malformed("\(kind) reason code") }
        if remaining > 0 { acknowledgement.properties = try properties(bytes, in: place) }
        return acknowledgement
    }

    mutating func subscribe(
        _ bytes: Span<UInt8>,
        _ version: ProtocolVersion,
        filtersMax: Int
    ) throws(DecodingError) -> Subscribe {
        var subscribe = Subscribe(packetID: try packetID(bytes), filters: [])
        if version == .v5 { subscribe.properties = try properties(bytes, in: .subscribe) }
        while remaining > 0 {
            guard subscribe.filters.count < filtersMax else { throw .tooManyFilters(filtersMax) }
            let filter = try string(bytes)
            subscribe.filters.append(Subscribe.Filter(filter, try subscriptionOptions(bytes, version)))
        }
        if subscribe.filters.isEmpty { throw .protocolError("SUBSCRIBE without a filter") }  // [MQTT-3.8.3-2]
        return subscribe
    }

    private mutating func subscriptionOptions(
        _ bytes: Span<UInt8>,
        _ version: ProtocolVersion
    ) throws(DecodingError) -> SubscriptionOptions {
        let byte = try byte(bytes)
        if let options = SubscriptionOptions(byte: byte, version: version) { return options }
        // 5.0 tells reserved bits [MQTT-3.8.3-5] from QoS 3 and Retain Handling 3, which are protocol errors.
        if version == .v5 && byte & 0xC0 == 0 { throw .protocolError("QoS 3 or Retain Handling 3") }
        throw .malformed("subscription options")
    }

    mutating func suback(_ bytes: Span<UInt8>, _ version: ProtocolVersion) throws(DecodingError) -> Suback {
        var suback = Suback(packetID: try packetID(bytes), reasonCodes: [])
        if version == .v5 { suback.properties = try properties(bytes, in: .suback) }
        while remaining > 0 {
            let reason = ReasonCode(rawValue: try byte(bytes))
            let isAllowed =
                version == .v5 ? reason.isAllowed(in: .suback) : reason.rawValue <= 2 || reason.rawValue == 0x80
            guard isAllowed else { throw .malformed("SUBACK reason code") }  // [MQTT-3.9.3-2]
            suback.reasonCodes.append(reason)
        }
        if suback.reasonCodes.isEmpty { throw .protocolError("SUBACK without a code") }
        return suback
    }

    mutating func unsubscribe(
        _ bytes: Span<UInt8>,
        _ version: ProtocolVersion,
        filtersMax: Int
    ) throws(DecodingError) -> Unsubscribe {
        var unsubscribe = Unsubscribe(packetID: try packetID(bytes), filters: [])
        if version == .v5 { unsubscribe.properties = try properties(bytes, in: .unsubscribe) }
        while remaining > 0 {
            guard unsubscribe.filters.count < filtersMax else { throw .tooManyFilters(filtersMax) }
            unsubscribe.filters.append(try string(bytes))
        }
        if unsubscribe.filters.isEmpty { throw .protocolError("UNSUBSCRIBE without a filter") }  // [MQTT-3.10.3-2]
        return unsubscribe
    }

    mutating func unsuback(_ bytes: Span<UInt8>, _ version: ProtocolVersion) throws(DecodingError) -> Unsuback {
        var unsuback = Unsuback(packetID: try packetID(bytes))
        guard version == .v5 else { return unsuback }
        unsuback.properties = try properties(bytes, in: .unsuback)
        while remaining > 0 {
            let reason = ReasonCode(rawValue: try byte(bytes))
            guard reason.isAllowed(in: .unsuback) else { throw .malformed("UNSUBACK reason code") }
            unsuback.reasonCodes.append(reason)
        }
        if unsuback.reasonCodes.isEmpty { throw .protocolError("UNSUBACK without a code") }
        return unsuback
    }

    private mutating func packetID(_ bytes: Span<UInt8>) throws(DecodingError) -> UInt16 {
        let packetID = try twoBytes(bytes)
        if packetID == 0 { throw .protocolError("packet identifier 0") }
        return packetID
    }
}

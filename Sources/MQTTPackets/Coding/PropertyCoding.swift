import NIOCore

/// A property as it stands on the wire: where it begins, where its value is, where it ends.
package struct ScannedProperty: Sendable {
    package let identifier: PropertyIdentifier
    package let whole: Range<Int>
    /// The value of a number; 0 for the others.
    package let integer: UInt32
    /// The bytes of a string or of binary data, or of a pair's first string.
    package let first: Range<Int>
    /// The bytes of a pair's second string.
    package let second: Range<Int>
}

extension PacketCursor {
    /// Reads the property length and gives the range of the properties.
    package mutating func propertyRange(_ bytes: Span<UInt8>) throws(DecodingError) -> Range<Int> {
        try skip(Int(try variable(bytes)))
    }

    /// Reads and checks one property. `seen` has a bit for each identifier that stood before.
    package mutating func property(
        _ bytes: Span<UInt8>,
        in place: PropertyPlace,
        seen: inout UInt64
    ) throws(DecodingError) -> ScannedProperty {
        let start = at
        guard let identifier = PropertyIdentifier(rawValue: try byte(bytes)) else {
            throw .malformed("unknown property")
        }
        guard identifier.isAllowed(in: place) else { throw .malformed("\(identifier) in \(place)") }
        let bit: UInt64 = 1 << UInt64(identifier.rawValue)
        if seen & bit != 0 && !identifier.mayRepeat(in: place) { throw .protocolError("\(identifier) twice") }
        seen |= bit
        var integer: UInt32 = 0
        var first = at..<at
        var second = at..<at
        switch identifier.form {
        case .byte: integer = UInt32(try byte(bytes))
        case .twoBytes: integer = UInt32(try twoBytes(bytes))
        case .fourBytes: integer = try fourBytes(bytes)
        case .variable: integer = try variable(bytes)
        case .string: first = try utf8(bytes)
        case .binary: first = try prefixed(bytes)
        case .pair:
            first = try utf8(bytes)
            second = try utf8(bytes)
        }
        try identifier.check(integer)
        if identifier == .responseTopic && !Topics.isValidName(bytes.extracting(first)) {
            throw .protocolError("response topic with wildcards")  // [MQTT-3.3.2-14]
        }
        return ScannedProperty(
            identifier: identifier,
            whole: start..<at,
            integer: integer,
            first: first,
            second: second
        )
    }

    /// Reads the property length and all properties.
    mutating func properties(
        _ bytes: Span<UInt8>,
        in place: PropertyPlace
    ) throws(DecodingError) -> Properties {
        let range = try propertyRange(bytes)
        return try Properties(decoding: bytes, range, in: place)
    }
}

extension PropertyIdentifier {
    /// Values that the specification rules out.
    fileprivate func check(_ value: UInt32) throws(DecodingError) {
        switch self {
        case .payloadFormatIndicator, .requestProblemInformation, .requestResponseInformation, .maximumQoS,
            .retainAvailable, .wildcardSubscriptionAvailable, .subscriptionIdentifierAvailable,
            .sharedSubscriptionAvailable:
            if value > 1 { throw .protocolError("\(self) is neither 0 nor 1") }
        case .receiveMaximum, .maximumPacketSize, .subscriptionIdentifier:
            if value == 0 { throw .protocolError("\(self) of 0") }
        case .topicAlias:
            if value == 0 { throw DecodingError(.topicAliasInvalid, "topic alias 0") }  // [MQTT-3.3.2-8]
        default: break
        }
    }
}

extension Properties {
    /// Properties from bytes that hold nothing else.
    package init(decoding bytes: Span<UInt8>, _ range: Range<Int>, in place: PropertyPlace) throws(DecodingError) {
        self.init()
        var cursor = PacketCursor(at: range.lowerBound, end: range.upperBound)
        var seen: UInt64 = 0
        while cursor.remaining > 0 {
            let property = try cursor.property(bytes, in: place, seen: &seen)
            switch property.identifier.form {
            case .byte, .twoBytes, .fourBytes, .variable: append(property.identifier, .integer(property.integer))
            case .string: append(property.identifier, .string(bytes.string(in: property.first)))
            case .binary: append(property.identifier, .binary(bytes.buffer(in: property.first)))
            case .pair:
                append(property.identifier, .pair(bytes.string(in: property.first), bytes.string(in: property.second)))
            }
        }
    }

    /// How many bytes the properties take, without their length field.
    package var encodedBytes: Int {
        elements.reduce(0) { $0 + $1.encodedBytes }
    }

    package func encode(into buffer: inout ByteBuffer) {
        for property in elements { property.encode(into: &buffer) }
    }
}

extension Property {
    var encodedBytes: Int {
        switch value {
        case .integer(let number):
            switch identifier.form {
            case .byte: 2
            case .twoBytes: 3
            case .fourBytes: 5
            default: 1 + PrimitiveCoding.variableBytes(Int(number))
            }
        case .string(let text): 3 + text.utf8.count
        case .binary(let data): 3 + data.readableBytes
        case .pair(let name, let value): 5 + name.utf8.count + value.utf8.count
        }
    }

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(identifier.rawValue)
        switch value {
        case .integer(let number):
            switch identifier.form {
            case .byte: buffer.writeInteger(UInt8(truncatingIfNeeded: number))
            case .twoBytes: buffer.writeInteger(UInt16(truncatingIfNeeded: number))
            case .fourBytes: buffer.writeInteger(number)
            default: PrimitiveCoding.writeVariable(Int(number), into: &buffer)
            }
        case .string(let text): PrimitiveCoding.write(text, into: &buffer)
        case .binary(let data): PrimitiveCoding.write(data, into: &buffer)
        case .pair(let name, let value):
            PrimitiveCoding.write(name, into: &buffer)
            PrimitiveCoding.write(value, into: &buffer)
        }
    }
}

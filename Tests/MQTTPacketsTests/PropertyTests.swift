import MQTTPackets
import NIOCore
import Testing

/// Every property at every place.
@Suite struct PropertyTests {
    @Test("each property stands at each of its places and is encoded there again")
    func allowed() throws {
        #expect(PropertyTable.pairs.count == 64)
        for (identifier, place) in PropertyTable.pairs {
            let bytes = PropertyTable.packet(
                place,
                PropertyTable.company(identifier, in: place) + PropertyTable.sample(identifier)
            )
            let packet = try #require(try decodeOne(bytes, .v5))
            let properties = PropertyTable.properties(of: packet, at: place)
            #expect(properties?.first(identifier) == PropertyTable.value(identifier), "\(identifier) in \(place)")
            #expect(hex(encodeOne(packet, .v5)) == hex(bytes))
        }
    }

    @Test("[MQTT-4.13.1-1] a property at any other place is malformed")
    func misplaced() {
        for identifier in PropertyIdentifier.allCases {
            for place in PropertyTable.places where PropertyTable.allowed[identifier]?.contains(place) != true {
                let bytes = PropertyTable.packet(
                    place,
                    PropertyTable.company(nil, in: place) + PropertyTable.sample(identifier)
                )
                #expect(reasonCode(of: bytes, .v5) == .malformedPacket, "\(identifier) in \(place)")
            }
        }
    }

    @Test("a property that stands twice is a protocol error, but for those that may")
    func twice() throws {
        for (identifier, place) in PropertyTable.pairs {
            let sample = PropertyTable.sample(identifier)
            let company = PropertyTable.company(identifier, in: place)
            // Apart or side by side, and with another value the second time.
            var other = sample
            if identifier.form != .byte { other[other.count - 1] = 2 }
            for bytes in [company + sample + sample, sample + company + PropertyTable.sample(.userProperty) + other] {
                let packet = PropertyTable.packet(place, bytes)
                let mayRepeat =
                    identifier == .userProperty || (identifier == .subscriptionIdentifier && place == .publish)
                #expect(
                    reasonCode(of: packet, .v5) == (mayRepeat ? nil : .protocolError),
                    "\(identifier) in \(place)"
                )
            }
        }
    }

    @Test("an identifier that nobody knows is malformed at every place")
    func unknown() {
        for raw in UInt8.min...UInt8.max where PropertyIdentifier(rawValue: raw) == nil {
            for place in PropertyTable.places {
                for value: [UInt8] in [[], [1], [0, 1], [0, 0, 0, 1]] {
                    let bytes = PropertyTable.packet(place, PropertyTable.company(nil, in: place) + [raw] + value)
                    #expect(reasonCode(of: bytes, .v5) == .malformedPacket, "\(raw) in \(place)")
                }
            }
        }
    }

    @Test("[MQTT-3.3.2-18] user properties keep their order at every place")
    func userPropertyOrder() throws {
        let names = ["b", "a", "b", "", "a", "\u{E9}", "e\u{301}"]
        let wire = names.enumerated().flatMap { index, name in
            [0x26] + prefixed(Array(name.utf8)) + prefixed(Array("\(index)".utf8))
        }
        for place in PropertyTable.places {
            let bytes = PropertyTable.packet(place, PropertyTable.company(nil, in: place) + wire)
            let packet = try #require(try decodeOne(bytes, .v5))
            let found = PropertyTable.properties(of: packet, at: place)?.userProperties ?? []
            #expect(found.map { Array($0.name.utf8) } == names.map { Array($0.utf8) })
            #expect(found.map(\.value) == names.indices.map { "\($0)" })
            #expect(encodeOne(packet, .v5) == bytes)
        }
    }

    @Test("values out of range are refused with their reason code")
    func ranges() {
        for (identifier, place) in PropertyTable.pairs {
            let company = PropertyTable.company(identifier, in: place)
            func code(_ value: [UInt8]) -> ReasonCode? {
                reasonCode(of: PropertyTable.packet(place, company + [identifier.rawValue] + value), .v5)
            }
            switch identifier.form {
            case .byte:
                #expect(code([0]) == nil && code([1]) == nil)
                for value: UInt8 in 2...255 { #expect(code([value]) == .protocolError, "\(identifier)") }
            case .twoBytes:
                let zero: ReasonCode? =
                    identifier == .receiveMaximum
                    ? .protocolError : identifier == .topicAlias ? .topicAliasInvalid : nil
                #expect(code([0, 0]) == zero && code([0xFF, 0xFF]) == nil, "\(identifier)")
            case .fourBytes:
                #expect(code([0, 0, 0, 0]) == (identifier == .maximumPacketSize ? .protocolError : nil))
                #expect(code([0xFF, 0xFF, 0xFF, 0xFF]) == nil)
            case .variable:
                #expect(code([0]) == .protocolError && code([0xFF, 0xFF, 0xFF, 0x7F]) == nil)
                #expect(code([0x80, 0]) == .malformedPacket && code([0x81, 0x80, 0]) == .malformedPacket)
                #expect(code([0x80, 0x80, 0x80, 0x80, 1]) == .malformedPacket)
            case .string, .binary, .pair: break
            }
        }
    }

    @Test("[MQTT-1.5.4-1] [MQTT-1.5.4-2] [MQTT-1.5.7-1] every string in a property is well-formed, binary data is free")
    func strings() {
        let wrong: [[UInt8]] = [[0], [0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xC3]]
        for (identifier, place) in PropertyTable.pairs {
            let company = PropertyTable.company(identifier, in: place)
            for text in wrong {
                let values: [[UInt8]] =
                    switch identifier.form {
                    case .string, .binary: [prefixed(text)]
                    case .pair: [prefixed(text) + [0, 1, 0x76], [0, 1, 0x6B] + prefixed(text)]
                    default: []
                    }
                for value in values {
                    let bytes = PropertyTable.packet(place, company + [identifier.rawValue] + value)
                    let expected: ReasonCode? = identifier.form == .binary ? nil : .malformedPacket
                    #expect(reasonCode(of: bytes, .v5) == expected, "\(identifier) in \(place)")
                }
            }
        }
    }

    @Test("a property that the property length cuts short is malformed")
    func cutShort() {
        for (identifier, place) in PropertyTable.pairs {
            let sample = PropertyTable.sample(identifier)
            for count in 1..<sample.count {
                let bytes = PropertyTable.packet(
                    place,
                    PropertyTable.company(identifier, in: place) + sample.prefix(count)
                )
                #expect(reasonCode(of: bytes, .v5) == .malformedPacket, "\(identifier) in \(place): \(hex(bytes))")
            }
        }
    }

    @Test("[MQTT-1.5.5-1] a property length beyond the packet, or in more bytes than needed, is malformed")
    func propertyLength() {
        for place in PropertyTable.places {
            let properties = PropertyTable.company(nil, in: place)
            let count = UInt8(properties.count)
            for length: [UInt8] in [
                [0x7F], [count + 32], [0xFF, 0x7F], [0xFF, 0xFF, 0xFF, 0x7F], [0xFF, 0xFF, 0xFF, 0xFF, 0],
                [count | 0x80, 0], [count | 0x80, 0x80, 0], [count | 0x80, 0x80, 0x80, 0],
            ] {
                let bytes = PropertyTable.packet(place, length: length, properties)
                #expect(reasonCode(of: bytes, .v5) == .malformedPacket, "\(place): \(hex(bytes))")
            }
        }
    }

    @Test("a property length of several bytes is read at every place")
    func longProperties() throws {
        let text = [UInt8](repeating: 0x61, count: 20_000)
        for place in PropertyTable.places {
            let bytes = PropertyTable.packet(
                place,
                PropertyTable.company(nil, in: place) + [0x26] + prefixed(text) + prefixed(text)
            )
            let packet = try #require(try decodeOne(bytes, .v5))
            #expect(PropertyTable.properties(of: packet, at: place)?.userProperties.first?.value.utf8.count == 20_000)
            #expect(encodeOne(packet, .v5) == bytes)
        }
    }

    @Test("a property is set, replaced and taken away by its identifier")
    func subscripts() {
        var properties = Properties()
        properties[integer: .receiveMaximum] = 5
        properties.appendUserProperty("k", "v")
        properties[string: .reasonString] = "w"
        properties[binary: .correlationData] = ByteBuffer(bytes: [1])
        properties[integer: .receiveMaximum] = 6
        properties.append(.subscriptionIdentifier, .integer(1))
        properties.append(.subscriptionIdentifier, .integer(2))
        #expect(properties.elements.first == .number(.receiveMaximum, 6))
        #expect(properties[string: .reasonString] == "w" && properties[integer: .reasonString] == nil)
        #expect(properties[binary: .correlationData] == ByteBuffer(bytes: [1]))
        #expect(properties.subscriptionIdentifiers == [1, 2])
        properties.removeAll(.subscriptionIdentifier)
        properties[integer: .receiveMaximum] = nil
        properties[integer: .topicAlias] = nil
        #expect(properties.elements == [.user("k", "v"), .text(.reasonString, "w"), .data(.correlationData, [1])])
    }

    @Test("a value fits its property only in the property's form and within its field")
    func accepts() {
        for identifier in PropertyIdentifier.allCases {
            for other in PropertyIdentifier.allCases {
                let sample = PropertyTable.value(other)
                let isNumber = if case .integer = sample { true } else { false }
                let takesNumber = if case .integer = PropertyTable.value(identifier) { true } else { false }
                #expect(
                    identifier.accepts(sample) == (isNumber ? takesNumber : identifier.form == other.form),
                    "\(identifier), \(other)"
                )
            }
        }
        #expect(PropertyIdentifier.topicAlias.accepts(.integer(65_535)))
        #expect(!PropertyIdentifier.topicAlias.accepts(.integer(65_536)))
        #expect(!PropertyIdentifier.maximumQoS.accepts(.integer(256)))
        #expect(!PropertyIdentifier.subscriptionIdentifier.accepts(.integer(268_435_456)))
        #expect(!PropertyIdentifier.reasonString.accepts(.string(String(repeating: "a", count: 65_536))))
    }
}

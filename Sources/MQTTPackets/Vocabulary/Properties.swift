import NIOCore

/// The properties of one packet in the order of the wire. Empty before MQTT 5.0.
///
/// User properties keep their order and may repeat [MQTT-3.3.2-18]; any other property stands once.
public struct Properties: Sendable, Hashable {
    /// As they stand on the wire.
    public private(set) var elements: [Property]

    /// No properties.
    public init() { elements = [] }
    package init(_ elements: [Property]) { self.elements = elements }

    /// Whether there are none, as always before 5.0.
    public var isEmpty: Bool { elements.isEmpty }

    package mutating func append(_ identifier: PropertyIdentifier, _ value: Property.Value) {
        elements.append(Property(identifier, value))
    }

    package mutating func removeAll(_ identifier: PropertyIdentifier) {
        elements.removeAll { $0.identifier == identifier }
    }

    package func first(_ identifier: PropertyIdentifier) -> Property.Value? {
        elements.first { $0.identifier == identifier }?.value
    }

    /// The value of a property that is a number. Setting one that is not, or a value beyond its field, is a programmer error.
    public subscript(integer identifier: PropertyIdentifier) -> UInt32? {
        get {
            guard case .integer(let value)? = first(identifier) else { return nil }
            return value
        }
        set { set(identifier, newValue.map(Property.Value.integer)) }
    }

    /// The value of a property that is a string. Setting one that is not, or over 65,535 bytes, is a programmer error.
    public subscript(string identifier: PropertyIdentifier) -> String? {
        get {
            guard case .string(let value)? = first(identifier) else { return nil }
            return value
        }
        set { set(identifier, newValue.map(Property.Value.string)) }
    }

    /// The value of a property that is binary data. Setting one that is not, or over 65,535 bytes, is a programmer error.
    public subscript(binary identifier: PropertyIdentifier) -> ByteBuffer? {
        get {
            guard case .binary(let value)? = first(identifier) else { return nil }
            return value
        }
        set { set(identifier, newValue.map(Property.Value.binary)) }
    }

    /// The user properties, in order.
    public var userProperties: [(name: String, value: String)] {
        elements.compactMap {
            guard case .pair(let name, let value) = $0.value else { return nil }
            return (name, value)
        }
    }

    /// Adds a user property behind the others. Name and value have at most 65,535 bytes each.
    public mutating func appendUserProperty(_ name: String, _ value: String) {
        precondition(PropertyIdentifier.userProperty.accepts(.pair(name, value)), "a string has at most 65,535 bytes")
        append(.userProperty, .pair(name, value))
    }

    /// All subscription identifiers, in order.
    package var subscriptionIdentifiers: [UInt32] {
        elements.compactMap {
            guard $0.identifier == .subscriptionIdentifier, case .integer(let value) = $0.value else { return nil }
            return value
        }
    }

    /// What they take in memory, about.
    package var bytesHeld: Int {
        elements.reduce(elements.count * MemoryLayout<Property>.stride) { bytes, property in
            switch property.value {
            case .integer: bytes
            case .string(let text): bytes + text.utf8.count
            case .binary(let data): bytes + data.readableBytes
            case .pair(let name, let value): bytes + name.utf8.count + value.utf8.count
            }
        }
    }

    private mutating func set(_ identifier: PropertyIdentifier, _ value: Property.Value?) {
        precondition(value.map(identifier.accepts) ?? true, "\(identifier) cannot have this value")
        let position = elements.firstIndex { $0.identifier == identifier }
        switch (position, value) {
        case (let position?, let value?): elements[position] = Property(identifier, value)
        case (let position?, nil): elements.remove(at: position)
        case (nil, let value?): elements.append(Property(identifier, value))
        case (nil, nil): break
        }
    }
}

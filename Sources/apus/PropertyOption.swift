import ArgumentParser
import MQTTPackets
import NIOCore

/// `-D command property value`, as mosquitto's clients have it: a property of one of the packets that a tool sends.
struct PropertyOption: Sendable {
    /// The packet that it stands in.
    enum Place: String, CaseIterable, Sendable {
        case connect, publish, subscribe, unsubscribe, disconnect, will

        /// What a client may say there. The rest is the client library's own: aliases, subscription identifiers.
        var identifiers: [PropertyIdentifier] {
            let message: [PropertyIdentifier] = [
                .contentType, .correlationData, .messageExpiryInterval, .payloadFormatIndicator, .responseTopic,
                .userProperty,
            ]
            switch self {
            case .connect:
                return [
                    .maximumPacketSize, .receiveMaximum, .requestProblemInformation, .requestResponseInformation,
                    .sessionExpiryInterval, .topicAliasMaximum, .userProperty,
                ]
            case .publish: return message
            case .subscribe, .unsubscribe: return [.userProperty]
            case .disconnect: return [.sessionExpiryInterval, .userProperty]
            case .will: return message + [.willDelayInterval]
            }
        }
    }

    let place: Place
    let identifier: PropertyIdentifier
    private let value: Property.Value

    /// The words of one `-D`, which come joined.
    @Sendable init(parsing text: String) throws {
        let words = text.split(separator: Self.separator, omittingEmptySubsequences: false).map(String.init)
        guard words.count >= 3, let place = Place(rawValue: words[0]) else {
            let places = Place.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("-D has the form COMMAND PROPERTY VALUE; the command is one of \(places).")
        }
        guard let identifier = place.identifiers.first(where: { $0.optionName == words[1] }) else {
            let names = place.identifiers.map(\.optionName).joined(separator: ", ")
            throw ValidationError("\(place.rawValue) has no property \(words[1]) here; it has \(names).")
        }
        self.place = place
        self.identifier = identifier
        value = try Self.value(words, of: identifier)
    }

    private static func value(_ words: [String], of identifier: PropertyIdentifier) throws -> Property.Value {
        let value: Property.Value?
        switch identifier.form {
        case .byte, .twoBytes, .fourBytes, .variable: value = UInt32(words[2]).map(Property.Value.integer)
        case .string: value = .string(words[2])
        case .binary: value = .binary(ByteBuffer(string: words[2]))
        case .pair:
            guard words.count == 4 else { throw ValidationError("A user property has a name and a value.") }
            value = .pair(words[2], words[3])
        }
        guard let value, identifier.accepts(value) else {
            throw ValidationError("\(identifier.optionName) cannot be \(words[2]).")
        }
        return value
    }

    func add(to properties: inout Properties) {
        if identifier != .userProperty { properties.removeAll(identifier) }
        properties.append(identifier, value)
    }

    // MARK: The command line

    /// What no argument can have in it.
    private static let separator: Character = "\u{0}"

    /// `-D` with its three or four words is made one argument: the parser knows no option with a number of values.
    static func joining(_ arguments: [String]) -> [String] {
        var joined: [String] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            joined.append(argument)
            guard argument == "-D" || argument == "--property", rest.count >= 3,
                rest.first.flatMap(Place.init(rawValue:)) != nil
            else { continue }
            let count = rest[rest.startIndex + 1] == PropertyIdentifier.userProperty.optionName ? 4 : 3
            joined.append(rest.prefix(count).joined(separator: String(separator)))
            rest = rest.dropFirst(count)
        }
        return joined
    }
}

extension [PropertyOption] {
    /// Those of one packet.
    func properties(of place: PropertyOption.Place) -> Properties {
        var properties = Properties()
        for option in self where option.place == place { option.add(to: &properties) }
        return properties
    }
}

extension PropertyIdentifier {
    /// With hyphens between its words: `content-type`.
    var optionName: String {
        String(
            "\(self)".flatMap { letter in
                letter.isUppercase ? ["-", Character(letter.lowercased())] : [letter]
            }
        )
    }
}

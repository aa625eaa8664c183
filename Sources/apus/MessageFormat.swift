import ArgumentParser
import MQTT

/// A format of `-F`, with the escapes of `mosquitto_sub`: `%t`, `@H`, `\n`.
struct MessageFormat: Sendable {
    /// Of one field: `%-010.20t`.
    struct Width: Sendable {
        var isLeft = false
        var isZeroPadded = false
        var least = 0
        var most: Int?

        func padded(_ text: [UInt8], isNumber: Bool = false) -> [UInt8] {
            let text = most.map { Array(text.prefix($0)) } ?? text
            let padding = repeatElement(
                UInt8(ascii: isZeroPadded && !isLeft && isNumber ? "0" : " "),
                count: max(0, least - text.count)
            )
            return isLeft ? text + padding : padding + text
        }
    }

    private enum Part: Sendable {
        case literal([UInt8])
        case field(Character, Width)
        /// A conversion of `strftime`.
        case time(Character)
        case nanoseconds
    }

    private let parts: [Part]

    /// What may stand behind `%`.
    private static let fields = "%ACDEFIjJlmPpqRrStUxX"

    @Sendable init(parsing format: String) throws {
        var parts: [Part] = []
        var rest = format[...]
        while let character = rest.popFirst() {
            switch character {
            case "%": parts.append(try Self.field(&rest))
            case "@":
                guard let conversion = rest.popFirst() else { throw ValidationError("@ needs a character behind it.") }
                switch conversion {
                case "@": parts.append(.literal(Array("@".utf8)))
                case "N": parts.append(.nanoseconds)
                default: parts.append(.time(conversion))
                }
            case "\\":
                guard let letter = rest.popFirst(), let byte = Self.escapes[letter] else {
                    throw ValidationError("\\ is followed by one of \\ 0 a e n r t v.")
                }
                parts.append(.literal([byte]))
            default: parts.append(.literal(Array(String(character).utf8)))
            }
        }
        self.parts = parts
    }

    private static let escapes: [Character: UInt8] = [
        "\\": 0x5C, "0": 0, "a": 7, "e": 0x1B, "n": 0x0A, "r": 0x0D, "t": 9, "v": 0x0B,
    ]

    private static func field(_ rest: inout Substring) throws -> Part {
        var width = Width()
        while let flag = rest.first, flag == "-" || flag == "0" {
            if flag == "-" { width.isLeft = true } else { width.isZeroPadded = true }
            rest.removeFirst()
        }
        width.least = number(&rest) ?? 0
        if rest.first == "." {
            rest.removeFirst()
            width.most = number(&rest) ?? 0
        }
        guard let letter = rest.popFirst(), fields.contains(letter) else {
            throw ValidationError("% is followed by one of \(fields.map(String.init).joined(separator: " ")).")
        }
        guard width.least <= 10_000, width.most ?? 0 <= 10_000 else {
            throw ValidationError("A width is at most 10000.")
        }
        return letter == "%" ? .literal(Array("%".utf8)) : .field(letter, width)
    }

    private static func number(_ rest: inout Substring) -> Int? {
        let digits = rest.prefix { $0.isASCII && $0.isNumber }
        rest = rest[digits.endIndex...]
        return digits.isEmpty ? nil : Int(digits) ?? .max
    }

    /// The message's line; what was sent is escaped where it goes to a terminal, the format's own characters never.
    func line(_ message: MQTTMessage, at time: WallTime, style: PayloadStyle) throws(InvalidPayload) -> [UInt8] {
        var line: [UInt8] = []
        for part in parts {
            switch part {
            case .literal(let bytes): line += bytes
            case .time(let conversion): line += time.formatted("%\(conversion)").utf8
            case .nanoseconds: line += padded(time.nanoseconds, 9).utf8
            case .field(let letter, let width): line += try field(letter, width, message, time, style)
            }
        }
        return line
    }

    private func field(
        _ letter: Character,
        _ width: Width,
        _ message: MQTTMessage,
        _ time: WallTime,
        _ style: PayloadStyle
    ) throws(InvalidPayload) -> [UInt8] {
        let properties = message.properties
        let nothing = width.padded([], isNumber: true)
        func number(_ value: (some BinaryInteger)?) -> [UInt8] {
            value.map { width.padded(Array(String($0).utf8), isNumber: true) } ?? nothing
        }
        func text(_ value: String?) -> [UInt8] { value.map { style.shown(width.padded(Array($0.utf8))) } ?? nothing }
        switch letter {
        case "C": return text(properties[string: .contentType])
        case "D": return style.shown(properties[binary: .correlationData]?.readableBytesView ?? [])
        case "E": return number(properties[integer: .messageExpiryInterval])
        case "F": return number(properties[integer: .payloadFormatIndicator])
        case "I": return text(time.formatted("%Y-%m-%dT%H:%M:%S%z"))
        case "j": return Array(MessageJSON.mosquitto(message, time, payload: .text, isIndented: style.isPretty))
        case "J": return Array(try MessageJSON.mosquittoRaw(message, time, isIndented: style.isPretty))
        case "l": return number(message.payload.readableBytes)
        case "m": return number(message.packetID ?? 0)
        case "P":
            return style.shown(properties.userProperties.map { "\($0.name):\($0.value)" }.joined(separator: " ").utf8)
        case "p": return style.shown(width.padded(Array(message.payload.readableBytesView), isNumber: true))
        case "q": return Array("\(message.qos.rawValue)".utf8)
        case "R": return text(properties[string: .responseTopic])
        case "r": return Array((message.isRetained ? "1" : "0").utf8)
        case "t": return text(message.topic)
        case "U": return Array("\(time.seconds).\(padded(time.nanoseconds, 9))".utf8)
        case "x", "X":
            let digits = message.payload.readableBytesView.flatMap {
                Printable.hexDigits($0, uppercase: letter == "X")
            }
            return width.padded(digits, isNumber: true)
        // Aliases and subscription identifiers are between the client library and the broker.
        default: return nothing
        }
    }
}

/// A payload that is not what it has to be to be printed.
struct InvalidPayload: Error {
    let explanation: String
}

/// How payloads are printed.
struct PayloadStyle: Sendable {
    enum Encoding: Sendable { case raw, hex, base64 }

    var encoding = Encoding.raw
    var isPretty = false
    var isForTerminal = StandardOutput.isTerminal

    func shown(_ bytes: some Collection<UInt8>) -> [UInt8] { isForTerminal ? Printable.escaped(bytes) : Array(bytes) }

    func payload(_ message: MQTTMessage) -> [UInt8] {
        let bytes = message.payload.readableBytesView
        switch encoding {
        case .hex: return bytes.flatMap { Printable.hexDigits($0) }
        case .base64: return Printable.base64(bytes)
        case .raw:
            guard isPretty, let json = JSONText.rewritten(bytes, isIndented: true) else { return shown(bytes) }
            return shown(json)
        }
    }
}

/// JSON that somebody sent: whether it is any (RFC 8259), and the same with other white space.
struct JSONText {
    /// Deeper is not followed.
    private static let depthMax = 512

    private let bytes: [UInt8]
    private var at = 0
    private var depth = 0
    private var output: [UInt8] = []
    private let isIndented: Bool

    /// Without white space, or indented by two spaces a level; nil where the bytes are no JSON.
    static func rewritten(_ bytes: some Collection<UInt8>, isIndented: Bool) -> [UInt8]? {
        guard String(validating: bytes, as: UTF8.self) != nil else { return nil }
        var text = JSONText(Array(bytes), isIndented: isIndented)
        guard text.value() else { return nil }
        text.skipSpace()
        return text.at == text.bytes.count ? text.output : nil
    }

    private init(_ bytes: [UInt8], isIndented: Bool) {
        self.bytes = bytes
        self.isIndented = isIndented
    }

    private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func skipSpace() {
        while let byte = next, [0x20, 0x09, 0x0A, 0x0D].contains(byte) { at += 1 }
    }

    private mutating func value() -> Bool {
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return container(end: UInt8(ascii: "}"), hasNames: true)
        case UInt8(ascii: "["): return container(end: UInt8(ascii: "]"), hasNames: false)
        case UInt8(ascii: "\""): return string()
        case UInt8(ascii: "t"): return word("true")
        case UInt8(ascii: "f"): return word("false")
        case UInt8(ascii: "n"): return word("null")
        default: return number()
        }
    }

    private mutating func container(end: UInt8, hasNames: Bool) -> Bool {
        guard depth < Self.depthMax else { return false }
        take()
        skipSpace()
        if next == end {
            take()
            return true
        }
        depth += 1
        while true {
            newLine()
            if hasNames {
                skipSpace()
                guard next == UInt8(ascii: "\""), string() else { return false }
                skipSpace()
                guard next == UInt8(ascii: ":") else { return false }
                take()
                if isIndented { output.append(0x20) }
            }
            guard value() else { return false }
            skipSpace()
            if next == UInt8(ascii: ",") {
                take()
                continue
            }
            guard next == end else { return false }
            depth -= 1
            newLine()
            take()
            return true
        }
    }

    private mutating func string() -> Bool {
        take()
        while let byte = next {
            switch byte {
            case UInt8(ascii: "\""):
                take()
                return true
            case UInt8(ascii: "\\"): if !escape() { return false }
            case 0..<0x20: return false
            default: take()
            }
        }
        return false
    }

    private mutating func escape() -> Bool {
        take()
        guard let letter = next else { return false }
        take()
        if letter == UInt8(ascii: "u") {
            for _ in 0..<4 {
                guard let digit = next, Character(Unicode.Scalar(digit)).isHexDigit, digit < 0x80 else { return false }
                take()
            }
            return true
        }
        return "\"\\/bfnrt".utf8.contains(letter)
    }

    private mutating func word(_ word: String) -> Bool {
        guard bytes[at...].starts(with: word.utf8) else { return false }
        output += word.utf8
        at += word.utf8.count
        return true
    }

    private mutating func number() -> Bool {
        if next == UInt8(ascii: "-") { take() }
        if next == UInt8(ascii: "0") { take() } else if !digits() { return false }
        if next == UInt8(ascii: ".") {
            take()
            guard digits() else { return false }
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            take()
            if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { take() }
            guard digits() else { return false }
        }
        return true
    }

    private mutating func digits() -> Bool {
        let start = at
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { take() }
        return at > start
    }

    private mutating func take() {
        output.append(bytes[at])
        at += 1
    }

    private mutating func newLine() {
        guard isIndented else { return }
        output.append(0x0A)
        output += repeatElement(0x20, count: depth * 2)
    }
}

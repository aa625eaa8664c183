/// Well-formed UTF-8 as MQTT wants it: no surrogates, no overlong forms, no U+0000 [MQTT-1.5.4-1] [MQTT-1.5.4-2].
package enum UTF8Check {
    package static func isValid(_ bytes: Span<UInt8>) -> Bool {
        isValid(bytes, from: 0, rejecting: false)
    }

    /// `rejecting` also refuses the wildcards `+` and `#`, for topic names.
    static func isValid(_ bytes: Span<UInt8>, from start: Int, rejecting wildcards: Bool) -> Bool {
        var at = start
        while at < bytes.count {
            let byte = bytes[at]
            if byte < 0x80 {
                if byte == 0 || (wildcards && (byte == Topics.singleLevel || byte == Topics.multiLevel)) {
                    return false
                }
                at += 1
                continue
            }
            let length = sequenceLength(byte)
            guard length > 0, at + length <= bytes.count, isSecond(bytes[at + 1], after: byte) else { return false }
            for offset in 2..<max(length, 2) where bytes[at + offset] & 0xC0 != 0x80 { return false }
            at += length
        }
        return true
    }

    /// How many bytes the character that begins with this byte has; 0 if none begins so.
    private static func sequenceLength(_ first: UInt8) -> Int {
        switch first {
        case 0xC2...0xDF: 2
        case 0xE0...0xEF: 3
        case 0xF0...0xF4: 4
        default: 0
        }
    }

    private static func isSecond(_ second: UInt8, after first: UInt8) -> Bool {
        switch first {
        case 0xE0: (0xA0...0xBF).contains(second)
        case 0xED: (0x80...0x9F).contains(second)  // above are the surrogates
        case 0xF0: (0x90...0xBF).contains(second)
        case 0xF4: (0x80...0x8F).contains(second)
        default: (0x80...0xBF).contains(second)
        }
    }
}

/// The rules of topic names and topic filters (MQTT 5.0, section 4.7), on bytes.
@usableFromInline
package enum Topics {
    /// `/`
    @inlinable package static var separator: UInt8 { 0x2F }
    /// `+`
    @inlinable package static var singleLevel: UInt8 { 0x2B }
    /// `#`
    @inlinable package static var multiLevel: UInt8 { 0x23 }
    /// `$`
    @inlinable package static var dollar: UInt8 { 0x24 }

    /// Whether the bytes are a topic name: well-formed UTF-8 of at least one character, without U+0000 and wildcards
    /// [MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2].
    package static func isValidName(_ bytes: Span<UInt8>) -> Bool {
        guard !bytes.isEmpty else { return false }
        var at = 0
        while at < bytes.count {
            let byte = bytes[at]
            if byte >= 0x80 { return UTF8Check.isValid(bytes, from: at, rejecting: true) }
            if byte == 0 || byte == singleLevel || byte == multiLevel { return false }
            at &+= 1
        }
        return true
    }

    /// Whether the bytes are a topic filter: `#` only as the last level, `+` only as a whole level
    /// [MQTT-4.7.1-1] [MQTT-4.7.1-2].
    package static func isValidFilter(_ bytes: Span<UInt8>) -> Bool {
        guard !bytes.isEmpty, UTF8Check.isValid(bytes) else { return false }
        for at in bytes.indices {
            let byte = bytes[at]
            guard byte == singleLevel || byte == multiLevel else { continue }
            if at > 0 && bytes[at - 1] != separator { return false }
            let isLast = at == bytes.count - 1
            if byte == multiLevel ? !isLast : !(isLast || bytes[at + 1] == separator) { return false }
        }
        return true
    }

    package static func isValidName(_ string: String) -> Bool {
        guard string.utf8.count <= 65_535 else { return false }
        let isValid = string.utf8.withContiguousStorageIfAvailable { isValidName($0.span) }
        return isValid ?? isValidName(Array(string.utf8).span)
    }

    package static func isValidFilter(_ string: String) -> Bool {
        let bytes = Array(string.utf8)
        return bytes.count <= 65_535 && isValidFilter(bytes.span)
    }
}

/// A subscription's filter, taken apart: `$share/group/filter` or a plain one (MQTT 5.0, section 4.8.2).
package struct ParsedFilter: Equatable, Sendable {
    package let group: String?
    /// The filter that topics are matched against: without `$share/group/`.
    package let filter: [UInt8]

    /// Nil where the filter is not valid [MQTT-4.8.2-1] [MQTT-4.8.2-2].
    package init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard bytes.count <= 65_535, Topics.isValidFilter(bytes.span) else { return nil }
        let prefix = Array("$share/".utf8)
        guard bytes.starts(with: prefix) || bytes == Array("$share".utf8) else {
            group = nil
            filter = bytes
            return
        }
        let rest = bytes.dropFirst(prefix.count)
        guard let end = rest.firstIndex(of: Topics.separator) else { return nil }
        let name = rest[..<end]
        let shared = Array(rest[(end + 1)...])
        guard !name.isEmpty, !name.contains(Topics.singleLevel), !name.contains(Topics.multiLevel), !shared.isEmpty
        else { return nil }
        group = String(decoding: name, as: UTF8.self)
        filter = shared
    }
}

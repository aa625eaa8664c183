/// The code of a Swift file without its comments and the text of its string literals, line by line where it was.
///
/// What is interpolated into a literal is code and stays. Regular expression literals are not recognised: there are none.
struct SwiftCode {
    let text: String

    init(_ source: String) {
        var stripper = Stripper(source: Array(source.utf8))
        stripper.code(endingAt: nil)
        self.text = String(decoding: stripper.result, as: UTF8.self)
    }

    /// The names and keywords, each with the characters around it that tell how it is used.
    var words: [Word] {
        let bytes = Array(self.text.utf8)
        var words: [Word] = []
        var line = 1
        var start: Int?
        for index in 0...bytes.count {
            let byte = index < bytes.count ? bytes[index] : UInt8(ascii: "\n")
            if byte.isOfWord {
                start = start ?? index
                continue
            }
            if let first = start {
                let before = first > 0 ? bytes[first - 1] : UInt8(ascii: "\n")
                words.append(
                    Word(text: String(decoding: bytes[first..<index], as: UTF8.self), line: line, before: before)
                )
                start = nil
            }
            if byte == UInt8(ascii: "\n") { line += 1 }
        }
        return words
    }

    /// The lines with an exclamation mark after an operand: `x!`, `f()!`, `a[0]!`, `try!`, `as!`, `var x: T!`.
    var linesThatForce: [Int] {
        let bytes = Array(self.text.utf8)
        var lines: [Int] = []
        var line = 1
        for (index, byte) in bytes.enumerated() {
            if byte == UInt8(ascii: "\n") { line += 1 }
            guard byte == UInt8(ascii: "!"), index > 0 else { continue }
            let endsOperand = bytes[index - 1].isOfWord || Array(")]}>?`".utf8).contains(bytes[index - 1])
            let isComparison = index + 1 < bytes.count && bytes[index + 1] == UInt8(ascii: "=")
            if endsOperand && !isComparison { lines.append(line) }
        }
        return lines
    }

    /// The modules that the file imports: `package import struct A.B` imports A.
    var imports: [String] {
        self.text.split(separator: "\n").compactMap { line in
            let words = line.split(whereSeparator: { !$0.isLetter && !$0.isNumber && $0 != "_" }).map(String.init)
            guard let keyword = words.firstIndex(of: "import"), !line.contains("func "), keyword + 1 < words.count
            else {
                return nil
            }
            let kinds: Set = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias"]
            let name = kinds.contains(words[keyword + 1]) ? keyword + 2 : keyword + 1
            return name < words.count ? words[name] : nil
        }
    }

    struct Word: Equatable {
        var text: String
        var line: Int
        /// The byte before it: an `@` makes it an attribute.
        var before: UInt8
    }
}

/// Walks over the bytes of a file once and keeps those that are code.
private struct Stripper {
    let source: [UInt8]
    var position = 0
    var result: [UInt8] = []

    init(source: [UInt8]) {
        self.source = source
        self.result.reserveCapacity(source.count)
    }

    private func peek(_ offset: Int = 0) -> UInt8? {
        let index = self.position + offset
        return index < self.source.count ? self.source[index] : nil
    }

    private func isNext(_ text: String) -> Bool {
        self.source[self.position...].starts(with: text.utf8)
    }

    private mutating func skip(_ count: Int) {
        for byte in self.source[self.position...].prefix(count) where byte == UInt8(ascii: "\n") {
            self.result.append(byte)
        }
        self.position = min(self.position + count, self.source.count)
    }

    private mutating func keep() {
        self.result.append(self.source[self.position])
        self.position += 1
    }

    /// Keeps code up to the parenthesis that ends an interpolation, or up to the end of the file.
    mutating func code(endingAt end: UInt8?) {
        var depth = 0
        while let byte = self.peek() {
            if self.isNext("//") {
                while let next = self.peek(), next != UInt8(ascii: "\n") { self.skip(1) }
            } else if self.isNext("/*") {
                self.blockComment()
            } else if byte == UInt8(ascii: "\"") || (byte == UInt8(ascii: "#") && self.startsRawLiteral) {
                self.literal()
            } else {
                if byte == UInt8(ascii: "(") { depth += 1 }
                if byte == UInt8(ascii: ")") {
                    if depth == 0, byte == end { return }
                    depth -= 1
                }
                self.keep()
            }
        }
    }

    private mutating func blockComment() {
        var depth = 0
        repeat {
            if self.isNext("/*") {
                depth += 1
                self.skip(2)
            } else if self.isNext("*/") {
                depth -= 1
                self.skip(2)
            } else {
                self.skip(1)
            }
        } while depth > 0 && self.peek() != nil
        self.result.append(UInt8(ascii: " "))
    }

    private var startsRawLiteral: Bool {
        self.source[self.position...].drop { $0 == UInt8(ascii: "#") }.first == UInt8(ascii: "\"")
    }

    private mutating func literal() {
        let pounds = String(
            repeating: "#",
            count: self.source[self.position...].prefix { $0 == UInt8(ascii: "#") }.count
        )
        self.skip(pounds.utf8.count)
        let quotes = self.isNext("\"\"\"") ? "\"\"\"" : "\""
        self.skip(quotes.utf8.count)
        self.result.append(contentsOf: "\"\"".utf8)
        while self.peek() != nil {
            if self.isNext(quotes + pounds) {
                self.skip((quotes + pounds).utf8.count)
                return
            } else if self.isNext("\\" + pounds + "(") {
                self.skip(2 + pounds.utf8.count)
                self.result.append(UInt8(ascii: " "))
                self.code(endingAt: UInt8(ascii: ")"))
                self.skip(1)
                self.result.append(UInt8(ascii: " "))
            } else if self.isNext("\\" + pounds) {
                self.skip(2 + pounds.utf8.count)
            } else {
                self.skip(1)
            }
        }
    }
}

extension UInt8 {
    /// Whether it is part of a name: a letter, a digit, an underscore, or of a character beyond ASCII.
    fileprivate var isOfWord: Bool {
        switch self {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...: true
        default: false
        }
    }
}

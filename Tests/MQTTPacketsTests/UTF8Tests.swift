import MQTTPackets
import Testing

/// The check of UTF-8 against the standard library's.
@Suite struct UTF8Tests {
    @Test("[MQTT-1.5.4-1] [MQTT-1.5.4-2] random bytes are judged as the standard library does, U+0000 apart")
    func random() {
        // Bytes at the borders of the ranges, so that many sequences are nearly right.
        let borders: [UInt8] = [
            0x00, 0x01, 0x2B, 0x23, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC,
            0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF,
        ]
        withSeed { generator, seed in
            for _ in 0..<200_000 {
                let count = Int.random(in: 0...12, using: &generator)
                let bytes = (0..<count).map { _ in
                    Bool.random(using: &generator)
                        ? borders[Int.random(in: borders.indices, using: &generator)]
                        : UInt8.random(in: .min ... .max, using: &generator)
                }
                expectSameJudgement(bytes, "seed \(seed)")
            }
        }
    }

    @Test("every sequence of up to three bytes is judged as the standard library does")
    func exhaustive() {
        for first in UInt8.min...UInt8.max {
            expectSameJudgement([first])
            for second in UInt8.min...UInt8.max { expectSameJudgement([first, second]) }
        }
        for first: UInt8 in 0xE0...0xF5 {
            for second in UInt8.min...UInt8.max {
                for third: UInt8 in [0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF] {
                    expectSameJudgement([first, second, third])
                    for fourth: UInt8 in [0x7F, 0x80, 0xBF, 0xC0] {
                        expectSameJudgement([first, second, third, fourth])
                    }
                }
            }
        }
    }

    @Test("every character but U+0000 is well-formed, and is kept")
    func everyScalar() {
        for value in UInt32(1)...0x10_FFFF {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let bytes = Array(String(scalar).utf8)
            guard UTF8Check.isValid(bytes.span), Array(bytes.span.string(in: 0..<bytes.count).utf8) == bytes else {
                Issue.record("U+\(String(value, radix: 16))")
                return
            }
        }
    }

    @Test("a topic name is what is well-formed and has no wildcard")
    func names() {
        withSeed { generator, seed in
            let parts = ["a", "/", "+", "#", "$", "\u{E9}", "\u{FEFF}", "\u{1F41D}", "\u{0}", " "]
            for _ in 0..<50_000 {
                let name = (0..<Int.random(in: 0...6, using: &generator))
                    .map { _ in parts[Int.random(in: parts.indices, using: &generator)] }.joined()
                let expected = !name.isEmpty && !name.utf8.contains { $0 == 0 || $0 == 0x2B || $0 == 0x23 }
                if Topics.isValidName(name) != expected { Issue.record("\(name), seed \(seed)") }
            }
        }
    }

    private func expectSameJudgement(_ bytes: [UInt8], _ note: String = "") {
        let expected = String(validating: bytes, as: UTF8.self) != nil && !bytes.contains(0)
        if UTF8Check.isValid(bytes.span) != expected { Issue.record("\(hex(bytes)) \(note)") }
        let isName = expected && !bytes.isEmpty && !bytes.contains(0x2B) && !bytes.contains(0x23)
        if Topics.isValidName(bytes.span) != isName { Issue.record("topic name \(hex(bytes)) \(note)") }
    }
}

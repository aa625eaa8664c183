import MQTTPackets
import Testing

@Suite struct TopicsTests {
    @Test(
        "topic names that are valid",
        arguments: ["a", "/", "//", "a/b", "a b", " ", "$SYS/x", "$share/g/a", "$", "\u{E9}/\u{1F41D}", "\u{FEFF}"]
    )
    func names(_ name: String) {
        #expect(Topics.isValidName(name))
    }

    @Test(
        "[MQTT-4.7.0-1] [MQTT-4.7.3-1] [MQTT-4.7.3-2] topic names that are not",
        arguments: ["", "#", "+", "a/#", "a/+/b", "a+", "a#b", "\u{E9}+", "\u{E9}#", "\u{0}", "a\u{0}b", "\u{E9}\u{0}"]
    )
    func wrongNames(_ name: String) {
        #expect(!Topics.isValidName(name))
    }

    @Test(
        "topic filters that are valid",
        arguments: [
            "a", "/", "#", "+", "+/+", "/+", "+/", "/#", "a/#", "+/#", "a/+/b", "a//b", "//", "$SYS/#", "+/a/#",
            "\u{E9}/+/\u{1F41D}/#", " ", "$share/g/#",
        ]
    )
    func filters(_ filter: String) {
        #expect(Topics.isValidFilter(filter))
        #expect(ParsedFilter(filter) != nil)
    }

    @Test(
        "[MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1] [MQTT-4.7.3-2] topic filters that are not",
        arguments: [
            "", "a#", "#a", "a/#/b", "#/a", "##", "#/", "a+", "+a", "a/b+", "a/+b/c", "a/b+/c", "++", "+#", "#+",
            "a/+#",
            "\u{0}", "a/\u{0}", "+/\u{E9}+", "\u{E9}#",
        ]
    )
    func wrongFilters(_ filter: String) {
        #expect(!Topics.isValidFilter(filter))
        #expect(ParsedFilter(filter) == nil)
    }

    @Test("names and filters have at most 65,535 bytes")
    func length() {
        let longest = String(repeating: "a", count: 65_535)
        #expect(Topics.isValidName(longest) && Topics.isValidFilter(longest) && ParsedFilter(longest) != nil)
        #expect(!Topics.isValidName(longest + "a") && !Topics.isValidFilter(longest + "a"))
        #expect(ParsedFilter(longest + "a") == nil)
    }

    @Test("ill-formed UTF-8 is neither name nor filter")
    func illFormed() {
        for bytes: [UInt8] in [[0x61, 0xFF], [0xC0, 0xAF], [0xED, 0xA0, 0x80], [0xC3], [0x2F, 0x80]] {
            #expect(!Topics.isValidName(bytes.span) && !Topics.isValidFilter(bytes.span))
        }
    }

    @Test("a filter is judged as a level-by-level reading of the rules does")
    func filtersAgainstTheRules() {
        withSeed { generator, seed in
            let parts = ["a", "/", "/", "+", "#", "$share", "\u{E9}"]
            for _ in 0..<50_000 {
                let filter = (0..<Int.random(in: 0...8, using: &generator))
                    .map { _ in parts[Int.random(in: parts.indices, using: &generator)] }.joined()
                let levels = filter.split(separator: "/", omittingEmptySubsequences: false)
                let isValid =
                    !filter.isEmpty
                    && levels.enumerated().allSatisfy { index, level in
                        level == "#"
                            ? index == levels.count - 1 : level == "+" || !level.contains { $0 == "+" || $0 == "#" }
                    }
                if Topics.isValidFilter(filter) != isValid { Issue.record("\(filter), seed \(seed)") }
                let parsed = ParsedFilter(filter)
                let isShared = levels.first == "$share"
                let sharedIsValid =
                    levels.count > 2 && !levels[1].isEmpty && levels[1] != "+" && levels[1] != "#"
                    && !(levels.count == 3 && levels[2].isEmpty)
                if (parsed != nil) != (isValid && (!isShared || sharedIsValid)) {
                    Issue.record("\(filter) as a subscription, seed \(seed)")
                }
                guard let parsed else { continue }
                let rest = isShared ? levels.dropFirst(2).joined(separator: "/") : filter
                if parsed.group != (isShared ? String(levels[1]) : nil) || parsed.filter != Array(rest.utf8) {
                    Issue.record("\(filter) is taken apart wrongly, seed \(seed)")
                }
            }
        }
    }

    @Test(
        "[MQTT-4.8.2-1] [MQTT-4.8.2-2] shared subscriptions that are not valid",
        arguments: [
            "$share", "$share/", "$share//", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#",
            "$share/g+/a",
            "$share/g/a#", "$share/g/#/a",
        ]
    )
    func wrongShares(_ filter: String) {
        #expect(ParsedFilter(filter) == nil)
    }

    @Test("a shared subscription has a group and a filter, a plain one only a filter")
    func shares() {
        expect("$share/g/a/b", group: "g", filter: "a/b")
        expect("$share/g/#", group: "g", filter: "#")
        expect("$share/g//", group: "g", filter: "/")
        expect("$share/g//a", group: "g", filter: "/a")
        expect("$share/\u{E9}/$SYS/+", group: "\u{E9}", filter: "$SYS/+")
        expect("$share/$share/$share", group: "$share", filter: "$share")
        expect("$shared/g/a", group: nil, filter: "$shared/g/a")
        expect("$SHARE/g/a", group: nil, filter: "$SHARE/g/a")
        expect("/$share/g/a", group: nil, filter: "/$share/g/a")
        expect("share/g/a", group: nil, filter: "share/g/a")
    }

    private func expect(_ text: String, group: String?, filter: String) {
        let parsed = ParsedFilter(text)
        #expect(parsed?.group == group && parsed?.filter == Array(filter.utf8), "\(text)")
    }
}

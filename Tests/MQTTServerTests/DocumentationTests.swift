import Foundation
import MQTTCore
import Testing

/// What an article takes from the code. `APUS_WRITE_DOCS=1` writes it instead of comparing.
@Suite struct DocumentationTests {
    private static let article = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Sources/MQTTServer/MQTTServer.docc/LimitsAndBackPressure.md")

    @Test("the article Limits has the table of limits in the code")
    func limits() throws {
        let rows = Limits.table.map { limit in
            "| `\(limit.name)` | \(limit.unit) | \(limit.defaultDescription) | \(limit.effect) |"
        }
        let table = ["| name | unit | default | what happens at the limit |", "|---|---|---|---|"] + rows
        let text = "<!-- limits -->\n\n\(table.joined(separator: "\n"))\n\n<!-- end of limits -->"

        let written = try String(contentsOf: Self.article, encoding: .utf8)
        let begin = try #require(written.range(of: "<!-- limits -->"))
        let end = try #require(written.range(of: "<!-- end of limits -->"))
        let section = begin.lowerBound..<end.upperBound
        if ProcessInfo.processInfo.environment["APUS_WRITE_DOCS"] != nil {
            try written.replacingCharacters(in: section, with: text)
                .write(to: Self.article, atomically: true, encoding: .utf8)
        } else {
            #expect(written[section] == text, "make docs-tables writes it anew")
        }
    }
}

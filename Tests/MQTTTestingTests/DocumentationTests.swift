import Foundation
import Testing

@Suite struct DocumentationTests {
    private static let root = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    @Test("the Swift code of docs/testing.md is that of the example, which is built and run")
    func testing() throws {
        let document = try text("docs/testing.md")
        let example = try text("Examples/Device/Tests/ThermometerTests.swift")
        let code = document.components(separatedBy: "```swift\n").dropFirst().compactMap {
            $0.components(separatedBy: "```").first
        }
        #expect(code.count == 3)
        for part in code {
            // There it stands within a suite.
            let lines = part.split(separator: "\n", omittingEmptySubsequences: false)
            let indented = lines.map { $0.isEmpty ? "" : "    \($0)" }.joined(separator: "\n")
            #expect(example.contains(indented), "\(part)")
        }
    }

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.root.appending(path: path), encoding: .utf8)
    }
}

import Testing

/// A check that cannot fail shows nothing: each is given what it has to find, and what it has to leave alone.
@Suite("Tidy: the rules find what breaks them")
struct RulesTests {
    @Test(
        "a pure module is caught when it reaches outside",
        arguments: [
            "import NIOPosix", "package import Foundation", "@_exported import NIO", "import struct Foundation.URL",
            "let c: Channel", "func f(_ c: ChannelHandlerContext)", "let l: any EventLoop", "Task { }",
            "let d = Date()",
            "let m = Mutex(0)", "_ = await f()", "let s = \"\\(Date())\"",
            "let t = \"\"\"\n    \\(Task { })\n    \"\"\"",
        ]
    )
    func impure(source: String) {
        #expect(Rules.impurities(.init(path: "x.swift", text: source)) != [])
    }

    @Test(
        "a pure module may speak of the outside, and import bytes and data structures",
        arguments: [
            "import NIOCore", "internal import DequeModule", "import struct NIOCore.ByteBuffer",
            "@usableFromInline package import MQTTPackets",
            "// await a Channel", "/// The Date.", "/* Task /* Mutex */ Date */ let x = 1",
            "let s = \"Date \\\" Task\"",
            "let s = #\"Mutex \\(x) \"Date\" \"#", "let s = \"\"\"\n    Channel \"Task\"\n    \"\"\"",
            "let awaiting = UpdateDate",
        ]
    )
    func pure(source: String) {
        #expect(Rules.impurities(.init(path: "x.swift", text: source)) == [])
    }

    @Test(
        "a trap is caught",
        // Texts that the rule has to find; none of them is code.
        arguments: [
            "x!", "f()!.a", "a[0]! + 1", "try! f()", "x as! Y", "var x: T!", "var x: [T]!", "\"\\(x!)\"", "x?.y!",
            "a { }!", "fatalError()",
            "struct S: @unchecked Sendable {}", "nonisolated(unsafe) var x = 1",
        ]
    )
    func trap(source: String) {
        #expect(Rules.traps(.init(path: "x.swift", text: source)) != [])
    }

    @Test(
        "what only looks like a trap is left alone",
        // Texts again, that it has to pass over.
        arguments: [
            "x != y", "x!=y", "a !== b", "!x", "(!x)", "[!x]", "if !x {}", "\"x!\"", "// x! try! fatalError",
            "#if !os(Linux)", "a && !b",
            "\"unchecked\" + \"a\\\\\" + \"x!\"", "nonisolated var x: Int { 1 }", "let fatalErrors = 0",
        ]
    )
    func noTrap(source: String) {
        #expect(Rules.traps(.init(path: "x.swift", text: source)) == [])
    }

    @Test("what is found is found at its line")
    func lines() {
        let source = "/* a\n b */\nlet s = \"\"\"\n    text\n    \"\"\"\nlet y = x!\n"
        #expect(Rules.traps(.init(path: "x.swift", text: source)) == ["x.swift:6: forces with !"])
    }

    @Test("400 lines are allowed, 401 are not")
    func length() {
        let line = "let x = 1\n"
        #expect(Rules.excessLines(.init(path: "x", text: String(repeating: line, count: 400))) == [])
        #expect(Rules.excessLines(.init(path: "x", text: String(repeating: line, count: 401))) != [])
    }

    @Test("a path of a machine is caught")
    func machinePath() {
        #expect(
            Rules.machinePaths(.init(path: "x", text: "a\ncd /" + "work/main\n")) == ["x:2: the path /" + "work/main"]
        )
        #expect(Rules.machinePaths(.init(path: "x", text: "topic /work/light, /root")) == [])
    }

    @Test("a document that names a file or forgets a module is caught")
    func documents() {
        let document = Repository.File(
            path: "x.md",
            text: "`Sources/A/a.swift` `b.swift` `c.swift`\n```\n`d.swift`\n```\nmodule MQTTCore"
        )
        let missing = Rules.missingFiles(document, exists: { _ in false }, swiftFiles: ["b.swift"])
        #expect(missing.map { $0.split(separator: " ")[2] } == ["Sources/A/a.swift,", "c.swift,"])
        #expect(Rules.missingFiles(document, exists: { _ in true }, swiftFiles: ["b.swift", "c.swift"]) == [])
        #expect(Rules.unmentioned(["MQTTCore", "MQTT"], in: document) == ["x.md: does not mention the module MQTT"])
    }

    private static let compiled = Repository.File(
        path: "y.swift",
        text: "import A\n\nenum E {\n    static func f() {\n        let x = 1\n\n        if x { }\n    }\n}\n"
    )

    @Test(
        "code that is not compiled is caught",
        arguments: [
            "let x = 2", "import B\n\nlet x = 1", "let x = 1\nif x { }", "let x = 1\n\n    if x { }", "x = 1", "",
        ]
    )
    func uncompiled(code: String) {
        for file in [
            Repository.File(path: "x.md", text: "text\n```swift\n\(code)\n```\n"),
            Repository.File(path: "x.swift", text: self.comment("```swift\n\(code)\n```")),
        ] {
            #expect(Rules.uncompiledCode(file, compiled: [Rules.lines(Self.compiled)]).count == 1)
        }
    }

    @Test(
        "code that is compiled is left alone, and so is what is no Swift",
        arguments: [
            "```swift\nlet x = 1\n```", "```swift\nimport A\n\nlet x = 1\n\nif x { }\n```", "```sh\nlet y\n```",
            "```\nlet y\n```\nlet z",
        ]
    )
    func compiled(text: String) {
        for file in [
            Repository.File(path: "x.md", text: text),
            Repository.File(path: "x.swift", text: self.comment(text)),
        ] {
            #expect(Rules.uncompiledCode(file, compiled: [Rules.lines(Self.compiled)]) == [])
        }
    }

    private func comment(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.isEmpty ? "    ///" : "    /// \($0)" }
            .joined(separator: "\n") + "\nfunc g() {}\n"
    }
}

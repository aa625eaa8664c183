import Testing

@Suite("Tidy: what holds for every file of the repository")
struct TidyTests {
    @Test(
        "a pure module imports no I/O and names no channel, event loop, task, clock, lock or await",
        arguments: Rules.pureModules.sorted()
    )
    func pureModules(module: String) {
        let files = Repository.files(in: "Sources/\(module)", withSuffix: ".swift")
        #expect(!files.isEmpty)
        #expect(files.flatMap(Rules.impurities) == [])
    }

    @Test("nothing in Sources forces, traps on purpose, or takes itself out of the compiler's checks")
    func noTraps() {
        let files = Repository.files(in: "Sources", withSuffix: ".swift")
        #expect(!files.isEmpty)
        #expect(files.flatMap(Rules.traps) == [])
    }

    @Test("no Swift file is longer than 400 lines")
    func fileLengths() {
        let files = Repository.files(withSuffix: ".swift")
        #expect(files.contains { $0.path == "Tests/TidyTests/TidyTests.swift" })
        #expect(files.flatMap(Rules.excessLines) == [])
    }

    @Test("no file names a path of somebody's machine")
    func machinePaths() {
        #expect(Repository.files().flatMap(Rules.machinePaths) == [])
    }

    @Test("the files that ARCHITECTURE.md names exist")
    func architectureNamesWhatExists() throws {
        let document = try #require(Repository.files().first { $0.path == "ARCHITECTURE.md" })
        let names = Repository.files(withSuffix: ".swift").compactMap {
            $0.path.split(separator: "/").last.map(String.init)
        }
        #expect(Rules.missingFiles(document, exists: Repository.exists, swiftFiles: Set(names)) == [])
    }

    @Test("ARCHITECTURE.md mentions every module")
    func architectureMentionsEachModule() throws {
        let document = try #require(Repository.files().first { $0.path == "ARCHITECTURE.md" })
        let modules = Repository.folders(in: "Sources")
        #expect(!modules.isEmpty)
        #expect(Rules.unmentioned(modules, in: document) == [])
    }

    @Test("the Swift code of documents and comments stands in files that are compiled")
    func codeOfDocuments() {
        let compiled = ["Sources", "Examples", "Tests", "Benchmarks"].flatMap {
            Repository.files(in: $0, withSuffix: ".swift").map(Rules.lines)
        }
        let documents = Repository.files(withSuffix: ".md") + Repository.files(in: "Sources", withSuffix: ".swift")
        #expect(documents.contains { !Rules.blocks(of: "swift", in: $0).isEmpty })
        #expect(documents.flatMap { Rules.uncompiledCode($0, compiled: compiled) } == [])
    }
}

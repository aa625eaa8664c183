import Foundation

/// A rule takes one file and says what in it breaks the rule, each as `path:line: what`.
enum Rules {
    static let pureModules: Set = ["MQTTPackets", "MQTTSessions", "MQTTRouting", "MQTTStore", "MQTTCore"]
    static let lineLimit = 400

    /// Beside one another the pure modules may import the byte buffer and data structures, none of which does I/O.
    private static let importsOfPureModules = pureModules.union([
        "NIOCore", "Collections", "DequeModule", "OrderedCollections", "HashTreeCollections", "HeapModule",
        "BitCollections",
    ])
    private static let wordsOfTheOutside: Set = [
        "Task", "TaskGroup", "Date", "Mutex", "NIOLock", "await", "ContinuousClock", "SuspendingClock",
    ]
    private static let prefixesOfTheOutside = ["Channel", "EventLoop"]

    static func impurities(_ file: Repository.File) -> [String] {
        let code = SwiftCode(file.text)
        let imports = code.imports.filter { !self.importsOfPureModules.contains($0) }.map {
            "\(file.path): imports \($0)"
        }
        let words = code.words.filter { word in
            self.wordsOfTheOutside.contains(word.text) || self.prefixesOfTheOutside.contains { word.text.hasPrefix($0) }
        }
        return imports + words.map { "\(file.path):\($0.line): names \($0.text)" }
    }

    static func traps(_ file: Repository.File) -> [String] {
        let code = SwiftCode(file.text)
        let words = code.words
        var found = code.linesThatForce.map { "\(file.path):\($0): forces with !" }
        for (index, word) in words.enumerated() {
            let next = index + 1 < words.count ? words[index + 1].text : ""
            switch word.text {
            case "fatalError": found.append("\(file.path):\(word.line): \(word.text)")
            case "unchecked" where word.before == UInt8(ascii: "@"):
                found.append("\(file.path):\(word.line): @unchecked")
            // The spelling that is forbidden, in the message that says so.
            case "nonisolated" where next == "unsafe": found.append("\(file.path):\(word.line): nonisolated(unsafe)")
            default: continue
            }
        }
        return found
    }

    static func excessLines(_ file: Repository.File) -> [String] {
        let count =
            file.text.split(separator: "\n", omittingEmptySubsequences: false).count
            - (file.text.hasSuffix("\n") ? 1 : 0)
        return count > self.lineLimit ? ["\(file.path): \(count) lines, \(self.lineLimit) are allowed"] : []
    }

    /// Absolute folders of one machine. A topic such as `/home/light` is none: it does not go on below a person's name.
    static func machinePaths(_ file: Repository.File) -> [String] {
        // In two parts, or this file would break its own rule.
        let folders = ["/" + "work/main", "/" + "work/shared", "/" + "root/.", "/" + "Users/"]
        return file.text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().flatMap { index, line in
            folders.filter { line.contains($0) }.map { "\(file.path):\(index + 1): the path \($0)" }
        }
    }

    /// What a document names in backticks and is not there: a path below a folder of this repository, or a Swift file.
    static func missingFiles(_ file: Repository.File, exists: (String) -> Bool, swiftFiles: Set<String>) -> [String] {
        let roots = ["Sources", "Tests", "Fuzz", "Benchmarks", "Scripts", "Examples", "docs"]
        let named = self.spans(in: file.text).filter { span in
            roots.contains { span.hasPrefix($0 + "/") }
                ? !exists(span) : span.hasSuffix(".swift") && !swiftFiles.contains(span)
        }
        return named.map { "\(file.path): names \($0), which does not exist" }
    }

    static func unmentioned(_ modules: [String], in file: Repository.File) -> [String] {
        let words = Set(file.text.split(whereSeparator: { !$0.isLetter && !$0.isNumber }).map(String.init))
        return modules.filter { !words.contains($0) }.map { "\(file.path): does not mention the module \($0)" }
    }

    /// The words between backticks; a fenced drawing is not a name.
    private static func spans(in markdown: String) -> [String] {
        let prose = markdown.components(separatedBy: "```").enumerated().filter { $0.offset.isMultiple(of: 2) }.map(
            \.element
        )
        return prose.flatMap { part in
            part.components(separatedBy: "`").enumerated().filter { !$0.offset.isMultiple(of: 2) }.map(\.element)
        }
    }
}

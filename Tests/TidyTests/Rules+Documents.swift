import Foundation

extension Rules {
    /// Blocks of Swift in a document, or in the comments of a Swift file, that stand in no file that is compiled. There they
    /// may be indented, and the imports that a block begins with may stand apart.
    static func uncompiledCode(_ file: Repository.File, compiled: [[String]]) -> [String] {
        self.blocks(of: "swift", in: file).filter { block in
            let imports = block.lines.prefix { $0.hasPrefix("import ") || $0.isEmpty }.filter { !$0.isEmpty }
            let rest = Array(block.lines.drop { $0.hasPrefix("import ") || $0.isEmpty })
            return !compiled.contains { lines in
                imports.allSatisfy(lines.contains) && self.stands(rest, in: lines)
            }
        }.map { "\(file.path):\($0.line): code that no target compiles" }
    }

    static func lines(_ file: Repository.File) -> [String] {
        file.text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// The fenced blocks of a language, with the line at which each begins.
    static func blocks(of language: String, in file: Repository.File) -> [(line: Int, lines: [String])] {
        var found: [(line: Int, lines: [String])] = []
        var isInside = false
        var isWanted = false
        guard file.text.contains("```\(language)") else { return found }
        for (index, text) in self.lines(file).enumerated() {
            let line = file.path.hasSuffix(".swift") ? self.comment(text) : text
            guard line.hasPrefix("```") else {
                if isWanted { found[found.count - 1].lines.append(line) }
                continue
            }
            isWanted = !isInside && line == "```\(language)"
            isInside.toggle()
            if isWanted { found.append((index + 1, [])) }
        }
        return found
    }

    /// What a line of a documentation comment says; nothing where it is none.
    private static func comment(_ line: String) -> String {
        let line = line.drop { $0 == " " }
        return line.hasPrefix("///") ? String(line.dropFirst(line.hasPrefix("/// ") ? 4 : 3)) : ""
    }

    private static func stands(_ block: [String], in lines: [String]) -> Bool {
        guard let first = block.first else { return false }
        return lines.indices.contains { start in
            guard lines[start].hasSuffix(first), start + block.count <= lines.count else { return false }
            let indentation = String(lines[start].dropLast(first.count))
            guard indentation.allSatisfy({ $0 == " " }) else { return false }
            return block.indices.allSatisfy {
                block[$0].isEmpty
                    ? lines[start + $0].isEmpty : lines[start + $0] == indentation + block[$0]
            }
        }
    }
}

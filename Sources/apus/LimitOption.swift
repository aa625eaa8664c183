import ArgumentParser
import MQTTCore

/// `name=value` of a limit.
struct LimitOption: Sendable {
    let limit: Limit
    let value: Int

    @Sendable init(parsing text: String) throws {
        let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
        guard parts.count == 2 else { throw ValidationError("it has the form name=value.") }
        guard let limit = Limits.table.first(where: { $0.name == parts[0] }) else {
            throw ValidationError("there is no limit named \(parts[0]); `apus serve --help` lists them.")
        }
        guard let value = Int(parts[1]), limit.range.contains(value) else {
            let range = limit.range
            throw ValidationError("\(limit.name) is a number from \(range.lowerBound) to \(range.upperBound).")
        }
        self.limit = limit
        self.value = value
    }

    /// The table of all limits, for a terminal of 80 columns.
    static var help: String {
        Limits.table.map { limit in
            let effect = wrapped(limit.effect, columns: 72).map { "      \($0)" }.joined(separator: "\n")
            return "  \(limit.name)=N  \(limit.unit), \(limit.defaultDescription)\n\(effect)"
        }.joined(separator: "\n")
    }

    private static func wrapped(_ text: String, columns: Int) -> [String] {
        text.split(separator: " ").reduce(into: [""]) { lines, word in
            let line = lines[lines.count - 1]
            if line.isEmpty {
                lines[lines.count - 1] = String(word)
            } else if line.count + 1 + word.count <= columns {
                lines[lines.count - 1] += " " + word
            } else {
                lines.append(String(word))
            }
        }
    }
}

extension QueuePolicy: ExpressibleByArgument {}
extension ClientTopics: ExpressibleByArgument {}

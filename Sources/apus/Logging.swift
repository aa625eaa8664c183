import ArgumentParser
import Logging
import MQTTCore
import MQTTPackets
import MQTTServer

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// The level of all lines, and those of single categories: `warning,connections=info`.
struct LogLevels: ExpressibleByArgument {
    var level: Logger.Level
    var categories: [LogCategory: Logger.Level] = [:]

    init(level: Logger.Level) { self.level = level }

    init?(argument: String) {
        self.init(level: .info)
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            let words = part.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
            guard let last = words.last, let level = Logger.Level(rawValue: last) else { return nil }
            switch words.count {
            case 1: self.level = level
            case 2:
                guard let category = LogCategory(rawValue: words[0]) else { return nil }
                categories[category] = level
            default: return nil
            }
        }
    }

    var defaultValueDescription: String { level.rawValue }
}

enum LogFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json

    func logger(label: String, level: Logger.Level) -> Logger {
        var logger =
            switch self {
            case .text: Logger(label: label, factory: StreamLogHandler.standardError(label:))
            case .json: Logger(label: label) { JSONLogHandler(label: $0) }
            }
        logger.logLevel = level
        return logger
    }
}

/// One JSON object a line on standard error: `time`, `level`, `label`, `message`, and the metadata beside them.
struct JSONLogHandler: LogHandler {
    let label: String
    var logLevel = Logger.Level.info
    var metadata = Logger.Metadata()

    init(label: String) { self.label = label }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let metadata = metadata.merging(event.metadata ?? [:]) { _, new in new }
        var line = "{\"time\":\"\(Self.time())\",\"level\":\"\(event.level)\",\"label\":\(JSON.string(label))"
        line += ",\"message\":\(JSON.string("\(event.message)"))"
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line += ",\(JSON.string(key)):\(Self.json(value))"
        }
        StandardError.print(line + "}\n")
    }

    private static func json(_ value: Logger.Metadata.Value) -> String {
        switch value {
        case .string(let text): JSON.string(text)
        case .stringConvertible(let value): JSON.string("\(value)")
        case .array(let values): "[" + values.map(json).joined(separator: ",") + "]"
        case .dictionary(let values):
            "{"
                + values.sorted { $0.key < $1.key }.map { "\(JSON.string($0.key)):\(json($0.value))" }
                .joined(separator: ",") + "}"
        }
    }

    /// In UTC, with milliseconds (RFC 3339).
    private static func time() -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        gmtime_r(&now.tv_sec, &parts)
        func digits(_ value: some BinaryInteger, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.count)) + text
        }
        let date = "\(parts.tm_year + 1_900)-\(digits(parts.tm_mon + 1, 2))-\(digits(parts.tm_mday, 2))"
        let clock = "\(digits(parts.tm_hour, 2)):\(digits(parts.tm_min, 2)):\(digits(parts.tm_sec, 2))"
        return "\(date)T\(clock).\(digits(now.tv_nsec / 1_000_000, 3))Z"
    }
}

/// What -d shows of the client library: a line each, with nothing in it that a broker could command the terminal by.
struct DebugLogHandler: LogHandler {
    var logLevel = Logger.Level.trace
    var metadata = Logger.Metadata()

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let metadata = metadata.merging(event.metadata ?? [:]) { _, new in new }
        let words = metadata.sorted { $0.key < $1.key }.map { " \($0.key)=\($0.value)" }.joined()
        StandardError.print(Printable.sentence("\(event.level): \(event.message)\(words)") + "\n")
    }
}

enum StandardError {
    /// As one write, so that lines of several threads do not mix.
    static func print(_ text: String) {
        var text = text
        text.withUTF8 { bytes in
            // There is nowhere else to say that standard error is gone.
            _ = write(STDERR_FILENO, bytes.baseAddress, bytes.count)
        }
    }
}

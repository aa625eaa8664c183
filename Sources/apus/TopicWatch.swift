import MQTT

/// `apus sub --watch`: a line for each topic with how many messages came, how many a second, how long ago the last one
/// came, and what it was.
///
/// On a terminal the table stays in its place; elsewhere it is printed every second, if it has changed.
actor TopicWatch {
    private struct Line {
        var messages = 0
        var bytes = 0
        var rate = 0.0
        var since = 0
        var last: ContinuousClock.Instant
        var shown = ""
    }

    /// More than these are counted together.
    private static let topicsMax = 10_000
    /// What a second counts for against all seconds before.
    private static let weight = 0.5
    private static let topicWidth = 40

    private let began = ContinuousClock.now
    private var ticked = ContinuousClock.now
    private var lines: [String: Line] = [:]
    private var messages = 0
    private var bytes = 0
    private var messagesElsewhere = 0
    private var messagesPrinted = -1
    private var linesOnTerminal = 0
    private var output = StandardOutput()

    /// Says whether another is wanted.
    func received(_ message: MQTTMessage, atMost count: Int?) -> Bool {
        messages += 1
        bytes += message.payload.readableBytes
        let now = ContinuousClock.now
        if lines[message.topic] == nil && lines.count >= Self.topicsMax {
            messagesElsewhere += 1
        } else {
            var line = lines[message.topic] ?? Line(last: now)
            line.messages += 1
            line.bytes += message.payload.readableBytes
            line.since += 1
            line.last = now
            line.shown = Printable.line(message.payload.readableBytesView, characters: 60)
            lines[message.topic] = line
        }
        return count.map { messages < $0 } ?? true
    }

    /// Shows the table once a second while `body` does its work, and once more at its end.
    func showing(_ body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await body() }
            tasks.addTask {
                while true {
                    try await Task.sleep(for: .seconds(1))
                    try await self.tick()
                }
            }
            defer { tasks.cancelAll() }
            try await tasks.next()
        }
    }

    private func tick() throws {
        let now = ContinuousClock.now
        let seconds = max(0.001, (now - ticked) / .seconds(1))
        ticked = now
        lines = lines.mapValues { line in
            var line = line
            let rate = Double(line.since) / seconds
            // A topic's first second has nothing before it.
            line.rate = line.since == line.messages ? rate : line.rate * (1 - Self.weight) + rate * Self.weight
            line.since = 0
            return line
        }
        try show(now)
    }

    private func show(_ now: ContinuousClock.Instant) throws {
        let isTerminal = StandardOutput.isTerminal
        if !isTerminal && messages == messagesPrinted { return }
        messagesPrinted = messages
        let size = TerminalSize()
        let rows = table(now, rows: isTerminal ? max(1, size.rows - 2) : .max)
        if isTerminal {
            if linesOnTerminal > 0 { output.append("\u{1B}[\(linesOnTerminal)A".utf8) }
            for row in rows { output.append("\r\(row.prefix(size.columns - 1))\u{1B}[K\n".utf8) }
            output.append("\u{1B}[J".utf8)
            linesOnTerminal = rows.count
        } else {
            for row in rows { output.append("\(row)\n".utf8) }
            output.append("\n".utf8)
        }
        try output.flush()
    }

    private func table(_ now: ContinuousClock.Instant, rows: Int) -> [String] {
        var table = [row("TOPIC", "MESSAGES", "PER SECOND", "AGE", "LAST")]
        let topics = lines.sorted { $0.key < $1.key }
        for (topic, line) in topics.prefix(max(0, rows - 2)) {
            let age = formattedSeconds((now - line.last) / .seconds(1))
            let name = Printable.line(topic.utf8, characters: Self.topicWidth)
            table.append(row(name, "\(line.messages)", fixed(line.rate, 1), age, line.shown))
        }
        let hidden = topics.count - (table.count - 1)
        if hidden > 0 { table.append("… and \(hidden) more topics") }
        return table
    }

    private func row(_ topic: String, _ messages: String, _ rate: String, _ age: String, _ last: String) -> String {
        topic.leftAligned(Self.topicWidth) + " " + messages.rightAligned(9) + " " + rate.rightAligned(10) + " "
            + age.rightAligned(8) + "  " + last
    }

    func printSummary() throws {
        try show(.now)
        let seconds = (ContinuousClock.now - began) / .seconds(1)
        let elsewhere =
            messagesElsewhere > 0 ? ", \(messagesElsewhere) of them on topics beyond the first \(lines.count)" : ""
        try output.print(
            "\(messages) messages, \(bytes) bytes on \(lines.count) topics in \(formattedSeconds(seconds))\(elsewhere)"
        )
        try output.flush()
    }
}

extension String {
    func leftAligned(_ width: Int) -> String { self + String(repeating: " ", count: Swift.max(0, width - count)) }
    func rightAligned(_ width: Int) -> String { String(repeating: " ", count: Swift.max(0, width - count)) + self }
}

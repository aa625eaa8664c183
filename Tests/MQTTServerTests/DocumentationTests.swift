import Foundation
import MQTTCore
import Testing

/// Documents that are made from the code. `APUS_WRITE_DOCS=1` writes them instead of comparing.
@Suite struct DocumentationTests {
    private static let folder = URL(filePath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().appending(path: "docs")

    @Test("docs/limits.md is the table of limits in the code")
    func limits() throws {
        let rows = Limits.table.map { limit in
            "| `\(limit.name)` | \(limit.unit) | \(limit.defaultDescription) | \(limit.effect) |"
        }
        try check(
            "limits.md",
            [
                Self.introduction, "", "| name | unit | default | what happens at the limit |",
                "|---|---|---|---|",
            ] + rows + ["", Self.remarks, ""]
        )
    }

    private func check(_ name: String, _ lines: [String]) throws {
        let file = Self.folder.appending(path: name)
        let text = lines.joined(separator: "\n")
        if ProcessInfo.processInfo.environment["APUS_WRITE_DOCS"] != nil {
            try text.write(to: file, atomically: true, encoding: .utf8)
        }
        let written = try String(contentsOf: file, encoding: .utf8)
        #expect(written == text, "make docs-tables writes it anew")
    }

    private static let introduction = """
        # Limits

        What clients can make the broker spend, at most, and what happens then. `apus serve --limit name=value` sets
        one, and so does `BrokerConfiguration.limits` in a program that embeds the broker. Bytes are memory held, not
        payload length: a queued message of one byte holds about 200.
        """

    private static let remarks = """
        Beside them: `--connect-timeout` ends connections that send no CONNECT, `--drain-time` those that take nothing of
        what they are sent, the keep alive those that are silent. Keep alive counts packets, and of a packet that comes
        slowly each 16 KiB; it does not run against a client that the broker does not read from, the drain time does.

        A client that is still owed the retained messages of more than 1,000 filters with wildcards is read from only for its
        acknowledgements; with `filters` more of them a new subscription is refused with 0x97.

        Every drop is counted by cause, for the session and the broker: in `$SYS/broker/publish/messages/dropped/…`, in
        `MQTTBroker.statistics`, in swift-metrics as `apus_dropped`, and in the log, once a second for a session at most.

        | cause | what was dropped |
        |---|---|
        | `queue-full` | QoS 1 or 2 for a session whose queue is full; with `drop-oldest`, the oldest there |
        | `expired` | what had expired before it could be sent |
        | `too-large` | what is larger than the client takes |
        | `qos0-backlog` | QoS 0 for a connection that does not take what it was sent before |
        | `qos0-offline` | QoS 0 for a session without a connection |
        | `no-member` | messages of a shared subscription without a member that may have them |
        | `session-ended` | what was not acknowledged when its session ended |
        | `not-retained` | delivered, and not retained since retained messages are at their limit |
        | `not-forwarded` | copies that a program's `authorizeForward` hook was against |
        | `cleared` | what waited in a queue that the program has emptied (`MQTTBroker.clearQueue`) |
        """
}

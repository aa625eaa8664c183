import ArgumentParser
import MQTTJournal

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

/// `apus store`: what can be done with the data of a broker that is not running.
struct Store: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Check, repair, print or compact the data of a broker that is not running.",
        subcommands: [Check.self, Repair.self, Dump.self, Compact.self]
    )

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Look at every checksum and read all that is there.",
            discussion: "Changes nothing. Ends with 1 and a line for each damage where there is one."
        )

        @Argument(help: "The folder that --data of apus serve names.")
        var directory: String

        func run() throws {
            let (summary, findings) = try Store.explaining(directory) { try JournalTool(directory: directory).check() }
            print(Store.text(summary))
            for finding in findings { print("\(finding.isDamage ? "damaged" : "note"): \(finding)") }
            let damages = findings.count(where: \.isDamage)
            guard damages == 0 else {
                throw CommandFailure("\(directory) is damaged in \(damages) \(damages == 1 ? "place" : "places")")
            }
            print("sound")
        }
    }

    struct Repair: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write all that can be read into a new folder, and say what was dropped.",
            discussion: "The old folder stays as it is. Messages whose acknowledgement was lost are there again."
        )

        @Argument(help: "The folder with the damaged data.")
        var directory: String

        @Argument(help: "The folder to write, which is not there or empty.")
        var target: String

        func run() throws {
            let repair = try Store.explaining(directory) { try JournalTool(directory: directory).repair(to: target) }
            for finding in repair.findings { print("\(finding.isDamage ? "damaged" : "note"): \(finding)") }
            for loss in repair.losses { print("dropped: \(loss)") }
            print("written: \(Store.text(repair.summary))")
        }
    }

    struct Dump: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print all sessions, subscriptions, messages and retained messages, a JSON object a line.",
            discussion: "docs/journal-format.md says what is in them. Ends with 1 where something is damaged."
        )

        @Argument(help: "The folder that --data of apus serve names.")
        var directory: String

        func run() throws {
            var output = StandardOutput()
            let findings = try Store.explaining(directory) {
                let findings = try JournalTool(directory: directory).dump { try output.print($0) }
                try output.flush()
                return findings
            }
            let damages = findings.filter(\.isDamage)
            if let first = damages.first {
                throw CommandFailure(
                    "\(directory) is damaged in \(damages.count) places and not all was printed: \(first)"
                )
            }
        }
    }

    struct Compact: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Rewrite what is live, and remove all else.",
            discussion:
                "A broker does this by itself as it runs; this is for a folder that is to be as small as it can be."
        )

        @Argument(help: "The folder that --data of apus serve names.")
        var directory: String

        func run() throws {
            let (before, after) = try Store.explaining(directory) { try JournalTool(directory: directory).compact() }
            print("\(before) bytes before, \(after) bytes after")
        }
    }

    /// What keeps a command from its data, in one sentence.
    private static func explaining<Result>(_ directory: String, _ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as JournalError {
            throw CommandFailure("cannot use the data in \(directory): \(error)")
        } catch let error as FileError {
            throw CommandFailure("cannot use the data in \(directory): \(error)")
        }
    }

    private static func text(_ summary: JournalSummary) -> String {
        """
        \(summary.segments) segments, \(summary.batches) batches, \(summary.records) records; \
        \(summary.sessions) sessions, \(summary.queued) queued, \(summary.retained) retained; \
        \(summary.liveBytes) of \(summary.totalBytes) bytes live
        """
    }
}

import MQTTStore
import SystemPackage

/// Looks after a journal that no broker has open.
///
/// Everything here waits for the disk, and keeps others from the directory meanwhile.
public struct JournalTool: Sendable {
    private let directory: FilePath
    private let fileSystem: any FileSystem

    /// The journal in a directory. Nothing is read before it is asked for.
    public init(directory: String) { self.init(directory: FilePath(directory), fileSystem: LocalFileSystem()) }

    package init(directory: FilePath, fileSystem: any FileSystem) {
        self.directory = directory
        self.fileSystem = fileSystem
    }

    /// Throws where there is no journal, and where another process has it.
    private func locked<Result>(_ body: () throws -> Result) throws -> Result {
        let lock = try Self.lock(directory, fileSystem)
        defer { withExtendedLifetime(lock) {} }
        return try body()
    }

    private static func lock(_ directory: FilePath, _ fileSystem: any FileSystem) throws -> any File {
        var names: [String] = []
        do throws(FileError) {
            names = try fileSystem.names(in: directory)
        } catch {
            // Where there is no directory, there are no names.
            if !error.isAbsence { throw error }
        }
        guard names.contains(where: { JournalFormat.segmentNumber($0) != nil }) else {
            throw JournalError.noJournal(directory: directory.string)
        }
        return try fileSystem.lockJournal(directory)
    }

    /// Looks at every checksum of every file, and reads all that is live as a broker would. Changes nothing.
    ///
    /// Throws only where files cannot be read at all; what is damaged is in the findings, all of it.
    public func check() throws -> (summary: JournalSummary, findings: [JournalFinding]) {
        try locked {
            var salvage = try Salvage(Survey(directory, fileSystem))
            try salvage.visitLive { _ in }
            return (salvage.summary, salvage.findings)
        }
    }

    /// Writes what can be read of the journal into a new one, in a directory that is not there or empty. The old one
    /// stays as it is.
    ///
    /// An end that is lost comes undone: messages that were acknowledged in a lost batch are there again.
    public func repair(to target: String) throws -> JournalRepair {
        try locked {
            let salvage = try Salvage(Survey(directory, fileSystem))
            return try JournalRepair(of: salvage, to: FilePath(target), fileSystem)
        }
    }

    /// Calls `line` with all that is live, an object of JSON each; docs/journal-format.md says which. Changes nothing.
    ///
    /// What is damaged is left out, and is in the findings that are returned.
    public func dump(_ line: (String) throws -> Void) throws -> [JournalFinding] {
        try locked {
            let salvage = try Salvage(Survey(directory, fileSystem))
            try JournalDump(salvage.index).run(line)
            return salvage.findings
        }
    }

    /// Copies what is live into new files and removes the old ones; the bytes of all files before and after.
    ///
    /// The directory has to have room for a file of the journal, which may be one that a broker has set aside there.
    public func compact() throws -> (bytesBefore: Int, bytesAfter: Int) {
        _ = try locked {}
        var options = JournalLog.Options()
        options.entropy = UInt64.random(in: .min ... .max)
        let before: Int
        do {
            let (log, _) = try JournalLog.open(directory, options: options, fileSystem: fileSystem)
            before = log.statistics.totalBytes
            try log.compactAll()
        }
        // Opened again, it has no files that were set aside and no room behind the last batch.
        let (log, _) = try JournalLog.open(directory, options: options, fileSystem: fileSystem)
        return (before, log.statistics.totalBytes)
    }
}

extension FileSystem {
    /// Keeps others from the journal in a directory.
    func lockJournal(_ directory: FilePath) throws -> any File {
        do throws(FileError) {
            return try lock(directory.appending("lock"))
        } catch let error where error.code == Errno.wouldBlock.rawValue {
            throw JournalError.inUse(directory: directory.string)
        }
    }
}

extension FileError {
    /// Whether there is no such directory.
    var isAbsence: Bool { code == Errno.noSuchFileOrDirectory.rawValue || code == Errno.notDirectory.rawValue }
}

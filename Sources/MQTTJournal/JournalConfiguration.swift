/// How a journal is kept.
public struct JournalConfiguration: Sendable {
    /// When a commit returns.
    public enum Durability: String, Sendable {
        /// When the disk has it: it survives a loss of power.
        case synced
        /// When the system has it: it survives the end of the process, but not that of the machine, after which the
        /// journal may be found damaged.
        case written
    }

    /// When a commit returns.
    public var durability = Durability.synced
    /// The size of a file of the journal, in bytes, at least 4,096. All files together take at most four times as much,
    /// and three times what is live; and what `reserveBytes` is beyond a file.
    public var segmentBytes: Int = 64 << 20
    /// Bytes that are set aside so that sessions can still drain where the disk is full; at least a segment is.
    ///
    /// A batch that is larger waits there until somebody else makes room. The broker's batches are at most of the limits
    /// `uncommittedBytesInAllMax` and `packetBytesMax` together, of which the default is the sum.
    public var reserveBytes: Int = 56 << 20

    /// The defaults.
    public init() {}

    /// For the messages of one client: 16 MiB of disk where nothing waits.
    public static var client: JournalConfiguration {
        var configuration = JournalConfiguration()
        configuration.segmentBytes = 4 << 20
        configuration.reserveBytes = 4 << 20
        return configuration
    }
}

/// Why a journal cannot be used.
public enum JournalError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Bytes that were once written whole are not what they were, at this offset of this file.
    case damaged(file: String, offset: Int)
    /// A file is not there, though neither this journal nor the end of a process can have taken it away.
    case missing(file: String)
    /// A later version of the broker wrote the file.
    case unknownVersion(file: String, version: UInt32)
    /// Another process, or another journal of this one, has the directory open.
    case inUse(directory: String)
    /// There is no journal in this directory, or no directory.
    case noJournal(directory: String)
    /// A directory that is to be new has something in it.
    case notEmpty(directory: String)
    /// It was not opened, was closed, or could not make a change last before.
    case notOpen

    /// What a log says of it.
    public var description: String {
        switch self {
        case .damaged(let file, let offset): "\(file) is damaged at byte \(offset)"
        case .missing(let file): "\(file) is missing"
        case .unknownVersion(let file, let version): "\(file) has version \(version) of the format, which is unknown"
        case .inUse(let directory): "\(directory) is in use by another process"
        case .noJournal(let directory): "there is no journal in \(directory)"
        case .notEmpty(let directory): "\(directory) is not empty"
        case .notOpen: "the journal is not open"
        }
    }
}

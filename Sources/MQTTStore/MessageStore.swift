/// Where what the broker acknowledges is kept.
///
/// The broker calls `open` first, then `commit` with one batch at a time, in order, and acknowledges nothing in a batch
/// before it has returned; `messages` at any time, also during a commit; and `close` last.
public protocol MessageStore: Sendable {
    /// Whether changes outlive the process. A store that keeps nothing is not asked to.
    var isDurable: Bool { get }

    /// Where the broker does its part of a commit, which is little: a store with a thread of its own spares two changes of
    /// threads for each batch when it says so. Nil where it does not matter.
    var executor: (any TaskExecutor)? { get }

    /// All that was committed before. Throws where it cannot be read: then the broker does not start.
    func open() async throws -> StoredState

    /// Messages that are not over, as many pages as are asked for and in that order: of each session those from the first
    /// that is at least the page's `number`, in the order of their numbers, at most `count`, and no more once they have
    /// `bytes` together. Empty where there is none.
    ///
    /// Pages of many sessions come together, so that a store that has their messages side by side reads them once.
    func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]]

    /// Commits all changes or, where it throws, none. A store that has thrown is not used any further.
    func commit(_ changes: [StoreChange]) async throws

    /// Figures for `$SYS`, metrics and the log.
    var statistics: StoreStatistics { get }

    /// Nothing is committed any more.
    func close() async
}

/// Some of a session's messages, to be read.
public struct StoredPage: Sendable, Hashable {
    /// Of the session.
    public var incarnation: UInt64
    /// Messages with smaller numbers are not wanted.
    public var number: UInt64
    /// At most so many messages.
    public var count: Int
    /// No more once they have so many bytes together, as `Message.encodedBytes` counts.
    public var bytes: Int

    /// All of it.
    public init(incarnation: UInt64, number: UInt64, count: Int, bytes: Int) {
        self.incarnation = incarnation
        self.number = number
        self.count = count
        self.bytes = bytes
    }
}

/// What a store says of itself. Counted since it was opened.
public struct StoreStatistics: Sendable, Equatable {
    /// Batches that were committed, and changes in them.
    public var commits: UInt64 = 0
    /// Changes in all batches.
    public var changes: UInt64 = 0
    /// Microseconds that all commits waited for the disk or the server.
    public var syncMicroseconds: UInt64 = 0
    /// The longest of these waits since the figures were last asked for.
    public var syncMicrosecondsMax: UInt64 = 0
    /// Bytes that hold something which is not over, and all bytes.
    public var liveBytes: Int = 0
    /// Bytes of all that is kept.
    public var totalBytes: Int = 0
    /// Whether there is room only for what lets sessions drain: the broker holds back new messages, subscriptions and
    /// sessions until this is false again.
    public var isFull = false
    /// What cannot be read or written any more, for the log; nil where all is well.
    public var lastFailure: String?

    /// All zero.
    public init() {}
}

extension MessageStore {
    /// A store that counts nothing.
    public var statistics: StoreStatistics { StoreStatistics() }

    /// Anywhere.
    public var executor: (any TaskExecutor)? { nil }

    /// A store that holds nothing open.
    public func close() async {}
}

/// Keeps nothing: sessions last as long as the process.
public struct VolatileStore: MessageStore {
    /// A store that keeps nothing.
    public init() {}

    /// False: nothing waits for this store.
    public var isDurable: Bool { false }

    /// Nothing.
    public func open() async throws -> StoredState { StoredState() }

    /// None.
    public func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]] { pages.map { _ in [] } }

    /// Does nothing.
    public func commit(_ changes: [StoreChange]) async throws {}
}

import MQTTStore
import NIOCore
import NIOPosix
import Synchronization
import SystemPackage

/// Keeps what the broker acknowledges in an append-only log of its own, in a directory of the local file system.
///
/// A commit returns once the disk has all of it; batches that come while the disk is at work are the broker's to put
/// together. Where the disk is full, `commit` waits until there is room again. A disk that fails is final: every later
/// commit throws.
///
/// Files are written on a thread of their own, and messages read on another.
public actor Journal: MessageStore {
    /// Before it is looked again whether a full disk has room.
    private static let fullPause = Duration.milliseconds(100)

    private let directory: FilePath
    private let options: JournalLog.Options
    private let fileSystem: any FileSystem
    private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let readers = NIOThreadPool(numberOfThreads: 1)
    private let loop: any EventLoop
    private let snapshot = Mutex(StoreStatistics())
    private var log: JournalLog?
    private var tidying: Task<Void, any Error>?
    private var isCommitting = false

    /// On the journal's own thread, since it waits for the disk.
    public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.executor.asUnownedSerialExecutor() }

    /// The same thread.
    public nonisolated var executor: (any TaskExecutor)? { JournalExecutor(loop: loop) }

    /// A journal in a directory, which `open` makes where it is not there.
    public init(directory: String, configuration: JournalConfiguration = JournalConfiguration()) {
        self.init(directory: directory, configuration: configuration, fileSystem: LocalFileSystem())
    }

    package init(directory: String, configuration: JournalConfiguration, fileSystem: any FileSystem) {
        self.directory = FilePath(directory)
        self.fileSystem = fileSystem
        var options = JournalLog.Options()
        options.segmentBytes = max(4_096, min(configuration.segmentBytes, 1 << 30))
        options.reserveBytes = configuration.reserveBytes
        options.syncs = configuration.durability == .synced
        options.entropy = UInt64.random(in: .min ... .max)
        self.options = options
        loop = group.next()
        readers.start()
    }

    deinit {
        group.shutdownGracefully { _ in }
        readers.shutdownGracefully { _ in }
    }

    /// True.
    public nonisolated var isDurable: Bool { true }

    /// Throws a `JournalError` where the journal is damaged or in use.
    public func open() throws -> StoredState {
        let (log, state) = try JournalLog.open(directory, options: options, fileSystem: fileSystem)
        try log.prepare()
        self.log = log
        publish()
        tidying = Task { [weak self] in
            var pause = Duration.seconds(1)
            while true {
                try await Task.sleep(for: pause)
                guard let self else { return }
                pause = try await self.tidy()
            }
        }
        return state
    }

    /// Waits while even the reserve of a full disk has no room; a cancelled task stops waiting, and nothing of the batch
    /// is kept.
    public func commit(_ changes: [StoreChange]) async throws {
        isCommitting = true
        defer { isCommitting = false }
        while true {
            guard let log else { throw JournalError.notOpen }
            do {
                defer { publish() }
                return try log.commit(changes)
            } catch let error as FileError where error.isFull && !log.hasFailed {
                // Room may come from what is over or from outside.
                if try !makeRoom(log) { try await Task.sleep(for: Self.fullPause) }
            }
        }
    }

    /// Compacts, into the reserve if need be, as long as that frees a file; false where it does not.
    private func makeRoom(_ log: JournalLog) throws -> Bool {
        let before = log.statistics.totalBytes
        do {
            while try log.heal() {
                if log.statistics.totalBytes < before { return true }
            }
        } catch let error as FileError where error.isFull && !log.hasFailed {
            return false
        }
        return false
    }

    /// When nothing is committed, compaction goes on by itself, a step at a time; how long there is nothing to do then.
    private func tidy() async throws -> Duration {
        while !isCommitting, let log, !log.hasFailed, try step(log) { await Task.yield() }
        return log?.isFull == true ? Self.fullPause : .seconds(1)
    }

    private func step(_ log: JournalLog) throws -> Bool {
        defer { publish() }
        do {
            if log.isFull { return try log.heal() }
            return log.compactionFailure == nil ? try log.compact() : false
        } catch let error as FileError where error.isFull && !log.hasFailed {
            return false
        }
    }

    private func publish() {
        guard let log else { return }
        var statistics = log.statistics
        snapshot.withLock { last in
            statistics.syncMicrosecondsMax = max(last.syncMicrosecondsMax, statistics.syncMicrosecondsMax)
            last = statistics
        }
        log.forgetLongestWait()
    }

    /// Figures as of the last commit.
    public nonisolated var statistics: StoreStatistics {
        snapshot.withLock { statistics in
            defer { statistics.syncMicrosecondsMax = 0 }
            return statistics
        }
    }

    /// Looks up where the messages stand, and reads them on another thread than commits are written on, all in the order
    /// in which they stand in the files.
    public func messages(_ pages: [StoredPage]) async throws -> [[StoredMessage]] {
        let places = try places(of: pages)
        return try await readers.runIfActive { try places.read() }
    }

    private func places(of pages: [StoredPage]) throws -> JournalPlaces {
        guard let log else { throw JournalError.notOpen }
        return JournalPlaces(of: pages, in: log.index)
    }

    /// Lets others have the directory.
    public func close() async {
        tidying?.cancel()
        // It may hold the log while it lets others go first.
        _ = await tidying?.result
        tidying = nil
        log = nil
    }
}

import Foundation
import MQTTJournal
import MQTTTesting
import Synchronization
import SystemPackage

/// The local file system, in which every sync waits for as long as the test says.
final class HeldFileSystem: FileSystem {
    private let local = LocalFileSystem()
    fileprivate let gate = Gate()

    /// From now on syncs wait.
    func hold() { gate.close() }
    /// Those that wait go on, and none waits any more.
    func release() { gate.open() }
    /// Comes back once a sync waits.
    func nextWait() async throws {
        let waits = gate.waits
        try await within("a sync") { for await _ in waits { return } }
    }

    func makeDirectory(_ path: FilePath) throws(FileError) { try local.makeDirectory(path) }
    func names(in directory: FilePath) throws(FileError) -> [String] { try local.names(in: directory) }
    func remove(_ path: FilePath) throws(FileError) { try local.remove(path) }
    func rename(_ path: FilePath, to target: FilePath) throws(FileError) { try local.rename(path, to: target) }
    func lock(_ path: FilePath) throws(FileError) -> any File { try local.lock(path) }

    func open(_ path: FilePath, creates: Bool) throws(FileError) -> any File {
        HeldFile(try local.open(path, creates: creates), gate)
    }

    func syncDirectory(_ path: FilePath) throws(FileError) {
        gate.pass()
        try local.syncDirectory(path)
    }
}

private final class HeldFile: File {
    private let file: any File
    private let gate: Gate

    init(_ file: any File, _ gate: Gate) {
        self.file = file
        self.gate = gate
    }

    var bytes: Int { get throws(FileError) { try file.bytes } }

    func read(at offset: Int, into target: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        try file.read(at: offset, into: target)
    }

    func write(_ source: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        try file.write(source, at: offset)
    }

    func allocate(_ bytes: Int) throws(FileError) { try file.allocate(bytes) }
    func truncate(to bytes: Int) throws(FileError) { try file.truncate(to: bytes) }

    func sync() throws(FileError) {
        gate.pass()
        try file.sync()
    }
}

/// Blocks the thread that passes while it is closed: the journal's own, which has nothing else to do.
private final class Gate: Sendable {
    let waits: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    private let condition = NSCondition()
    private let isClosed = Atomic<Bool>(false)

    init() { (waits, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1)) }

    func close() { condition.withLock { isClosed.store(true, ordering: .relaxed) } }

    func open() {
        condition.withLock {
            isClosed.store(false, ordering: .relaxed)
            condition.broadcast()
        }
    }

    func pass() {
        condition.withLock {
            while isClosed.load(ordering: .relaxed) {
                continuation.yield()
                condition.wait()
            }
        }
    }
}

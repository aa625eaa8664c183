import MQTTJournal
import Synchronization
import SystemPackage

/// A file system in memory that loses power under a seed.
///
///     write ──▶ what everybody reads      sync ──▶ what outlives a crash
///                     │                                 ▲
///                     └── pending, in order ── crash ───┘ some, torn, in another order, or none
///
/// Names in directories go the same way, with `syncDirectory`. The same seed and the same calls have the same outcome.
final class SimulatedFileSystem: FileSystem {
    let state: Mutex<SimulatedDisk>

    init(seed: UInt64, capacityBytes: Int = .max) {
        state = Mutex(SimulatedDisk(seed: seed, capacityBytes: capacityBytes))
    }

    /// Another disk with the same on it.
    init(copying other: SimulatedFileSystem) { state = Mutex(other.state.withLock { $0 }) }

    /// From the call after so many on none succeeds, until `crash`. What the call does may have been done nonetheless.
    func crashAfter(calls: Int) { state.withLock { $0.callsBeforeCrash = calls } }

    /// Loses power, and has it again: who has a file open cannot use it any more, and nothing is locked.
    func crash() { state.withLock { $0.crash() } }

    /// The process ends and another begins: nothing is lost, and nothing that was not synced is durable for that.
    func restart() { state.withLock { $0.restart() } }

    /// Nothing that was to fail does.
    func calmDown() { state.withLock { $0.calmDown() } }

    /// So many bytes are there in all from now on.
    func setCapacity(_ bytes: Int) { state.withLock { $0.capacityBytes = bytes } }

    /// The sync after so many fails: what it should have made last may be lost, though the next one reports success.
    func failSync(after count: Int) { state.withLock { $0.syncsBeforeFailure = count } }

    /// The write after so many fails, and has written a part.
    func failWrite(after count: Int) { state.withLock { $0.writesBeforeFailure = count } }

    /// Flips a bit of what would outlive a crash and is read.
    func flipBit(_ path: FilePath, at bit: Int) { state.withLock { $0.flipBit(path, at: bit) } }

    /// The calls so far.
    var calls: Int { state.withLock { $0.calls } }
    /// The bytes that are taken.
    var bytesTaken: Int { state.withLock { $0.bytesTaken } }
    /// What was called, for the log of a failure.
    var log: [String] { state.withLock { $0.log } }

    func makeDirectory(_ path: FilePath) throws(FileError) {
        try call(.makeDirectory, path) { disk throws(FileError) in disk.makeDirectory(path) }
    }

    func names(in directory: FilePath) throws(FileError) -> [String] {
        try call(.list, directory) { disk throws(FileError) in try disk.names(in: directory) }
    }

    func open(_ path: FilePath, creates: Bool) throws(FileError) -> any File {
        let (node, generation) = try call(creates ? .create : .open, path) { disk throws(FileError) in
            (try disk.open(path, creates: creates), disk.generation)
        }
        return SimulatedFile(self, path, node: node, generation: generation, locks: false)
    }

    func remove(_ path: FilePath) throws(FileError) {
        try call(.remove, path) { disk throws(FileError) in try disk.remove(path) }
    }

    func rename(_ path: FilePath, to target: FilePath) throws(FileError) {
        try call(.rename, path) { disk throws(FileError) in try disk.rename(path, to: target) }
    }

    func syncDirectory(_ path: FilePath) throws(FileError) {
        try call(.sync, path) { disk throws(FileError) in try disk.syncDirectory(path) }
    }

    func lock(_ path: FilePath) throws(FileError) -> any File {
        let (node, generation) = try call(.lock, path) { disk throws(FileError) in
            (try disk.lock(path), disk.generation)
        }
        return SimulatedFile(self, path, node: node, generation: generation, locks: true)
    }

    /// Counts the call, and has the power go away before it, after it or during it where it is time.
    fileprivate func call<Result: Sendable>(
        _ operation: FileError.Operation,
        _ path: FilePath,
        _ body: (inout SimulatedDisk) throws(FileError) -> Result
    ) throws(FileError) -> Result {
        try state.withLock { disk throws(FileError) in
            disk.calls += 1
            disk.log.append("\(disk.calls) \(operation) \(path.lastComponent?.string ?? "")")
            guard let left = disk.callsBeforeCrash else { return try body(&disk) }
            if left > 0 {
                disk.callsBeforeCrash = left - 1
                return try body(&disk)
            }
            if !disk.isDown {
                disk.isDown = true
                if disk.random.oneIn(2) { _ = try body(&disk) }
            }
            throw FileError(operation, path.string, code: FileError.crashCode)
        }
    }
}

extension FileError {
    /// No error of a real system.
    static let crashCode: CInt = 9_999

    /// Whether the power went away.
    var isCrash: Bool { code == Self.crashCode }
}

/// An open file, or a lock.
private final class SimulatedFile: File {
    private let fileSystem: SimulatedFileSystem
    private let path: FilePath
    private let node: Int
    private let generation: Int
    private let locks: Bool

    init(_ fileSystem: SimulatedFileSystem, _ path: FilePath, node: Int, generation: Int, locks: Bool) {
        self.fileSystem = fileSystem
        self.path = path
        self.node = node
        self.generation = generation
        self.locks = locks
    }

    deinit {
        if locks { fileSystem.state.withLock { $0.unlock(path, generation: generation) } }
    }

    private func call<Result: Sendable>(
        _ operation: FileError.Operation,
        _ body: (inout SimulatedDisk) throws(FileError) -> Result
    ) throws(FileError) -> Result {
        try fileSystem.call(operation, path) { disk throws(FileError) in
            guard disk.generation == generation else {
                throw FileError(operation, path.string, code: Errno.badFileDescriptor.rawValue)
            }
            return try body(&disk)
        }
    }

    var bytes: Int {
        get throws(FileError) { try call(.size) { disk throws(FileError) in disk.nodes[node].current.count } }
    }

    func read(at offset: Int, into target: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        let part = try call(.read) { disk throws(FileError) in
            let current = disk.nodes[node].current
            let start = min(offset, current.count)
            return Array(current[start..<min(current.count, start + target.count)])
        }
        target.copyBytes(from: part)
        return part.count
    }

    func write(_ source: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        let bytes = Array(source)
        try call(.write) { disk throws(FileError) in try disk.write(bytes, at: offset, node: node, path) }
    }

    func allocate(_ bytes: Int) throws(FileError) {
        try call(.allocate) { disk throws(FileError) in try disk.allocate(bytes, node: node, path) }
    }

    func truncate(to bytes: Int) throws(FileError) {
        try call(.truncate) { disk throws(FileError) in disk.change(node, .size(bytes)) }
    }

    func sync() throws(FileError) {
        try call(.sync) { disk throws(FileError) in try disk.sync(node, path) }
    }
}

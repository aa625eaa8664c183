import MQTTJournal
import MQTTPackets
import MQTTStore
import MQTTStoreTesting
import NIOCore
import Synchronization
import SystemPackage

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A directory that goes with the test.
final class TemporaryDirectory: Sendable {
    let path: FilePath

    init() throws {
        // Every POSIX system has this folder for all; mkdtemp fills in the name, and what it makes goes with the test.
        var template = Array("/tmp/apus-journal-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw FileError(.makeDirectory, "/tmp", code: errno) }
        path = FilePath(String(cString: made))
    }

    deinit { try? Self.remove(path) }

    static func remove(_ path: FilePath) throws {
        let files = LocalFileSystem()
        for name in try files.names(in: path) { try files.remove(path.appending(name)) }
        _ = path.withPlatformString { rmdir($0) }
    }

    var segments: [String] {
        get throws { try LocalFileSystem().names(in: path).filter { $0.hasSuffix(".journal") }.sorted() }
    }

    func bytes(_ name: String) throws -> [UInt8] {
        let file = try LocalFileSystem().open(path.appending(name), creates: false)
        var bytes = [UInt8](repeating: 0, count: try file.bytes)
        let count = try bytes.withUnsafeMutableBytes { try file.read(at: 0, into: $0) }
        return Array(bytes[..<count])
    }

    func write(_ bytes: [UInt8], to name: String, at offset: Int = 0) throws {
        let file = try LocalFileSystem().open(path.appending(name), creates: false)
        try bytes.withUnsafeBytes { try file.write($0, at: offset) }
    }

    func check() throws -> (summary: JournalSummary, findings: [JournalFinding]) {
        try JournalTool(directory: path.string).check()
    }

    func copy() throws -> TemporaryDirectory {
        let copy = try TemporaryDirectory()
        for name in try segments {
            let file = try LocalFileSystem().open(copy.path.appending(name), creates: true)
            try bytes(name).withUnsafeBytes { try file.write($0, at: 0) }
        }
        return copy
    }
}

extension JournalLog {
    static func open(_ directory: TemporaryDirectory, segmentBytes: Int = 4_096) throws -> (JournalLog, StoredState) {
        var options = Options()
        options.segmentBytes = segmentBytes
        let opened = try open(directory.path, options: options, fileSystem: LocalFileSystem())
        return (opened.log, opened.state)
    }

    /// What differs from what it should hold.
    func differences(from contents: StoreContents, state: StoredState? = nil) throws -> [String] {
        var differences: [String] = []
        if let state { differences += contents.differences(from: state) }
        for incarnation in contents.sessions.keys.sorted() {
            let found = try messages(of: incarnation, from: 0, count: .max, bytes: .max)
            differences += contents.differences(
                fromPage: found,
                of: incarnation,
                from: 0,
                count: .max,
                bytes: .max
            )
        }
        return differences
    }
}

/// A file system that runs full and fails when it is told to.
final class FailingFileSystem: FileSystem {
    struct Plan {
        /// Bytes that can be written or set aside still; what is removed is given back.
        var room = Int.max
        var failsSyncs = false
        var bytesRead = 0
        /// By the number of the file.
        var sizes: [Int] = []
        var numbers: [String: Int] = [:]
    }

    private let local = LocalFileSystem()
    let plan = Mutex(Plan())

    func makeDirectory(_ path: FilePath) throws(FileError) { try local.makeDirectory(path) }
    func names(in directory: FilePath) throws(FileError) -> [String] { try local.names(in: directory) }

    func open(_ path: FilePath, creates: Bool) throws(FileError) -> any File {
        let file = try local.open(path, creates: creates)
        let bytes = try file.bytes
        let number = plan.withLock { plan in
            if let number = plan.numbers[path.string] { return number }
            plan.sizes.append(bytes)
            plan.numbers[path.string] = plan.sizes.count - 1
            return plan.sizes.count - 1
        }
        return FailingFile(self, path.string, file, number)
    }

    func remove(_ path: FilePath) throws(FileError) {
        try local.remove(path)
        plan.withLock { plan in
            guard let number = plan.numbers.removeValue(forKey: path.string), plan.room != .max else { return }
            plan.room += plan.sizes[number]
        }
    }

    func rename(_ path: FilePath, to target: FilePath) throws(FileError) {
        try local.rename(path, to: target)
        plan.withLock { plan in
            plan.numbers[target.string] = plan.numbers.removeValue(forKey: path.string)
        }
    }

    func syncDirectory(_ path: FilePath) throws(FileError) { try local.syncDirectory(path) }
    func lock(_ path: FilePath) throws(FileError) -> any File { try local.lock(path) }

    func grow(_ path: String, _ number: Int, to bytes: Int) throws(FileError) {
        let isFull = plan.withLock { plan in
            let more = bytes - plan.sizes[number]
            if more <= 0 { return false }
            if more > plan.room { return true }
            if plan.room != .max { plan.room -= more }
            plan.sizes[number] = bytes
            return false
        }
        if isFull { throw FileError(.write, path, code: Errno.noSpace.rawValue) }
    }

    func shrink(_ number: Int, to bytes: Int) {
        plan.withLock { plan in
            let less = plan.sizes[number] - bytes
            guard less > 0, plan.room != .max else { return }
            plan.room += less
            plan.sizes[number] = bytes
        }
    }
}

private final class FailingFile: File {
    let system: FailingFileSystem
    let path: String
    let file: any File
    let number: Int

    init(_ system: FailingFileSystem, _ path: String, _ file: any File, _ number: Int) {
        self.number = number
        self.system = system
        self.path = path
        self.file = file
    }

    var bytes: Int { get throws(FileError) { try file.bytes } }

    func read(at offset: Int, into target: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        let count = try file.read(at: offset, into: target)
        system.plan.withLock { $0.bytesRead += count }
        return count
    }

    func write(_ source: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        // Half of it arrives.
        let half = UnsafeRawBufferPointer(rebasing: source[..<(source.count / 2)])
        try file.write(half, at: offset)
        try system.grow(path, number, to: offset + source.count)
        try file.write(source, at: offset)
    }

    func allocate(_ bytes: Int) throws(FileError) {
        try system.grow(path, number, to: bytes)
        try file.allocate(bytes)
    }

    func truncate(to bytes: Int) throws(FileError) {
        try file.truncate(to: bytes)
        system.shrink(number, to: bytes)
    }

    func sync() throws(FileError) {
        if system.plan.withLock(\.failsSyncs) { throw FileError(.sync, path, code: Errno.ioError.rawValue) }
        try file.sync()
    }
}

import MQTTJournal
import Synchronization
import SystemPackage

/// A file system of the machine's with room for so many bytes.
final class SmallDisk: FileSystem {
    private struct State {
        var room: Int
        /// By the number of the file, which keeps it when it is renamed.
        var bytes: [Int] = []
        var numbers: [FilePath: Int] = [:]
    }

    private let local = LocalFileSystem()
    private let state: Mutex<State>

    init(room: Int) { state = Mutex(State(room: room)) }

    func makeDirectory(_ path: FilePath) throws(FileError) { try local.makeDirectory(path) }
    func names(in directory: FilePath) throws(FileError) -> [String] { try local.names(in: directory) }

    func open(_ path: FilePath, creates: Bool) throws(FileError) -> any File {
        let file = try local.open(path, creates: creates)
        let number = state.withLock { state in
            if let number = state.numbers[path] { return number }
            state.bytes.append(0)
            state.numbers[path] = state.bytes.count - 1
            return state.bytes.count - 1
        }
        return SmallDiskFile(self, path, number, file)
    }

    func remove(_ path: FilePath) throws(FileError) {
        try local.remove(path)
        state.withLock { state in
            guard let number = state.numbers.removeValue(forKey: path) else { return }
            state.room += state.bytes[number]
        }
    }

    func rename(_ path: FilePath, to target: FilePath) throws(FileError) {
        try local.rename(path, to: target)
        state.withLock { $0.numbers[target] = $0.numbers.removeValue(forKey: path) }
    }

    func syncDirectory(_ path: FilePath) throws(FileError) { try local.syncDirectory(path) }
    func lock(_ path: FilePath) throws(FileError) -> any File { try local.lock(path) }

    fileprivate func grow(_ path: FilePath, _ number: Int, to bytes: Int) throws(FileError) {
        let fits = state.withLock { state in
            let more = bytes - state.bytes[number]
            guard more > 0 else { return true }
            guard more <= state.room else { return false }
            state.room -= more
            state.bytes[number] = bytes
            return true
        }
        if !fits { throw FileError(.write, path.string, code: Errno.noSpace.rawValue) }
    }

    fileprivate func shrink(_ number: Int, to bytes: Int) {
        state.withLock { state in
            let less = state.bytes[number] - bytes
            guard less > 0 else { return }
            state.room += less
            state.bytes[number] = bytes
        }
    }
}

private final class SmallDiskFile: File {
    private let disk: SmallDisk
    private let path: FilePath
    private let number: Int
    private let file: any File

    init(_ disk: SmallDisk, _ path: FilePath, _ number: Int, _ file: any File) {
        self.disk = disk
        self.path = path
        self.number = number
        self.file = file
    }

    var bytes: Int { get throws(FileError) { try file.bytes } }

    func read(at offset: Int, into target: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        try file.read(at: offset, into: target)
    }

    func write(_ source: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        try disk.grow(path, number, to: offset + source.count)
        try file.write(source, at: offset)
    }

    func allocate(_ bytes: Int) throws(FileError) {
        try disk.grow(path, number, to: bytes)
        try file.allocate(bytes)
    }

    func truncate(to bytes: Int) throws(FileError) {
        try file.truncate(to: bytes)
        disk.shrink(number, to: bytes)
    }

    func sync() throws(FileError) { try file.sync() }
}

import SystemPackage

#if canImport(Darwin)
import Darwin
#elseif canImport(Musl)
import Musl
#elseif canImport(Glibc)
import Glibc
#endif

/// The file system of the machine.
package struct LocalFileSystem: FileSystem {
    package init() {}

    package func makeDirectory(_ path: FilePath) throws(FileError) {
        var status = stat()
        if path.isEmpty || path.withPlatformString({ stat($0, &status) }) == 0 { return }
        let parent = path.removingLastComponent()
        try makeDirectory(parent)
        guard path.withPlatformString({ mkdir($0, 0o700) }) == 0 || errno == EEXIST else {
            throw FileError(.makeDirectory, path.string, code: errno)
        }
        try syncDirectory(parent.isEmpty ? "." : parent)
    }

    package func names(in directory: FilePath) throws(FileError) -> [String] {
        guard let stream = directory.withPlatformString({ opendir($0) }) else {
            throw FileError(.list, directory.string, code: errno)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: tuple.pointee)) {
                    String(cString: $0)
                }
            }
            if name != "." && name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw FileError(.list, directory.string, code: errno) }
        return names
    }

    package func open(_ path: FilePath, creates: Bool) throws(FileError) -> any File {
        let flags = O_RDWR | O_CLOEXEC | (creates ? O_CREAT | O_EXCL : 0)
        return try LocalFile(path, flags, creates ? .create : .open)
    }

    package func remove(_ path: FilePath) throws(FileError) {
        guard path.withPlatformString({ unlink($0) }) == 0 else {
            throw FileError(.remove, path.string, code: errno)
        }
    }

    package func rename(_ path: FilePath, to target: FilePath) throws(FileError) {
        let result = path.withPlatformString { old in
            target.withPlatformString { new in renameat(AT_FDCWD, old, AT_FDCWD, new) }
        }
        guard result == 0 else { throw FileError(.rename, path.string, code: errno) }
    }

    package func syncDirectory(_ path: FilePath) throws(FileError) {
        let directory = try LocalFile(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY, .open)
        guard fsync(directory.descriptor) == 0 else { throw FileError(.sync, path.string, code: errno) }
    }

    package func lock(_ path: FilePath) throws(FileError) -> any File {
        let file = try LocalFile(path, O_RDWR | O_CREAT | O_CLOEXEC, .lock)
        guard flock(file.descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw FileError(.lock, path.string, code: errno)
        }
        return file
    }
}

private final class LocalFile: File {
    let descriptor: CInt
    private let path: String

    init(_ path: FilePath, _ flags: CInt, _ operation: FileError.Operation) throws(FileError) {
        self.path = path.string
        descriptor = try Self.retrying(operation, path.string) {
            path.withPlatformString { SystemOpen.open($0, flags) }
        }
    }

    deinit { close(descriptor) }

    /// Repeats what a signal has interrupted.
    private static func retrying<Result: SignedInteger>(
        _ operation: FileError.Operation,
        _ path: String,
        _ body: () -> Result
    ) throws(FileError) -> Result {
        while true {
            let result = body()
            if result >= 0 { return result }
            guard errno == EINTR else { throw FileError(operation, path, code: errno) }
        }
    }

    var bytes: Int {
        get throws(FileError) {
            var status = stat()
            _ = try Self.retrying(.size, path) { fstat(descriptor, &status) }
            return Int(status.st_size)
        }
    }

    func read(at offset: Int, into target: UnsafeMutableRawBufferPointer) throws(FileError) -> Int {
        guard let base = target.baseAddress else { return 0 }
        var done = 0
        while done < target.count {
            let part = try Self.retrying(.read, path) {
                pread(descriptor, base + done, target.count - done, off_t(offset + done))
            }
            if part == 0 { break }
            done += part
        }
        return done
    }

    func write(_ source: UnsafeRawBufferPointer, at offset: Int) throws(FileError) {
        guard let base = source.baseAddress else { return }
        var done = 0
        while done < source.count {
            done += try Self.retrying(.write, path) {
                pwrite(descriptor, base + done, source.count - done, off_t(offset + done))
            }
        }
    }

    func allocate(_ bytes: Int) throws(FileError) {
        #if canImport(Darwin)
        var store = fstore_t(
            fst_flags: UInt32(F_ALLOCATEALL),
            fst_posmode: F_PEOFPOSMODE,
            fst_offset: 0,
            fst_length: off_t(bytes),
            fst_bytesalloc: 0
        )
        _ = try Self.retrying(.allocate, path) { fcntl(descriptor, F_PREALLOCATE, &store) }
        #else
        let code = posix_fallocate(descriptor, 0, off_t(bytes))
        guard code == 0 else { throw FileError(.allocate, path, code: code) }
        #endif
    }

    func truncate(to bytes: Int) throws(FileError) {
        _ = try Self.retrying(.truncate, path) { ftruncate(descriptor, off_t(bytes)) }
    }

    func sync() throws(FileError) {
        #if canImport(Darwin)
        _ = try Self.retrying(.sync, path) { fcntl(descriptor, F_FULLFSYNC) }
        #else
        // What a signal has interrupted is not tried again: a second call would not tell what the first has lost.
        guard fdatasync(descriptor) == 0 else { throw FileError(.sync, path, code: errno) }
        #endif
    }
}

/// `open` of the C library by a name that the methods around it do not hide.
private enum SystemOpen {
    static func open(_ path: UnsafePointer<CChar>, _ flags: CInt) -> CInt {
        #if canImport(Darwin)
        Darwin.open(path, flags, 0o600)
        #elseif canImport(Musl)
        Musl.open(path, flags, 0o600)
        #else
        Glibc.open(path, flags, 0o600)
        #endif
    }
}

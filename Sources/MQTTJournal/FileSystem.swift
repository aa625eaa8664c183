import SystemPackage

/// The calls that the journal makes of a file system, so that a simulated one can stand in for the real one.
///
/// Nothing is asynchronous: who calls is on a thread of its own.
package protocol FileSystem: Sendable {
    /// Makes a directory, and those above it, if it is not there; whoever holds it is synced.
    func makeDirectory(_ path: FilePath) throws(FileError)
    /// The names in a directory, without `.` and `..`, in no order.
    func names(in directory: FilePath) throws(FileError) -> [String]
    /// Opens a file for reading and writing; with `creates`, a new one, which must not be there.
    func open(_ path: FilePath, creates: Bool) throws(FileError) -> any File
    func remove(_ path: FilePath) throws(FileError)
    func rename(_ path: FilePath, to target: FilePath) throws(FileError)
    /// Makes what was created, renamed and removed in a directory last.
    func syncDirectory(_ path: FilePath) throws(FileError)
    /// Keeps everybody else from the same lock for as long as the file is open. Throws where somebody has it.
    func lock(_ path: FilePath) throws(FileError) -> any File
}

/// An open file. It closes with its last reference.
package protocol File: AnyObject, Sendable {
    var bytes: Int { get throws(FileError) }
    /// Fills the buffer from `offset` on; how many bytes there were.
    func read(at offset: Int, into target: UnsafeMutableRawBufferPointer) throws(FileError) -> Int
    /// Writes all of it or throws, with any part of it written.
    func write(_ source: UnsafeRawBufferPointer, at offset: Int) throws(FileError)
    /// Has the file system set so many bytes aside.
    func allocate(_ bytes: Int) throws(FileError)
    func truncate(to bytes: Int) throws(FileError)
    /// Makes what was written last, and as much of what is known of the file as it takes to read it.
    func sync() throws(FileError)
}

/// What the file system did not do.
package struct FileError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Operation: String, Sendable {
        case makeDirectory, list, open, create, remove, rename, lock, size, read, write, allocate, truncate, sync
    }

    package let operation: Operation
    package let path: String
    /// As in `errno`.
    package let code: CInt

    package init(_ operation: Operation, _ path: String, code: CInt) {
        self.operation = operation
        self.path = path
        self.code = code
    }

    /// Whether there was no room, so that the same may work later.
    package var isFull: Bool {
        [Errno.noSpace, .diskQuotaExceeded, .fileTooLarge].contains { $0.rawValue == code }
    }
    package var description: String { "\(path): cannot \(operation.rawValue): \(Errno(rawValue: code))" }
}

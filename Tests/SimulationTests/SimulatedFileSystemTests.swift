import MQTTJournal
import SystemPackage
import Testing

@Suite("Simulated file system")
struct SimulatedFileSystemTests {
    private static let directory: FilePath = "/d"
    private static let path: FilePath = "/d/file"

    private func make(_ seed: UInt64 = 1, capacityBytes: Int = .max) throws -> SimulatedFileSystem {
        let fileSystem = SimulatedFileSystem(seed: seed, capacityBytes: capacityBytes)
        try fileSystem.makeDirectory(Self.directory)
        return fileSystem
    }

    private func write(_ bytes: [UInt8], at offset: Int = 0, to file: any File) throws {
        try bytes.withUnsafeBytes { try file.write($0, at: offset) }
    }

    private func content(_ fileSystem: SimulatedFileSystem, _ path: FilePath = path) throws -> [UInt8] {
        let file = try fileSystem.open(path, creates: false)
        var bytes = [UInt8](repeating: 0, count: try file.bytes)
        let count = try bytes.withUnsafeMutableBytes { try file.read(at: 0, into: $0) }
        return Array(bytes[..<count])
    }

    @Test("what was synced outlives a crash, file and name", arguments: 1...50 as ClosedRange<UInt64>)
    func synced(seed: UInt64) throws {
        let fileSystem = try make(seed)
        let file = try fileSystem.open(Self.path, creates: true)
        try write([1, 2, 3, 4], to: file)
        try file.sync()
        try fileSystem.syncDirectory(Self.directory)
        fileSystem.crash()
        #expect(try content(fileSystem) == [1, 2, 3, 4])
        #expect(throws: FileError.self) { try file.bytes }
    }

    @Test("what was not synced is there, is not, or is there in part and in another order")
    func unsynced() throws {
        var contents: Set<[UInt8]> = []
        for seed in 1...400 as ClosedRange<UInt64> {
            let fileSystem = try make(seed)
            let file = try fileSystem.open(Self.path, creates: true)
            try write([1, 1, 1], to: file)
            try file.sync()
            try fileSystem.syncDirectory(Self.directory)
            try write([2, 2, 2], to: file)
            try write([3, 3], at: 3, to: file)
            #expect(try content(fileSystem) == [2, 2, 2, 3, 3])
            fileSystem.crash()
            contents.insert(try content(fileSystem))
        }
        #expect(contents.isSuperset(of: [[1, 1, 1], [2, 2, 2, 3, 3], [2, 2, 1], [1, 1, 1, 3, 3], [2, 2, 2, 3]]))
    }

    @Test("names that were not synced come and go, in any order")
    func names() throws {
        var outcomes: Set<[String]> = []
        for seed in 1...200 as ClosedRange<UInt64> {
            let fileSystem = try make(seed)
            for name in ["a", "b"] { _ = try fileSystem.open(Self.directory.appending(name), creates: true) }
            try fileSystem.syncDirectory(Self.directory)
            try fileSystem.remove("/d/a")
            try fileSystem.rename("/d/b", to: "/d/c")
            #expect(try fileSystem.names(in: Self.directory) == ["c"])
            fileSystem.crash()
            outcomes.insert(try fileSystem.names(in: Self.directory))
        }
        #expect(outcomes == [["a", "b"], ["a", "c"], ["b"], ["c"]])
    }

    @Test("the power goes away between any two calls, and during one")
    func crashAfter() throws {
        for calls in 0..<4 {
            let fileSystem = try make()
            fileSystem.crashAfter(calls: calls)
            var done = 0
            #expect(throws: FileError.self) {
                let file = try fileSystem.open(Self.path, creates: true)
                done += 1
                for _ in 0..<9 {
                    try write([1], to: file)
                    done += 1
                }
            }
            #expect(done == calls)
            fileSystem.crash()
            _ = try fileSystem.names(in: Self.directory)
        }
    }

    @Test("a full disk takes what there is room for, and removing makes room")
    func full() throws {
        let fileSystem = try make(capacityBytes: 10)
        let file = try fileSystem.open(Self.path, creates: true)
        try write([1, 2, 3, 4, 5, 6], to: file)
        let other = try fileSystem.open("/d/other", creates: true)
        let error = #expect(throws: FileError.self) { try write([7, 8, 9, 10, 11], to: other) }
        #expect(error?.isFull == true)
        #expect(try content(fileSystem, "/d/other") == [7, 8, 9, 10])
        #expect(throws: FileError.self) { try file.allocate(7) }
        try fileSystem.remove("/d/other")
        try file.allocate(10)
    }

    @Test("what a failed sync has lost, no later sync brings back")
    func failedSync() throws {
        var contents: Set<[UInt8]> = []
        for seed in 1...50 as ClosedRange<UInt64> {
            let fileSystem = try make(seed)
            let file = try fileSystem.open(Self.path, creates: true)
            try fileSystem.syncDirectory(Self.directory)
            try write([1], to: file)
            fileSystem.failSync(after: 0)
            #expect(throws: FileError.self) { try file.sync() }
            try file.sync()
            fileSystem.crash()
            contents.insert(try content(fileSystem))
        }
        #expect(contents == [[], [1]])
    }

    @Test("a lock is held until it is let go or the power goes away")
    func locks() throws {
        let fileSystem = try make()
        var lock: (any File)? = try fileSystem.lock("/d/lock")
        #expect(throws: FileError.self) { try fileSystem.lock("/d/lock") }
        #expect(lock != nil)
        lock = nil
        lock = try fileSystem.lock("/d/lock")
        fileSystem.crash()
        let second = try fileSystem.lock("/d/lock")
        lock = nil
        #expect(throws: FileError.self) { try fileSystem.lock("/d/lock") }
        withExtendedLifetime(second) {}
    }

    @Test("the same seed and the same calls have the same outcome")
    func deterministic() throws {
        func run() throws -> [[UInt8]] {
            let fileSystem = try make(7)
            let file = try fileSystem.open(Self.path, creates: true)
            try fileSystem.syncDirectory(Self.directory)
            return try (0..<1).map { _ in
                for byte in 0..<100 as Range<UInt8> { try write([byte, byte], at: Int(byte), to: file) }
                fileSystem.crash()
                return try content(fileSystem)
            }
        }
        #expect(try run() == run())
    }

    @Test("a bit of what lasts is flipped")
    func flipBit() throws {
        let fileSystem = try make()
        let file = try fileSystem.open(Self.path, creates: true)
        try write([0, 0], to: file)
        try file.sync()
        try fileSystem.syncDirectory(Self.directory)
        fileSystem.flipBit(Self.path, at: 9)
        fileSystem.crash()
        #expect(try content(fileSystem) == [0, 2])
    }
}

import MQTTJournal
import SystemPackage

/// What a simulated file system holds, and what of it is durable.
struct SimulatedDisk: Sendable {
    /// A change of a file that no sync has made durable yet.
    enum Change: Sendable {
        case bytes([UInt8], at: Int)
        case size(Int)

        func apply(to content: inout [UInt8]) {
            switch self {
            case .bytes(let bytes, let offset):
                let end = offset + bytes.count
                if content.count < end { content += repeatElement(0, count: end - content.count) }
                content.replaceSubrange(offset..<end, with: bytes)
            case .size(let size):
                if content.count < size {
                    content += repeatElement(0, count: size - content.count)
                } else {
                    content.removeLast(content.count - size)
                }
            }
        }
    }

    struct Node: Sendable {
        var current: [UInt8] = []
        var durable: [UInt8] = []
        /// In the order in which they were made. Those that a failed sync has given up are `lost`: no sync takes them.
        var pending: [(change: Change, isLost: Bool)] = []
        /// Set aside, whether the file is as long or not.
        var allocated = 0

        var bytesTaken: Int { max(current.count, allocated) }
    }

    /// A change of names: each gets a file or loses it, all at once.
    typealias Renaming = [(name: String, node: Int?)]

    struct Directory: Sendable {
        var current: [String: Int] = [:]
        var durable: [String: Int] = [:]
        var pending: [Renaming] = []

        mutating func rename(_ renaming: Renaming) {
            pending.append(renaming)
            for (name, node) in renaming { current[name] = node }
        }
    }

    var random: SeededGenerator
    var capacityBytes: Int
    var nodes: [Node] = []
    var directories: [String: Directory] = [:]
    private var locked: [String: Int] = [:]
    /// Allocation makes a file longer on Linux, and does not on Darwin.
    private let allocationGrows: Bool
    /// Counts crashes.
    private(set) var generation = 0

    var calls = 0
    var callsBeforeCrash: Int?
    var isDown = false
    var syncsBeforeFailure: Int?
    var writesBeforeFailure: Int?
    var log: [String] = []

    init(seed: UInt64, capacityBytes: Int) {
        random = SeededGenerator(seed: seed)
        self.capacityBytes = capacityBytes
        allocationGrows = random.oneIn(2)
    }

    var bytesTaken: Int {
        directories.values.reduce(0) { $0 + $1.current.values.reduce(0) { $0 + nodes[$1].bytesTaken } }
    }

    mutating func change(_ node: Int, _ change: Change) {
        nodes[node].pending.append((change, false))
        change.apply(to: &nodes[node].current)
        if case .size(let size) = change { nodes[node].allocated = min(nodes[node].allocated, size) }
    }

    mutating func write(_ bytes: [UInt8], at offset: Int, node: Int, _ path: FilePath) throws(FileError) {
        // The power that goes away during a write leaves a part of it, as a write that fails does.
        let fails = isDown || Self.counts(&writesBeforeFailure)
        let growth = max(0, offset + bytes.count - nodes[node].bytesTaken)
        let lacking = max(0, growth - max(0, capacityBytes - bytesTaken))
        let room = max(0, bytes.count - lacking)
        let written = fails ? random.below(room + 1) : room
        if written > 0 { change(node, .bytes(Array(bytes[..<written]), at: offset)) }
        if fails { throw FileError(.write, path.string, code: Errno.ioError.rawValue) }
        if lacking > 0 { throw FileError(.write, path.string, code: Errno.noSpace.rawValue) }
    }

    mutating func allocate(_ bytes: Int, node: Int, _ path: FilePath) throws(FileError) {
        let growth = max(0, bytes - nodes[node].bytesTaken)
        guard growth <= max(0, capacityBytes - bytesTaken) else {
            throw FileError(.allocate, path.string, code: Errno.noSpace.rawValue)
        }
        nodes[node].allocated = max(nodes[node].allocated, bytes)
        if allocationGrows && nodes[node].current.count < bytes { change(node, .size(bytes)) }
    }

    mutating func sync(_ node: Int, _ path: FilePath) throws(FileError) {
        if Self.counts(&syncsBeforeFailure) {
            for index in nodes[node].pending.indices { nodes[node].pending[index].isLost = true }
            throw FileError(.sync, path.string, code: Errno.ioError.rawValue)
        }
        for pending in nodes[node].pending where !pending.isLost { pending.change.apply(to: &nodes[node].durable) }
        nodes[node].pending.removeAll { !$0.isLost }
    }

    mutating func flipBit(_ path: FilePath, at bit: Int) {
        guard let node = node(at: path) else { return }
        let (byte, mask) = (bit / 8, UInt8(1) << UInt8(bit % 8))
        if byte < nodes[node].current.count { nodes[node].current[byte] ^= mask }
        if byte < nodes[node].durable.count { nodes[node].durable[byte] ^= mask }
    }

    /// Whether it is the turn of the one that is to fail.
    private static func counts(_ left: inout Int?) -> Bool {
        guard let count = left else { return false }
        left = count == 0 ? nil : count - 1
        return count == 0
    }
}

// MARK: - Names

extension SimulatedDisk {
    mutating func makeDirectory(_ path: FilePath) {
        if directories[path.string] == nil { directories[path.string] = Directory() }
    }

    func names(in path: FilePath) throws(FileError) -> [String] {
        guard let directory = directories[path.string] else { throw Self.missing(.list, path) }
        return directory.current.keys.sorted()
    }

    mutating func open(_ path: FilePath, creates: Bool) throws(FileError) -> Int {
        let operation: FileError.Operation = creates ? .create : .open
        let (directory, name) = try place(of: path, operation)
        if let node = directories[directory]?.current[name] {
            if creates { throw FileError(operation, path.string, code: Errno.fileExists.rawValue) }
            return node
        }
        guard creates else { throw Self.missing(operation, path) }
        nodes.append(Node())
        directories[directory]?.rename([(name, nodes.count - 1)])
        return nodes.count - 1
    }

    mutating func remove(_ path: FilePath) throws(FileError) {
        let (directory, name) = try place(of: path, .remove)
        guard directories[directory]?.current[name] != nil else { throw Self.missing(.remove, path) }
        directories[directory]?.rename([(name, nil)])
    }

    mutating func rename(_ path: FilePath, to target: FilePath) throws(FileError) {
        let (directory, name) = try place(of: path, .rename)
        let (other, newName) = try place(of: target, .rename)
        guard directory == other, let node = directories[directory]?.current[name] else {
            throw Self.missing(.rename, path)
        }
        directories[directory]?.rename([(name, nil), (newName, node)])
    }

    mutating func syncDirectory(_ path: FilePath) throws(FileError) {
        guard let directory = directories[path.string] else { throw Self.missing(.sync, path) }
        if Self.counts(&syncsBeforeFailure) { throw FileError(.sync, path.string, code: Errno.ioError.rawValue) }
        directories[path.string]?.durable = directory.current
        directories[path.string]?.pending = []
    }

    mutating func lock(_ path: FilePath) throws(FileError) -> Int {
        guard locked[path.string] == nil else {
            throw FileError(.lock, path.string, code: Errno.resourceTemporarilyUnavailable.rawValue)
        }
        if node(at: path) == nil { _ = try open(path, creates: true) }
        locked[path.string] = generation
        return try open(path, creates: false)
    }

    mutating func unlock(_ path: FilePath, generation: Int) {
        if locked[path.string] == generation { locked[path.string] = nil }
    }

    private func node(at path: FilePath) -> Int? {
        directories[path.removingLastComponent().string]?.current[path.lastComponent?.string ?? ""]
    }

    private func place(
        of path: FilePath,
        _ operation: FileError.Operation
    ) throws(FileError) -> (directory: String, name: String) {
        let directory = path.removingLastComponent().string
        guard directories[directory] != nil else { throw Self.missing(operation, path) }
        return (directory, path.lastComponent?.string ?? "")
    }

    private static func missing(_ operation: FileError.Operation, _ path: FilePath) -> FileError {
        FileError(operation, path.string, code: Errno.noSuchFileOrDirectory.rawValue)
    }
}

// MARK: - Loss of power

extension SimulatedDisk {
    /// What becomes of changes that were not synced.
    private enum Fate: Int, CaseIterable {
        case none, all, first, any, pieces
    }

    mutating func crash() {
        for node in nodes.indices { crash(node) }
        for path in directories.keys.sorted() { crashDirectory(path) }
        restart()
    }

    mutating func restart() {
        generation += 1
        locked = [:]
        calmDown()
        isDown = false
        log.append("life \(generation)")
    }

    mutating func calmDown() {
        callsBeforeCrash = nil
        syncsBeforeFailure = nil
        writesBeforeFailure = nil
    }

    private mutating func crash(_ node: Int) {
        let survivors = survivors(of: nodes[node].pending.map(\.change))
        for change in survivors { change.apply(to: &nodes[node].durable) }
        nodes[node].pending = []
        nodes[node].current = nodes[node].durable
        nodes[node].allocated = 0
    }

    private mutating func survivors(of changes: [Change]) -> [Change] {
        switch random.pick(Fate.allCases) {
        case .none: return []
        case .all: return changes
        case .first:
            guard !changes.isEmpty else { return [] }
            let count = random.below(changes.count)
            return changes[..<count] + torn(changes[count])
        case .any: return changes.filter { _ in random.oneIn(2) }.shuffled(using: &random).flatMap { torn($0) }
        case .pieces: return changes.flatMap { pieces(of: $0) }.shuffled(using: &random)
        }
    }

    /// The change up to any byte.
    private mutating func torn(_ change: Change) -> [Change] {
        guard case .bytes(let bytes, let offset) = change else { return [change] }
        return [.bytes(Array(bytes[..<random.below(bytes.count + 1)]), at: offset)]
    }

    /// Some of the sectors of a write: between them is what was there before.
    private mutating func pieces(of change: Change) -> [Change] {
        guard case .bytes(let bytes, let offset) = change else { return random.oneIn(2) ? [change] : [] }
        let size = random.pick([16, 512, 4_096])
        return stride(from: 0, to: bytes.count, by: size).compactMap { start in
            guard random.oneIn(2) else { return nil }
            return .bytes(Array(bytes[start..<min(bytes.count, start + size)]), at: offset + start)
        }
    }

    private mutating func crashDirectory(_ path: String) {
        guard var directory = directories[path] else { return }
        let pending = directory.pending
        let survivors: [Renaming] =
            switch random.pick(Fate.allCases) {
            case .none: []
            case .all: pending
            case .first: Array(pending.prefix(random.below(pending.count + 1)))
            case .any, .pieces: pending.filter { _ in random.oneIn(2) }.shuffled(using: &random)
            }
        for (name, node) in survivors.joined() { directory.durable[name] = node }
        directory.pending = []
        directory.current = directory.durable
        directories[path] = directory
    }
}

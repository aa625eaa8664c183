import DequeModule

/// Where a queued message stands: 24 bytes, trivial.
struct QueueEntry: Sendable {
    let number: UInt64
    let segment: UInt32
    /// Of the record of receivers.
    let receivers: UInt32
    /// Of the message's record in the same segment; 0 where the message is not needed any more.
    var message: UInt32
    /// From the top: over, sole receiver, 7 bits of position in the record, 23 bits of size.
    private var bits: UInt32

    init(
        number: UInt64,
        segment: UInt32,
        receivers: UInt32,
        message: UInt32,
        position: Int,
        isSole: Bool,
        bytes: Int
    ) {
        self.number = number
        self.segment = segment
        self.receivers = receivers
        self.message = message
        bits = UInt32(position) << 23 | (isSole ? 1 << 30 : 0) | Self.coded(bytes)
    }

    static let receiversMax = 128

    /// Whether nobody else has the message.
    var isSole: Bool { bits & 1 << 30 != 0 }
    /// Which of the record's receivers it is.
    var position: Int { Int(bits >> 23 & 0x7F) }
    var isOver: Bool { bits & 1 << 31 != 0 }
    /// What it takes in the journal, with the message where nobody else has it. Above 4 MiB in steps of 1 KiB.
    var bytes: Int {
        let coded = Int(bits & 0x7F_FFFF)
        return coded < 1 << 22 ? coded : (coded - 1 << 22) << 10
    }

    private static func coded(_ bytes: Int) -> UInt32 {
        bytes < 1 << 22 ? UInt32(bytes) : 1 << 22 + UInt32(min(bytes >> 10, 1 << 22 - 1))
    }

    mutating func end() { bits |= 1 << 31 }

    /// The payload is not needed any more.
    mutating func dropMessage(bytes: Int) {
        message = 0
        bits = bits & ~(0x7F_FFFF | 1 << 30) | Self.coded(bytes)
    }
}

/// The messages of a session that are not over, by number.
///
///     entries   │ 7 │ 8 │ ✕ │ 10 │ ✕ │ 15 │ 16 │      ascending; what is over stays until it is at the front or too much
///     strays    │ 3 │ 4 │ 5 │                          ascending each; only while a journal is read, where copies of
///               │ 9 │                                  older messages stand behind newer ones
struct QueueIndex: Sendable {
    private var entries = Deque<QueueEntry>()
    private var strays: [[QueueEntry]] = []
    /// Entries that are not over.
    private(set) var count = 0
    private var longest = 0

    private enum Place {
        case main(Int)
        case stray(Int, Int)
    }

    /// Puts an entry in; what it takes the place of.
    mutating func insert(_ entry: QueueEntry) -> QueueEntry? {
        if entries.last.map({ $0.number < entry.number }) ?? true, strays.isEmpty {
            append(entry)
            return nil
        }
        if let place = place(of: entry.number) {
            let before = self[place]
            self[place] = entry
            if before.isOver { count += 1 }
            return before.isOver ? nil : before
        }
        count += 1
        // To the run that it fits behind best, so that there are few of them.
        var best: Int?
        var bestLast = entries.last.flatMap { $0.number < entry.number ? $0.number : nil }
        for (run, stray) in strays.enumerated() {
            guard let last = stray.last?.number, last < entry.number, bestLast.map({ $0 < last }) ?? true else {
                continue
            }
            (best, bestLast) = (run, last)
        }
        if let best {
            strays[best].append(entry)
        } else if bestLast != nil || entries.isEmpty {
            entries.append(entry)
            longest = max(longest, entries.count)
        } else {
            strays.append([entry])
        }
        return nil
    }

    private mutating func append(_ entry: QueueEntry) {
        entries.append(entry)
        count += 1
        longest = max(longest, entries.count)
    }

    private subscript(place: Place) -> QueueEntry {
        get {
            switch place {
            case .main(let at): entries[at]
            case .stray(let run, let at): strays[run][at]
            }
        }
        set {
            switch place {
            case .main(let at): entries[at] = newValue
            case .stray(let run, let at): strays[run][at] = newValue
            }
        }
    }

    private func place(of number: UInt64) -> Place? {
        if let at = Self.position(of: number, in: entries) { return .main(at) }
        for run in strays.indices {
            if let at = Self.position(of: number, in: strays[run]) { return .stray(run, at) }
        }
        return nil
    }

    /// The first entry that is at least `number`.
    private static func lowerBound<Entries: RandomAccessCollection<QueueEntry>>(
        of number: UInt64,
        in entries: Entries
    ) -> Int where Entries.Index == Int {
        guard let first = entries.first?.number, number > first else { return 0 }
        // Numbers have few gaps: an entry stands at most as far from the front as its number says.
        var (low, high) = (0, Int(min(number - first, UInt64(entries.count))))
        if high < entries.count && entries[high].number == number { return high }
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].number < number { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private static func position<Entries: RandomAccessCollection<QueueEntry>>(
        of number: UInt64,
        in entries: Entries
    ) -> Int? where Entries.Index == Int {
        let at = lowerBound(of: number, in: entries)
        return at < entries.count && entries[at].number == number ? at : nil
    }

    /// The entry with this number, where it is not over.
    subscript(number: UInt64) -> QueueEntry? {
        guard let place = place(of: number) else { return nil }
        let entry = self[place]
        return entry.isOver ? nil : entry
    }

    /// Takes an entry out; nil where it is not there.
    mutating func remove(_ number: UInt64) -> QueueEntry? {
        guard let place = place(of: number) else { return nil }
        let entry = self[place]
        guard !entry.isOver else { return nil }
        self[place].end()
        count -= 1
        trim()
        return entry
    }

    /// Puts a changed entry in the place of the one with its number, which is there.
    mutating func update(_ entry: QueueEntry) {
        if let place = place(of: entry.number) { self[place] = entry }
    }

    private mutating func trim() {
        while entries.first?.isOver == true { entries.removeFirst() }
        guard strays.isEmpty else { return }
        if entries.count > 64 && count < entries.count / 2 { entries.removeAll(where: \.isOver) }
        // A queue that was long once does not keep its storage.
        if longest > 256 && entries.count < longest / 4 {
            entries = Deque(entries)
            longest = entries.count
        }
    }

    /// Everything is in: what came out of order is put into it.
    mutating func settle() {
        guard !strays.isEmpty else { return }
        var all = strays.flatMap(\.self)
        all.append(contentsOf: entries)
        all.removeAll(where: \.isOver)
        all.sort { $0.number < $1.number }
        strays = []
        entries = Deque(all)
        longest = entries.count
    }

    /// The entries that are not over, from the first that is at least `number`, at most so many.
    func entries(from number: UInt64, count: Int) -> [QueueEntry] {
        var found: [QueueEntry] = []
        var at = Self.lowerBound(of: number, in: entries)
        while at < entries.count && found.count < count {
            if !entries[at].isOver { found.append(entries[at]) }
            at += 1
        }
        return found
    }

    /// Calls `body` with each entry that is not over.
    func visitAll(_ body: (QueueEntry) -> Void) {
        for entry in entries where !entry.isOver { body(entry) }
        for stray in strays {
            for entry in stray where !entry.isOver { body(entry) }
        }
    }
}

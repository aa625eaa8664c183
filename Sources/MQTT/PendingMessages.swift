import DequeModule

/// The QoS 1 and 2 messages that have not reached their guarantee, by number.
///
///     ┌────┬──────┬──────┬────┬────┐
///     │ 17 │ (18) │ (20) │ 21 │ 22 │   numbers ascend; what is over behind one that is not keeps its place for a while
///     └────┴──────┴──────┴────┴────┘
struct PendingMessages {
    struct Message {
        let id: PublishID
        var waiter: Publication.Waiter?
        var awaitsStore = false
        let enqueuedAt: Int64
    }

    private struct Entry {
        let number: UInt64
        var message: Message?
    }

    private var entries = Deque<Entry>()
    /// Entries that are over.
    private var over = 0
    private var longest = 0

    /// With a number above all others.
    mutating func append(_ message: Message, number: UInt64) {
        precondition(entries.last.map { $0.number < number } ?? true, "numbers ascend")
        entries.append(Entry(number: number, message: message))
        longest = max(longest, entries.count)
    }

    subscript(number: UInt64) -> Message? { position(number).flatMap { entries[$0].message } }

    mutating func remove(_ number: UInt64) -> Message? {
        guard let at = position(number), let message = entries[at].message else { return nil }
        entries[at].message = nil
        over += 1
        while let first = entries.first, first.message == nil {
            entries.removeFirst()
            over -= 1
        }
        if over > max(64, entries.count / 2) {
            entries.removeAll { $0.message == nil }
            over = 0
        }
        // What was long once does not keep its storage.
        if entries.isEmpty && longest > 256 { removeAll() }
        return message
    }

    /// Nobody waits for it any more. Gives who did, and whether that was for the store.
    mutating func removeWaiter(_ number: UInt64) -> (waiter: Publication.Waiter, awaitedStore: Bool)? {
        guard let at = position(number), let message = entries[at].message, let waiter = message.waiter else {
            return nil
        }
        entries[at].message?.waiter = nil
        entries[at].message?.awaitsStore = false
        return (waiter, message.awaitsStore)
    }

    func number(of id: PublishID) -> UInt64? { entries.first { $0.message?.id == id }?.number }

    @discardableResult
    mutating func removeAll() -> [Message] {
        defer { self = PendingMessages() }
        return entries.compactMap(\.message)
    }

    /// Where no number is missing it is as far from the first as its number is.
    private func position(_ number: UInt64) -> Int? {
        guard let first = entries.first, number >= first.number else { return nil }
        let guess = Int(clamping: number - first.number)
        if guess < entries.count && entries[guess].number == number { return guess }
        var (low, high) = (0, min(guess, entries.count))
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].number < number { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].number == number ? low : nil
    }
}

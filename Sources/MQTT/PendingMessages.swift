import DequeModule

/// The QoS 1 and 2 messages that have not reached their guarantee, by number.
///
///      first
///      ▼
///     ┌────┬─────┬─────┬────┬────┐
///     │ 17 │ nil │ nil │ 20 │ 21 │
///     └────┴─────┴─────┴────┴────┘
///
/// Numbers ascend, and the session has no more under way than there are packet identifiers: it stays short.
struct PendingMessages {
    struct Message {
        let id: PublishID
        var waiter: Publication.Waiter?
        var awaitsStore = false
        let enqueuedAt: Int64
    }

    private var slots = Deque<Message?>()
    private var first: UInt64 = 0
    private var longest = 0

    /// With a number above all others.
    mutating func append(_ message: Message, number: UInt64) {
        if slots.isEmpty { first = number }
        precondition(number >= first + UInt64(slots.count), "numbers ascend")
        while first + UInt64(slots.count) < number { slots.append(nil) }
        slots.append(message)
        longest = max(longest, slots.count)
    }

    subscript(number: UInt64) -> Message? { slot(number).flatMap { slots[$0] } }

    mutating func remove(_ number: UInt64) -> Message? {
        guard let at = slot(number), let message = slots[at] else { return nil }
        slots[at] = nil
        while case .some(nil) = slots.first {
            slots.removeFirst()
            first += 1
        }
        // What was long once does not keep its storage.
        if slots.isEmpty && longest > 256 { removeAll() }
        return message
    }

    /// Nobody waits for it any more. Gives who did, and whether that was for the store.
    mutating func removeWaiter(_ number: UInt64) -> (waiter: Publication.Waiter, awaitedStore: Bool)? {
        guard let at = slot(number), let message = slots[at], let waiter = message.waiter else { return nil }
        slots[at]?.waiter = nil
        slots[at]?.awaitsStore = false
        return (waiter, message.awaitsStore)
    }

    func number(of id: PublishID) -> UInt64? {
        slots.firstIndex { $0?.id == id }.map { first + UInt64($0) }
    }

    @discardableResult
    mutating func removeAll() -> [Message] {
        defer { self = PendingMessages() }
        return slots.compactMap(\.self)
    }

    private func slot(_ number: UInt64) -> Int? {
        guard number >= first, number - first < UInt64(slots.count) else { return nil }
        return Int(number - first)
    }
}

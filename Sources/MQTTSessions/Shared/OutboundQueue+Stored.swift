import MQTTPackets

/// The messages behind those in memory, which only the store has.
///
///       heads                        stored
///     ┌──────┬──────┬────────┐     ┌─────────────────────────────────┐
///     │ sent │ sent │ queued │     │ count messages, bytes together  │ ◀── new messages, until all have been loaded
///     └──────┴──────┴────────┘     └─────────────────────────────────┘
///                              ◀── a page at a time     ▲ first
@usableFromInline
package struct StoredTail: Sendable {
    /// No message behind those in memory has a smaller number.
    package internal(set) var first: UInt64 = 0
    @usableFromInline package internal(set) var count = 0
    /// What they would hold in memory, about.
    @usableFromInline package internal(set) var bytes = 0
    /// Of the change that the last of them was queued with.
    package internal(set) var ticket: UInt64 = 0
    /// Whether there may be some that were queued for a shared subscription.
    package internal(set) var hasShared = false
}

extension OutboundQueue {
    /// Bytes of all messages that are not over.
    @inlinable package var bytesQueued: Int { bytesHeld + stored.bytes }

    /// A session begins, whose messages are in the store.
    package mutating func beginStored() { sendMark = 0 }

    /// What a store has kept, of which nothing is in memory.
    package mutating func restore(count: Int, bytes: Int, nextNumber: UInt64, sendMark: UInt64) {
        self.sendMark = sendMark
        begunEnd = sendMark
        end = max(nextNumber, sendMark)
        skipRetired()
        stored = StoredTail(first: count > 0 ? 0 : end, count: count, bytes: bytes, hasShared: count > 0)
        unfinished = count
    }

    /// Queues a message of which nothing stays in memory.
    package mutating func appendStored(bytes: Int, ticket: UInt64, isShared: Bool) {
        if stored.count == 0 { stored = StoredTail(first: end) }
        stored.count += 1
        stored.bytes += bytes + Self.entryBytes
        stored.ticket = ticket
        if isShared { stored.hasShared = true }
        countOn()
    }

    /// Takes up the next message from the store. One that an earlier process may have sent is sent with DUP. False where
    /// it is not the next.
    package mutating func load(
        _ number: UInt64,
        _ message: Message?,
        qos: QoS,
        isRetained: Bool,
        identifiers: [UInt32],
        group: UInt32
    ) -> Bool {
        guard stored.count > 0, number >= stored.first, number < end else { return false }
        let bytes = (message?.bytesHeld ?? 0) + identifiers.count * MemoryLayout<UInt32>.stride
        bytesHeld += bytes + Self.entryBytes
        var head = OutboundHead(
            number: number,
            ticket: number < sendMark ? sendMarkTicket : 0,
            group: group,
            bytesHeld: UInt32(bytes),
            qos: qos,
            isRetained: isRetained
        )
        if number < begunEnd {
            head.isBegun = true
            head.state = .sent
        }
        if message == nil { head.state = .released }
        heads.append(head)
        bodies.append(OutboundBody(message: message, identifiers: identifiers))
        waiting += 1
        longest = max(longest, heads.count)
        stored.first = number + 1
        stored.count -= 1
        stored.bytes = max(0, stored.bytes - bytes - Self.entryBytes)
        if stored.count == 0 { stored = StoredTail() }
        return true
    }

    /// Lets go of the newest messages in memory that were never sent, until `bytes` are left, at most `count` of them. The
    /// store has them, or will.
    package mutating func unload(toBytes bytes: Int, count: Int) {
        var left = count
        while left > 0, bytesHeld > bytes, heads.count > cursor, let head = heads.last, head.state == .queued {
            if stored.count == 0 { stored.ticket = head.ticket }
            stored.first = head.number
            stored.count += 1
            stored.bytes += Int(head.bytesHeld) + Self.entryBytes
            if head.group > 0 { stored.hasShared = true }
            dropMessage(heads.count - 1)
            heads.removeLast()
            bodies.removeLast()
            bytesHeld -= Self.entryBytes
            waiting -= 1
            left -= 1
        }
        shrink()
    }
}

import MQTTPackets
import MQTTSessions
import MQTTStore

/// Emptying a session's queue for host code, a page at a time: first what memory has, then what only the store has, which
/// has to be read to be known.
extension BrokerCore {
    private static var clearedAtOnce: Int { 1_000 }
    private static var clearedBytesAtOnce: Int { 1 << 20 }

    /// How far one step came.
    package struct Clearing: Sendable {
        package var count = 0
        /// It holds once this is committed.
        package var ticket: UInt64 = 0
        package var isDone = false
        /// What to read next, once this ticket is committed, and to give to `loadToClear`.
        package var page: (page: StoredPage, ticket: UInt64)?
    }

    /// The number of the next message to be queued for a session: those below it are to be cleared. Nil where there is no
    /// session.
    package mutating func endOfQueue(_ clientID: String) -> (incarnation: UInt64, end: UInt64)? {
        liveSession(clientID).map { (sessions[$0].state.incarnation, sessions[$0].state.outbound.end) }
    }

    /// Drops the next messages of a queue that were not sent. Done too where the session has ended.
    package mutating func clearQueue(
        _ clientID: String,
        _ queue: (incarnation: UInt64, end: UInt64),
        at now: Int64
    ) -> Clearing {
        begin(at: now)
        var clearing = Clearing()
        guard let s = session(clientID, queue.incarnation) else {
            clearing.isDone = true
            return clearing
        }
        while clearing.count < Self.clearedAtOnce, let oldest = sessions[s].state.outbound.oldestUnsentNumber,
            oldest < queue.end
        {
            let message = sessions[s].state.outbound.oldestUnsent
            guard let dropped = withQueue(s, { $0.outbound.dropOldest() }) else { break }
            drop(.cleared, s, bytes: dropped.payloadBytes, of: message)
            changeFinished(dropped.number, s)
            clearing.count += 1
        }
        clearing.ticket = ticket
        guard clearing.count < Self.clearedAtOnce else { return clearing }
        let stored = sessions[s].state.outbound.stored
        guard stored.count > 0, stored.first < queue.end else {
            clearing.isDone = true
            return clearing
        }
        let page = StoredPage(
            incarnation: queue.incarnation,
            number: stored.first,
            count: Self.clearedAtOnce,
            bytes: Self.clearedBytesAtOnce
        )
        clearing.page = (page, stored.ticket)
        return clearing
    }

    /// Takes up a page that was read, unless somebody else has read it meanwhile. False where it has nothing of what is
    /// there.
    package mutating func loadToClear(
        _ clientID: String,
        _ page: StoredPage,
        _ messages: [StoredMessage],
        at now: Int64
    ) -> Bool {
        begin(at: now)
        guard let s = session(clientID, page.incarnation) else { return true }
        let stored = sessions[s].state.outbound.stored
        guard stored.count > 0, stored.first == page.number else { return true }
        guard !messages.isEmpty else { return false }
        let groupsLeft = load(messages, s)
        if !groupsLeft.isEmpty { redistribute(from: s, onlyUnsent: true) { groupsLeft.contains($0) } }
        return true
    }

    private func session(_ clientID: String, _ incarnation: UInt64) -> Int? {
        liveSession(clientID).flatMap { sessions[$0].state.incarnation == incarnation ? $0 : nil }
    }
}

import MQTTPackets
import MQTTSessions
import MQTTStore

/// Long queues. Of what the store has for a session, memory holds a window: what is in flight, and what comes next. The
/// rest is asked for a page at a time, off the loops, and checked when it comes.
///
///     enqueue ─▶ is there room in the window? ─ yes ─▶ heads
///                                             └ no ──▶ stored.count += 1        (the message is in the change alone)
///     pump: few are left ─▶ requestPage ─▶ takePageRequests ─▶ (store) ─▶ loaded ─▶ heads
extension BrokerCore {
    private static var pageMessages: Int { 2_000 }
    private static var pageBytes: Int { 256 << 10 }
    /// While windows take more than half of what they may.
    private static var pageBytesScarce: Int { 4 << 10 }
    /// What each connected session's window may have in any case.
    private static var windowBytesMin: Int { 4 << 10 }
    /// Of all pages that are read together.
    private static var pageBytesTogether: Int { 16 << 20 }
    /// Messages that one call lets go of, and sessions that it looks at.
    private static var unloadedAtOnce: Int { 1_000 }
    private static var sessionsUnloadedAtOnce: Int { 8 }

    /// Whether a message for the session goes into memory, too. Where it does not, one that has no use for its window may
    /// lose it.
    @inline(__always)
    mutating func hasRoomInWindow(_ s: Int) -> Bool {
        let held = sessions[s].state.outbound.bytesHeld
        let most = limits.windowBytesInAllMax
        if statistics.queuedBytesInWindows < most {
            return sessions[s].state.outbound.stored.count == 0 && held < most / 4
        }
        unloadSome()
        let isConnected = sessions[s].connection >= 0
        return sessions[s].state.outbound.stored.count == 0 && isConnected && held < Self.windowBytesMin
    }

    private mutating func unloadSome() {
        for _ in 0..<min(Self.sessionsUnloadedAtOnce, sessions.count) {
            unloadedLast = (unloadedLast + 1) % sessions.count
            let s = unloadedLast
            guard sessions[s].hasStoredQueue else { continue }
            let kept = sessions[s].connection >= 0 ? Self.windowBytesMin : 0
            withQueue(s) { $0.outbound.unload(toBytes: kept, count: Self.unloadedAtOnce) }
        }
    }

    /// What a session without a connection does not need in memory where memory is scarce.
    mutating func unload(_ s: Int) {
        guard sessions[s].hasStoredQueue, statistics.queuedBytesInWindows > limits.windowBytesInAllMax / 2 else {
            return
        }
        withQueue(s) { $0.outbound.unload(toBytes: 0, count: Self.unloadedAtOnce) }
    }

    /// Of the next page for a session; nil where it has enough in memory for now.
    @inline(__always)
    private func pageBytes(_ s: Int) -> Int? {
        let held = sessions[s].state.outbound.bytesHeld
        let unsent = held - sessions[s].state.outbound.inFlightBytes
        let most = limits.windowBytesInAllMax
        let wanted = statistics.queuedBytesInWindows + pageBytesWanted
        // What is in flight takes memory, too.
        guard held < Self.windowBytesMin || wanted < most else { return nil }
        let bytes = max(1, min(wanted > most / 2 ? Self.pageBytesScarce : Self.pageBytes, most / 4))
        return sessions[s].state.outbound.waiting == 0 || unsent < bytes / 2 ? bytes : nil
    }

    /// Asks for the next page of a session's messages, where it will soon be wanted.
    mutating func requestPage(_ s: Int) {
        guard !sessions[s].isPaging, !sessions[s].isUnreadable, !hasStoreFailed else { return }
        let stored = sessions[s].state.outbound.stored
        guard stored.count > 0, isPageWanted(s), let bytes = pageBytes(s) else { return }
        sessions[s].isPaging = true
        pageBytesWanted += bytes
        pageRequests.append(
            PageRequest(
                session: Int32(s),
                page: StoredPage(
                    incarnation: sessions[s].state.incarnation,
                    number: stored.first,
                    count: Self.pageMessages,
                    bytes: bytes
                ),
                committed: committed
            )
        )
    }

    /// A session without a connection wants to know its oldest messages only where it is full.
    @inline(__always)
    private func isPageWanted(_ s: Int) -> Bool {
        sessions[s].connection >= 0 || sessions[s].isLeaving || !hasRoom(s)
    }

    package mutating func hasPageRequests() -> Bool { !pageRequests.isEmpty }

    /// The oldest of what was asked for: as many pages as are worth reading together.
    package mutating func takePageRequests() -> [PageRequest] {
        var taken: [PageRequest] = []
        var bytes = 0
        while bytes < Self.pageBytesTogether, let next = pageRequests.popFirst() {
            bytes += next.page.bytes
            taken.append(next)
        }
        return taken
    }

    /// A page has been read. Whatever happened to the session meanwhile, only what comes next in its queue is taken up.
    package mutating func loaded(_ request: PageRequest, _ messages: [StoredMessage], at now: Int64) {
        self.now = now
        budget = limits.deliveriesPerTurn
        pageBytesWanted -= request.page.bytes
        guard let s = session(request) else { return }
        sessions[s].isPaging = false
        let stored = sessions[s].state.outbound.stored
        guard stored.count > 0, isPageWanted(s) else { return }
        guard stored.first == request.page.number else { return requestPage(s) }
        guard !messages.isEmpty else {
            // What is not committed yet comes later.
            if stored.ticket > request.committed {
                if sessions[s].lastTicket > committed { waitForCommit(s) } else { requestPage(s) }
                return
            }
            return unreadable(s, "the store does not have what is left of its queue")
        }
        let groupsLeft = load(messages, s)
        if sessions[s].isLeaving { return moveOn(s) }
        if !groupsLeft.isEmpty { redistribute(from: s, onlyUnsent: true) { groupsLeft.contains($0) } }
        if sessions[s].connection >= 0 { pump(Int(sessions[s].connection)) }
    }

    /// The shared subscriptions of some of them that the session does not have any more.
    mutating func load(_ messages: [StoredMessage], _ s: Int) -> Set<UInt32> {
        var last: (filter: String, group: UInt32) = ("", 0)
        var groupsLeft: Set<UInt32> = []
        for stored in messages {
            if stored.sharedFilter != last.filter {
                last = (stored.sharedFilter, stored.sharedFilter.isEmpty ? 0 : tree.group(filter: stored.sharedFilter))
                let isMember = sessions[s].subscriptions[Array(stored.sharedFilter.utf8)] != nil
                if last.group > 0 && !isMember { groupsLeft.insert(last.group) }
            }
            let group = last.group
            let isNext = withQueue(s) {
                $0.outbound.load(
                    stored.number,
                    stored.message,
                    qos: stored.qos,
                    isRetained: stored.isRetained,
                    identifiers: stored.identifiers,
                    group: group
                )
            }
            guard isNext else { break }
        }
        return groupsLeft
    }

    /// A page could not be read. The session is left alone until its client connects again.
    package mutating func unreadable(_ request: PageRequest, _ reason: String) {
        pageBytesWanted -= request.page.bytes
        guard let s = session(request) else { return }
        sessions[s].isPaging = false
        unreadable(s, reason)
    }

    private mutating func unreadable(_ s: Int, _ reason: String) {
        sessions[s].isUnreadable = true
        events.append(.unreadable(clientID: sessions[s].state.clientID, reason: reason))
        if sessions[s].isLeaving { forget(s, subscriptionsLeft.removeValue(forKey: Int32(s)) ?? []) }
    }

    @inline(__always)
    private func session(_ request: PageRequest) -> Int? {
        let s = Int(request.session)
        guard s < sessions.count, !sessions[s].isFree, sessions[s].state.incarnation == request.page.incarnation else {
            return nil
        }
        return s
    }

    // MARK: Sessions that have ended

    /// Shared messages of an ended session go to other members, a page at a time, each page one commit. After a restart it
    /// is known by its expiry interval of 0, and goes on where it was.
    mutating func leave(_ s: Int) {
        sessions[s].isLeaving = true
        sessions[s].isUnreadable = false
        sessions[s].willDue = nil
        sessions[s].endDue = nil
        if sessions[s].state.expiryInterval > 0 {
            sessions[s].state.expiryInterval = 0
            changeStored(s) { .sessionExpiryChanged(incarnation: $0, expiryInterval: 0) }
        }
        if !sessions[s].isStoredDisconnected {
            sessions[s].isStoredDisconnected = true
            changeStored(s) { [now] in .sessionDisconnected(incarnation: $0, at: now) }
        }
        moveOn(s)
    }

    /// What is in memory is moved or dropped, in one change. Then comes the next page, or the end.
    private mutating func moveOn(_ s: Int) {
        redistribute(from: s, onlyUnsent: false)
        for number in sessions[s].state.outbound.numbers(where: { _ in true }) {
            let bytes = Int(sessions[s].state.outbound.head(number).bytesHeld)
            finish(number, s)
            drop(.sessionEnded, s, bytes: bytes)
        }
        guard sessions[s].state.outbound.stored.count > 0 else {
            return forget(s, subscriptionsLeft.removeValue(forKey: Int32(s)) ?? [])
        }
        // Not faster than it is committed.
        if sessions[s].lastTicket > committed { waitForCommit(s) } else { requestPage(s) }
    }
}

/// A page of a session's messages that the core wants.
package struct PageRequest: Sendable {
    let session: Int32
    package let page: StoredPage
    /// What was committed when it was asked for.
    let committed: UInt64
}

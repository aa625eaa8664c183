import MQTTPackets
import MQTTSessions
import MQTTStore

/// What waits for what. Each change that must last has a ticket, from one sequence. The committer takes all changes
/// there are, commits them as one, and reports the ticket that it reached; then what waited for tickets up to there is
/// released. With a volatile store there are no changes and nothing waits.
extension BrokerCore {
    /// All changes since the last call.
    package mutating func takeChanges(wallClock: Int64) -> TakenChanges {
        var taken = TakenChanges(ticket: ticket)
        guard !changes.isEmpty else { return taken }
        swap(&taken.changes, &changes)
        taken.changes[0] = .broker(storedBroker(wallClock: wallClock))
        taken.unnecessary = unnecessaryChanges
        unnecessaryChanges = 0
        uncommittedBatches.append((ticket, changesBytes))
        changesBytes = 0
        takenTicket = ticket
        return taken
    }

    /// Of the oldest batch that the store has not committed yet; nil where there is none.
    package mutating func oldestUncommitted() -> UInt64? { uncommittedBatches.first?.ticket }

    /// What concerns no session and no topic, for the store to keep beside a batch.
    package mutating func storedBroker(wallClock: Int64) -> StoredBroker {
        StoredBroker(
            time: now,
            wallClock: wallClock,
            lastIncarnation: nextIncarnation - 1,
            lastRetainedVersion: retained.version
        )
    }

    package mutating func hasChanges() -> Bool { !changes.isEmpty }

    /// Everything up to the ticket will last. Releases the answers and messages that waited for it.
    package mutating func committed(through ticket: UInt64, at now: Int64) {
        self.now = now
        committed = max(committed, ticket)
        while let batch = uncommittedBatches.first, batch.ticket <= committed {
            statistics.uncommittedBytes -= batch.bytes
            uncommittedBatches.removeFirst()
        }
        budget = limits.deliveriesPerTurn
        var waiting: [Int32] = []
        swap(&waiting, &waitingConnections)
        for slot in waiting where Int(slot) < connections.count { releaseAnswers(Int(slot)) }
        if configuration.tellsPublished { published.committed(through: committed) }
        resumeReading()
        var sessionsWaiting: [Int32] = []
        swap(&sessionsWaiting, &waitingSessions)
        for s in sessionsWaiting where Int(s) < sessions.count {
            sessions[Int(s)].isWaiting = false
            let connection = sessions[Int(s)].connection
            if sessions[Int(s)].isLeaving { requestPage(Int(s)) }
            guard connection >= 0 else { continue }
            // What it changed after this batch was taken waits for the next.
            if sessions[Int(s)].lastTicket > committed { waitForCommit(Int(s)) }
            if connections[Int(connection)].state == .connected { pump(Int(connection)) }
        }
    }

    /// Of those that are read from no further before more is committed. One that still has too much pauses again.
    mutating func resumeReading() {
        var paused: [ConnectionID] = []
        swap(&paused, &pausedForCommit)
        for id in paused {
            if let c = index(id) { readOn(c) }
        }
    }

    mutating func readOn(_ c: Int) {
        connections[c].isPausedForCommit = false
        touch(c)
        if !isStoreFull, held[Int32(c)] != nil { goOn(c) }
    }

    private mutating func releaseAnswers(_ c: Int) {
        connections[c].isListedWaiting = false
        if connections[c].state == .closing {
            if connections[c].closeTicket > committed { listWaiting(c) } else { touch(c) }
            return
        }
        sendAnswers(c)
        if !connections[c].waiting.isEmpty { listWaiting(c) }
    }

    /// Those that wait for nothing any more.
    mutating func sendAnswers(_ c: Int) {
        while let first = connections[c].waiting.first, first.ticket <= committed, first.published == 0 {
            connections[c].waiting.removeFirst()
            connections[c].uncommittedBytes -= first.bytes
            switch first.answer {
            case .acknowledgement(let kind, let id, let reason):
                writeAnswer(kind.rawValue << 4 | kind.reservedFlags, id, reason, to: c)
                if first.endsAtLeastOnce { sessions[session(of: c)].state.inbound.acknowledged() }
                if kind == .pubrec { connections[c].waitingPubrecs.remove(id) }
            case .packet(let packet):
                write(packet, to: c)
                if case .connack = packet { becomeConnected(c) }
            }
        }
    }

    /// It is looked at after the next commit.
    mutating func listWaiting(_ c: Int) {
        guard !connections[c].isListedWaiting else { return }
        connections[c].isListedWaiting = true
        waitingConnections.append(Int32(c))
    }

    /// The transport is not closed before this is committed.
    mutating func waitToClose(_ c: Int, for ticket: UInt64) {
        let ticket = awaited(ticket, .close)
        guard ticket > committed else { return }
        connections[c].closeTicket = ticket
        listWaiting(c)
    }

    /// The ticket that something waits for.
    @inline(__always)
    func awaited(_ ticket: UInt64, _ wait: Waits) -> UInt64 {
        configuration.skippedWaits.isDisjoint(with: wait) ? ticket : 0
    }

    /// Puts an answer behind those that wait on this connection.
    mutating func wait(_ c: Int, _ answer: WaitingAnswer) {
        if answer.ticket > committed { listWaiting(c) }
        connections[c].waiting.append(answer)
        connections[c].uncommittedBytes += answer.bytes
    }

    /// A change of what a session that outlives its connection has.
    mutating func change(_ s: Int, _ change: (_ incarnation: UInt64) -> StoreChange) {
        guard configuration.isDurable, keepsChanges(s) else { return }
        changeStored(s, change)
    }

    /// The same for what is stored of any session that has a will.
    mutating func changeStored(_ s: Int, _ change: (_ incarnation: UInt64) -> StoreChange) {
        guard sessions[s].isStored else { return }
        append(change(sessions[s].state.incarnation))
        changed(s)
    }

    /// The last change is one of the session's.
    @inline(__always)
    mutating func changed(_ s: Int) {
        sessions[s].lastTicket = ticket
        if sessions[s].connection >= 0 || sessions[s].isLeaving { waitForCommit(s) }
    }

    /// Nothing will be committed any more: what waits for it is never sent, but connections close.
    package mutating func storeFailed() {
        hasStoreFailed = true
        for c in connections.indices where connections[c].state == .closing { touch(c) }
    }

    /// Whether what happens to the session's messages has to last.
    @inline(__always)
    private func keepsChanges(_ s: Int) -> Bool { sessions[s].state.expiryInterval > 0 || sessions[s].hasStoredQueue }

    mutating func waitForCommit(_ s: Int) {
        guard !sessions[s].isWaiting else { return }
        sessions[s].isWaiting = true
        waitingSessions.append(Int32(s))
    }

    mutating func change(_ change: @autoclosure () -> StoreChange) {
        guard configuration.isDurable else { return }
        append(change())
    }

    @inline(__always)
    mutating func append(_ change: consuming StoreChange) {
        let bytes = Self.bytesHeld(change)
        changesBytes += bytes
        statistics.uncommittedBytes += bytes
        // The first of a batch is filled in when it is taken.
        if changes.isEmpty { changes.append(TakenChanges.placeholder) }
        changes.append(change)
        ticket += 1
    }

    private static func bytesHeld(_ change: StoreChange) -> Int {
        switch change {
        case .queued(let queued, _): queued.message?.bytesHeld ?? MemoryLayout<StoreChange>.stride
        case .retained(let retained): retained.message.bytesHeld
        case .will(let will?, _): PendingWill(will).bytes
        case .subscribed(let subscription, _): MemoryLayout<StoreChange>.stride + subscription.filter.utf8.count
        case .unsubscribed(_, let text), .retainedCleared(let text), .sessionBegan(_, let text, _):
            MemoryLayout<StoreChange>.stride + text.utf8.count
        default: MemoryLayout<StoreChange>.stride
        }
    }

    /// The message that a session had last done with is over. What was not handed to the store yet need not be.
    mutating func changeFinished(_ number: UInt64, _ s: Int) {
        guard configuration.isDurable, keepsChanges(s) else { return }
        let queuedTicket = sessions[s].state.outbound.ticketOfFinished
        let incarnation = sessions[s].state.incarnation
        if queuedTicket > takenTicket {
            let at = Int(queuedTicket - takenTicket)
            if case .queued(let queued, incarnation) = changes[at], queued.number == number {
                let bytes = Self.bytesHeld(changes[at])
                changesBytes -= bytes
                statistics.uncommittedBytes -= bytes
                changes[at] = TakenChanges.placeholder
                unnecessaryChanges += 1
                return
            }
        }
        change(s) { .finished(incarnation: $0, number: number) }
    }
}

/// What the core hands over to be committed as one.
package struct TakenChanges: Sendable {
    /// The first says what concerns no session. Where one has become unnecessary a placeholder stands.
    package fileprivate(set) var changes: [StoreChange] = []
    /// Of the last of them.
    package let ticket: UInt64
    fileprivate(set) var unnecessary = 0

    fileprivate init(ticket: UInt64) { self.ticket = ticket }

    /// No session has this incarnation, so it changes nothing.
    static var placeholder: StoreChange { .sessionConnected(incarnation: 0) }

    package static func isPlaceholder(_ change: StoreChange) -> Bool {
        if case .sessionConnected(incarnation: 0) = change { true } else { false }
    }

    /// Whether what came and went leaves nothing to be written.
    package var isEmpty: Bool { changes.count <= 1 + unnecessary }

    /// Takes the placeholders out: what came and went before it was written need not be.
    package mutating func removePlaceholders() {
        guard unnecessary > 0 else { return }
        var end = 0
        for at in changes.indices where !Self.isPlaceholder(changes[at]) {
            if end < at { changes.swapAt(end, at) }
            end += 1
        }
        changes.removeLast(changes.count - end)
        unnecessary = 0
    }
}

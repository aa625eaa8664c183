import MQTTPackets
import MQTTSessions
import MQTTStore

/// What waits for what. Each change that must last has a ticket, from one sequence. The committer takes all changes
/// there are, commits them as one, and reports the ticket that it reached; then what waited for tickets up to there is
/// released. With a volatile store there are no changes and nothing waits.
extension BrokerCore {
    /// All changes since the last call, and the ticket of the last of them; nil stands where one was made and has become
    /// unnecessary.
    package mutating func takeChanges() -> (changes: [StoreChange?], ticket: UInt64) {
        var taken: [StoreChange?] = []
        swap(&taken, &changes)
        if !taken.isEmpty { uncommittedBatches.append((ticket, changesBytes)) }
        changesBytes = 0
        takenTicket = ticket
        return (taken, ticket)
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
    private mutating func resumeReading() {
        var paused: [ConnectionID] = []
        swap(&paused, &pausedForCommit)
        for id in paused {
            guard let c = index(id) else { continue }
            connections[c].isPausedForCommit = false
            touch(c)
            if !isStoreFull, held[Int32(c)] != nil { goOn(c) }
        }
    }

    private mutating func releaseAnswers(_ c: Int) {
        if connections[c].state == .closing {
            if connections[c].closeTicket > committed { waitingConnections.append(Int32(c)) } else { touch(c) }
            return
        }
        while let first = connections[c].waiting.first, first.ticket <= committed {
            connections[c].waiting.removeFirst()
            connections[c].uncommittedBytes -= first.bytes
            write(first.packet, to: c)
            if first.endsAtLeastOnce { sessions[session(of: c)].state.inbound.acknowledged() }
            if case .pubrec(let answer) = first.packet { connections[c].waitingPubrecs.remove(answer.packetID) }
            if case .connack = first.packet { becomeConnected(c) }
        }
        if !connections[c].waiting.isEmpty { waitingConnections.append(Int32(c)) }
    }

    /// The transport is not closed before this is committed.
    mutating func waitToClose(_ c: Int, for ticket: UInt64) {
        let ticket = awaited(ticket, .close)
        guard ticket > committed else { return }
        connections[c].closeTicket = ticket
        waitingConnections.append(Int32(c))
    }

    /// The ticket that something waits for.
    @inline(__always)
    func awaited(_ ticket: UInt64, _ wait: Waits) -> UInt64 {
        configuration.skippedWaits.isDisjoint(with: wait) ? ticket : 0
    }

    /// Puts an answer behind those that wait on this connection.
    mutating func wait(_ c: Int, _ answer: WaitingAnswer) {
        if connections[c].waiting.isEmpty { waitingConnections.append(Int32(c)) }
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
        let made = change(sessions[s].state.incarnation)
        self.change(made)
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
    private func keepsChanges(_ s: Int) -> Bool { sessions[s].state.isPersistent || sessions[s].hasStoredQueue }

    mutating func waitForCommit(_ s: Int) {
        guard !sessions[s].isWaiting else { return }
        sessions[s].isWaiting = true
        waitingSessions.append(Int32(s))
    }

    mutating func change(_ change: @autoclosure () -> StoreChange) {
        guard configuration.isDurable else { return }
        let change = change()
        let bytes = Self.bytesHeld(change)
        changesBytes += bytes
        statistics.uncommittedBytes += bytes
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
            let at = Int(queuedTicket - takenTicket) - 1
            if case .queued(let queued, incarnation)? = changes[at], queued.number == number {
                let bytes = Self.bytesHeld(.queued(queued, incarnation: incarnation))
                changesBytes -= bytes
                statistics.uncommittedBytes -= bytes
                changes[at] = nil
                return
            }
        }
        change(s) { .finished(incarnation: $0, number: number) }
    }
}

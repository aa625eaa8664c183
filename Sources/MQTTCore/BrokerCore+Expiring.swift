import HeapModule
import MQTTPackets

extension BrokerCore {
    /// Milliseconds after a missed deadline before the connection is ended: time to read what is already there.
    private static var graceOfKeepAlive: Int64 { 250 }
    private static var timersPerTurn: Int { 1_000 }
    /// Milliseconds between two reports of what a session lost.
    private static var dropsInterval: Int64 { 1_000 }
    private static var sessionsToldAtOnce: Int { 1_000 }
    private static var retainedSweptAtOnce: Int { 500 }

    /// Looks at what is due: connects, keep alives, wills, sessions. False where more is due than one turn takes.
    package mutating func expire(at now: Int64) -> Bool {
        self.now = now
        budget = limits.deliveriesPerTurn
        bury()
        forgetTimers()
        sweepRetained()
        if now >= dropsDue { tellDrops() }
        for _ in 0..<Self.timersPerTurn {
            guard budget > 0 else { return false }
            guard publishSystemTopics() else { return false }
            guard let timer = timers.min, timer.due <= now else { return graves.isEmpty }
            timers.removeMin()
            switch timer.kind {
            case .accepted(let id): acceptedDue(id)
            case .connection(let id): connectionDue(id)
            case .session(let s, let incarnation): sessionDue(Int(s), incarnation, timer.due)
            case .drain(let id): drainDue(id)
            case .held(let id): heldDue(id, timer.due)
            case .overflow(let id): overflowDue(id)
            case .systemTopics: systemTopicsDue()
            case .heartbeat: heartbeatDue()
            }
        }
        return false
    }

    mutating func armConnectionTimer(_ c: Int) {
        let keepAlive = connections[c].keepAliveTimeout
        let drainDue = now + configuration.drainTime
        let due = keepAlive > 0 ? min(connections[c].lastReceived + keepAlive, drainDue) : drainDue
        timers.insert(Timer(due: max(due, now + 1), kind: .connection(id(c))))
    }

    private mutating func acceptedDue(_ id: ConnectionID) {
        guard let c = index(id), connections[c].state == .awaitingConnect, held[Int32(c)] == nil else { return }
        end(c, .broker(.maximumConnectTime, explanation: "no CONNECT in time"))
    }

    /// One timer, for as long as the connection is not writable.
    mutating func armDrainTimer(_ c: Int) {
        guard !connections[c].isDrainArmed else { return }
        connections[c].isDrainArmed = true
        timers.insert(Timer(due: connections[c].lastWritable + configuration.drainTime, kind: .drain(id(c))))
    }

    private mutating func drainDue(_ id: ConnectionID) {
        guard let c = index(id), connections[c].state == .connected else { return }
        connections[c].isDrainArmed = false
        // Host code may be as slow as it likes: it has its own bound.
        guard !connections[c].isWritable, !connections[c].isHost else { return }
        guard now - connections[c].lastWritable >= configuration.drainTime else { return armDrainTimer(c) }
        disconnect(c, .quotaExceeded, explanation: "takes nothing of what it is sent")
    }

    private mutating func overflowDue(_ id: ConnectionID) {
        guard let c = index(id), connections[c].state == .connected else { return }
        disconnect(c, .quotaExceeded, explanation: "the queue of the session is full")
    }

    /// Timers of connections and sessions that have gone are not waited for once they are the most of them.
    private mutating func forgetTimers() {
        guard timers.count > 10_000 + 4 * (connectionCount + sessionCount) else { return }
        var left = Heap<Timer>()
        for timer in timers.unordered where isWanted(timer) { left.insert(timer) }
        timers = left
    }

    private func isWanted(_ timer: Timer) -> Bool {
        switch timer.kind {
        case .accepted(let id): index(id).map { connections[$0].state == .awaitingConnect } ?? false
        case .connection(let id), .drain(let id), .held(let id), .overflow(let id): index(id) != nil
        case .session(let s, let incarnation):
            Int(s) < sessions.count && sessions[Int(s)].state.incarnation == incarnation
                && sessions[Int(s)].armedDue == timer.due
        case .systemTopics, .heartbeat: true
        }
    }

    /// One page of the sessions that were listed when it was time; those listed since are told the next time.
    private mutating func tellDrops() {
        if droppingToTell == 0 { droppingToTell = dropping.count }
        let count = min(droppingToTell, Self.sessionsToldAtOnce)
        let told = dropping.prefix(count)
        dropping.removeFirst(count)
        droppingToTell -= count
        for s in told where Int(s) < sessions.count { tellDrops(Int(s)) }
        guard droppingToTell == 0 else { return }
        dropsDue = now + Self.dropsInterval
        tellDrops("", dropsOfNobody, since: dropsOfNobodyTold)
        dropsOfNobodyTold = dropsOfNobody
    }

    private mutating func tellDrops(_ clientID: String, _ drops: Drops, since told: Drops) {
        guard drops != told else { return }
        for cause in DropCause.allCases where drops[cause] > told[cause] {
            events.append(.dropped(clientID: clientID, cause: cause, count: drops[cause] - told[cause]))
        }
    }

    /// Tells observers what a session has lost since they were last told.
    mutating func tellDrops(_ s: Int) {
        guard sessions[s].isDropping else { return }
        sessions[s].isDropping = false
        tellDrops(sessions[s].state.clientID, sessions[s].drops, since: sessions[s].dropsTold)
        sessions[s].dropsTold = sessions[s].drops
    }

    /// Retained messages that have expired go, a page at a time, whether anybody asks for them or not.
    private mutating func sweepRetained() {
        var removed: [Message] = []
        retained.sweep(now: now, count: Self.retainedSweptAtOnce, into: &removed)
        for message in removed { change(.retainedCleared(topic: message.topic)) }
    }

    private mutating func connectionDue(_ id: ConnectionID) {
        guard let c = index(id), connections[c].state == .connected else { return }
        if connections[c].partSince >= 0 && now - connections[c].partSince >= configuration.drainTime {
            return disconnect(c, .quotaExceeded, explanation: "a packet has come in part, and no more of it")
        }
        let timeout = connections[c].keepAliveTimeout
        let isLate = timeout > 0 && now - connections[c].lastReceived >= timeout
        // A client that is not read from cannot show that it is there.
        guard isLate, !connections[c].isReadingPaused else { return armConnectionTimer(c) }
        guard connections[c].isSuspect else {
            connections[c].isSuspect = true
            timers.insert(Timer(due: now + Self.graceOfKeepAlive, kind: .connection(id)))
            return
        }
        emit(c) { .keepAliveTimeout($0) }
        disconnect(c, .keepAliveTimeout, explanation: ReasonCode.keepAliveTimeout.description)  // [MQTT-3.1.2-22]
    }

    mutating func armSessionTimer(_ s: Int) {
        guard !sessions[s].isFree else { return }
        let due = min(sessions[s].willDue ?? .max, sessions[s].endDue ?? .max)
        // One timer a session: of those in the heap only the one that is armed counts.
        guard due < sessions[s].armedDue else { return }
        sessions[s].armedDue = due
        timers.insert(Timer(due: due, kind: .session(Int32(s), incarnation: sessions[s].state.incarnation)))
    }

    private mutating func sessionDue(_ s: Int, _ incarnation: UInt64, _ due: Int64) {
        guard s < sessions.count else { return }
        guard sessions[s].state.incarnation == incarnation, sessions[s].armedDue == due else { return }
        sessions[s].armedDue = .max
        guard sessions[s].connection < 0 else { return }
        if let due = sessions[s].willDue, due <= now { publishWill(of: s) }
        if let due = sessions[s].endDue, due <= now {
            statistics.sessionsExpired &+= 1
            if isObserved { observed.append(.sessionExpired(clientID: sessions[s].state.clientID)) }
            endSession(s)
        } else {
            armSessionTimer(s)
        }
    }

    /// Tells everybody and ends all connections, a page at a time. False while there are more.
    package mutating func shutDown(at now: Int64) -> Bool {
        self.now = now
        isShuttingDown = true
        var page = 1_000
        for c in connections.indices where connections[c].state != .free && connections[c].state != .closing {
            guard page > 0 else { return false }
            page -= 1
            disconnect(c, .serverShuttingDown, explanation: ReasonCode.serverShuttingDown.description)
        }
        return true
    }
}

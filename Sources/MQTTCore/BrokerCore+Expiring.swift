import MQTTPackets

extension BrokerCore {
    /// Milliseconds after a missed deadline before the connection is ended: time to read what is already there.
    private static var graceOfKeepAlive: Int64 { 250 }
    /// Milliseconds that a connection may take nothing of what it is sent.
    private static var drainTime: Int64 { 60_000 }
    private static var timersPerTurn: Int { 1_000 }

    /// Looks at what is due: connects, keep alives, wills, sessions. False where more is due than one turn takes.
    package mutating func expire(at now: Int64) -> Bool {
        self.now = now
        budget = limits.deliveriesPerTurn
        for _ in 0..<Self.timersPerTurn {
            guard budget > 0 else { return false }
            guard let timer = timers.min, timer.due <= now else { return true }
            timers.removeMin()
            switch timer.kind {
            case .connection(let id): connectionDue(id)
            case .session(let s, let incarnation): sessionDue(Int(s), incarnation)
            }
        }
        return false
    }

    mutating func armConnectionTimer(_ c: Int) {
        let keepAlive = connections[c].keepAliveTimeout
        let due = keepAlive > 0 ? connections[c].lastReceived + keepAlive : now + Self.drainTime
        timers.insert(Timer(due: max(due, now + 1), kind: .connection(id(c))))
    }

    private mutating func connectionDue(_ id: ConnectionID) {
        guard let c = index(id) else { return }
        switch connections[c].state {
        case .awaitingConnect:
            if now - connections[c].lastAccepted >= configuration.connectTimeout {
                end(c, reason: "no CONNECT in time")
            }
        case .connected, .awaitingCommit: keepAliveDue(c)
        case .closing, .free: break
        }
    }

    private mutating func keepAliveDue(_ c: Int) {
        if !connections[c].isWritable && now - connections[c].lastWritable >= Self.drainTime {
            return disconnect(c, .quotaExceeded, explanation: "takes nothing of what it is sent")
        }
        let timeout = connections[c].keepAliveTimeout
        let isLate = timeout > 0 && now - connections[c].lastReceived >= timeout
        // A client that is not read from cannot show that it is there.
        guard isLate, !connections[c].isReadingPaused else { return armConnectionTimer(c) }
        guard connections[c].isSuspect else {
            connections[c].isSuspect = true
            timers.insert(Timer(due: now + Self.graceOfKeepAlive, kind: .connection(id(c))))
            return
        }
        disconnect(c, .keepAliveTimeout, explanation: ReasonCode.keepAliveTimeout.description)  // [MQTT-3.1.2-22]
    }

    mutating func armSessionTimer(_ s: Int) {
        let slot = sessions[s]
        guard !slot.isFree else { return }
        guard let due = [slot.willDue, slot.endDue].compactMap({ $0 }).min() else { return }
        timers.insert(Timer(due: due, kind: .session(Int32(s), incarnation: slot.state.incarnation)))
    }

    private mutating func sessionDue(_ s: Int, _ incarnation: UInt64) {
        guard s < sessions.count else { return }
        let slot = sessions[s]
        guard slot.state.incarnation == incarnation, slot.connection < 0 else { return }
        if let due = slot.willDue, due <= now { publishWill(of: s) }
        if let due = slot.endDue, due <= now {
            endSession(s)
        } else {
            armSessionTimer(s)
        }
    }

    /// Tells everybody and ends all connections, a page at a time. False while there are more.
    package mutating func shutDown(at now: Int64) -> Bool {
        self.now = now
        var page = 1_000
        for c in connections.indices where connections[c].state != .free && connections[c].state != .closing {
            guard page > 0 else { return false }
            page -= 1
            disconnect(c, .serverShuttingDown, explanation: ReasonCode.serverShuttingDown.description)
        }
        return true
    }
}

import MQTTPackets
import MQTTSessions
import MQTTStore
import NIOCore

extension BrokerCore {
    /// CONNECT, with what was decided of it where that was asked for.
    mutating func connectReceived(_ connect: Connect, _ c: Int, _ answer: ConnectAnswer? = nil) {
        var connect = connect
        connections[c].version = connect.version
        var properties = answer?.properties ?? Properties()
        if let reason = identify(&connect, &properties) { return refuse(c, reason, version: connect.version) }
        if let answer {
            connections[c].client.username = answer.username
            connections[c].client.attributes = answer.attributes
        } else {
            introduce(connect, c)
        }
        if let reason = refusal(of: connect) { return refuse(c, reason, version: connect.version) }
        let before = ticket
        takeOver(connect.clientID)
        let (s, isPresent) = beginSession(connect)
        begin(c, on: s, connect)
        if isPresent, let answer { restrict(answer.subscriptions, s) }
        // CONNACK waits for all that this CONNECT has changed, and for the end of the session before a new one.
        if !isPresent || ticket > before { sessions[s].lastTicket = ticket }
        answerConnect(c, connect, sessionPresent: isPresent, properties)
    }

    /// From here on the client has a name.
    mutating func introduce(_ connect: Connect, _ c: Int) {
        connections[c].client.id = connect.clientID
        connections[c].client.username = connect.userName
        emit(c) { .clientConnecting($0) }
    }

    /// Gives the client an identifier that has none. Why it is refused where it can be none; nil where it can.
    mutating func identify(_ connect: inout Connect, _ properties: inout Properties) -> ReasonCode? {
        let hasMethod = connect.properties[string: .authenticationMethod] != nil
        if hasMethod && !configuration.asks.contains(.authentication) {
            return .badAuthenticationMethod  // [MQTT-4.12.0-1]
        }
        guard connect.clientID.utf8.count <= limits.clientIDBytesMax else { return .clientIdentifierNotValid }
        guard connect.clientID.isEmpty else { return nil }
        guard connect.version == .v5 || connect.cleanStart else { return .clientIdentifierNotValid }  // [MQTT-3.1.3-8]
        connect.clientID = assignedClientID()
        properties[string: .assignedClientIdentifier] = connect.clientID  // [MQTT-3.2.2-16]
        return nil
    }

    /// Why a CONNECT is refused that is in order otherwise; nil where it is not.
    private func refusal(of connect: Connect) -> ReasonCode? {
        let known = sessionOfClient[Array(connect.clientID.utf8)].map(Int.init)
        if let will = connect.will {
            if Self.isReserved(will.topic) { return .notAuthorized }
            let topic = Array(will.topic.utf8)
            guard isWithinLimits(topic.span) else { return .topicNameInvalid }
            let bytes = PendingWill(will).bytes
            // The session's own will goes when this one comes.
            let others = statistics.willBytes - (known.flatMap { sessions[$0].will?.bytes } ?? 0)
            guard bytes <= limits.willBytesMax, others + bytes <= limits.willBytesInAllMax else {
                return .quotaExceeded
            }
        }
        return known == nil && sessionCount >= limits.sessionsMax ? .quotaExceeded : nil
    }

    private mutating func assignedClientID() -> String {
        // Deterministic under the seed, and hard to guess for who does not know it.
        var bytes: [UInt8] = []
        withUnsafeBytes(of: nextIncarnation) { bytes += $0 }
        // Another may be assigned before a session begins with this one.
        if isGated { nextIncarnation += 1 }
        let high = TopicHash.hash(bytes.span, seed: configuration.seed)
        let low = TopicHash.hash(bytes.span, seed: configuration.seed ^ 0x5851_F42D_4C95_7F2D)
        return "apus-" + String(high, radix: 36) + String(low, radix: 36)
    }

    /// Ends the connection that has this client identifier, whatever loop it is on [MQTT-3.1.4-3].
    private mutating func takeOver(_ clientID: String) {
        guard let s = sessionOfClient[Array(clientID.utf8)] else { return }
        let connection = sessions[Int(s)].connection
        guard connection >= 0 else { return }
        emit(Int(connection)) { .sessionTakenOver($0) }
        disconnect(Int(connection), .sessionTakenOver, explanation: "session taken over")
    }

    private mutating func beginSession(_ connect: Connect) -> (Int, isPresent: Bool) {
        let expiry = sessionExpiry(connect)
        if let s = sessionOfClient[Array(connect.clientID.utf8)].map(Int.init) {
            if !connect.cleanStart && !isOver(s) {
                // One that is due, which the timer has not come to yet, is not called off [MQTT-3.1.2-8].
                if sessions[s].willDue ?? .max <= now { publishWill(of: s) }
                sessions[s].willDue = nil  // [MQTT-3.1.3-9]
                sessions[s].endDue = nil
                if sessions[s].isStoredDisconnected {
                    sessions[s].isStoredDisconnected = false
                    changeStored(s) { .sessionConnected(incarnation: $0) }
                }
                setExpiry(s, expiry)
                return (s, true)
            }
            endSession(s)  // [MQTT-3.1.2-4]
        }
        var state = BrokerSession(clientID: connect.clientID, incarnation: nextIncarnation, expiryInterval: expiry)
        nextIncarnation += 1
        let hasStoredQueue = configuration.isDurable && expiry > 0
        if hasStoredQueue { state.outbound.beginStored() }
        let s = addSession(state)
        sessions[s].hasStoredQueue = hasStoredQueue
        if expiry > 0 { beginStoring(s) }
        return (s, false)
    }

    /// Whether a session has outlived its expiry interval.
    func isOver(_ s: Int) -> Bool { sessions[s].state.expiryInterval == 0 || sessions[s].endDue ?? .max <= now }

    mutating func addSession(_ state: BrokerSession) -> Int {
        let slot = freeSessions.popLast() ?? Int32(sessions.count)
        if Int(slot) == sessions.count {
            sessions.append(SessionSlot(state))
        } else {
            sessions[Int(slot)] = SessionSlot(state)
        }
        sessionOfClient[Array(state.clientID.utf8)] = slot
        return Int(slot)
    }

    private mutating func beginStoring(_ s: Int) {
        guard configuration.isDurable, !sessions[s].isStored else { return }
        sessions[s].isStored = true
        let (clientID, expiry) = (sessions[s].state.clientID, sessions[s].state.expiryInterval)
        changeStored(s) { .sessionBegan(incarnation: $0, clientID: clientID, expiryInterval: expiry) }
    }

    func sessionExpiry(_ connect: Connect) -> UInt32 {
        min(connect.sessionExpiryInterval, UInt32(limits.sessionExpiryMax))
    }

    private mutating func setExpiry(_ s: Int, _ expiry: UInt32) {
        guard sessions[s].state.expiryInterval != expiry else { return }
        changeStored(s) { .sessionExpiryChanged(incarnation: $0, expiryInterval: expiry) }
        sessions[s].state.expiryInterval = expiry
        if expiry == 0 && sessions[s].hasStoredQueue && sessions[s].state.outbound.stored.count == 0 {
            statistics.queuedBytesInWindows -= sessions[s].state.outbound.bytesHeld
            sessions[s].hasStoredQueue = false
        }
    }

    private mutating func begin(_ c: Int, on s: Int, _ connect: Connect) {
        pendingCount -= 1
        connections[c].session = Int32(s)
        connections[c].connectedAt = now
        sessions[s].connection = Int32(c)
        sessions[s].state.connectionBegan()
        sessions[s].isUnreadable = false
        pauseForReplays(s, c)
        connections[c].asksForExpiry = connect.sessionExpiryInterval > 0
        setWill(connect.will.map(PendingWill.init), s)  // [MQTT-3.1.2-7]
        let properties = connect.properties
        connections[c].sendQuota = min(limits.inFlightMax, Int(properties[integer: .receiveMaximum] ?? .max))
        connections[c].packetBytesMax = Int(properties[integer: .maximumPacketSize] ?? .max)
        connections[c].aliasesIn = InboundAliases(
            maximum: connect.version == .v5 ? UInt16(limits.topicAliasMaximum) : 0,
            bytesMax: limits.topicAliasBytesMax
        )
        let aliases = min(UInt32(limits.topicAliasMaximum), properties[integer: .topicAliasMaximum] ?? 0)
        connections[c].aliasesOut = OutboundAliases(maximum: Int(aliases))
        connections[c].wantsProblemInformation = properties[integer: .requestProblemInformation] != 0
        let keepAlive = serverKeepAlive(connect) ?? connect.keepAlive
        connections[c].keepAliveTimeout = Int64(keepAlive) * 1_500  // [MQTT-3.1.2-22]
    }

    /// It is stored with its connection, also where nothing else of the session is.
    private mutating func setWill(_ will: PendingWill?, _ s: Int) {
        if will != nil { beginStoring(s) }
        if will != nil || sessions[s].will != nil { changeStored(s) { .will(will?.will, incarnation: $0) } }
        keepWill(will, s)
    }

    mutating func keepWill(_ will: PendingWill?, _ s: Int) {
        statistics.willBytes += (will?.bytes ?? 0) - (sessions[s].will?.bytes ?? 0)
        sessions[s].will = will
    }

    /// The will of a session, which has it no more.
    mutating func takeWill(_ s: Int) -> Will? {
        let will = sessions[s].will?.will
        setWill(nil, s)
        return will
    }

    /// Nil where the client's own keep alive holds.
    private func serverKeepAlive(_ connect: Connect) -> UInt16? {
        let most = configuration.keepAliveMax
        guard most > 0, connect.keepAlive == 0 || connect.keepAlive > most else { return nil }
        return most
    }

    private mutating func answerConnect(
        _ c: Int,
        _ connect: Connect,
        sessionPresent: Bool,
        _ assigned: Properties
    ) {
        var properties = assigned
        if connect.version == .v5 {
            properties[integer: .receiveMaximum] = UInt32(limits.receiveMaximum)
            properties[integer: .maximumPacketSize] = UInt32(limits.packetBytesMax)
            properties[integer: .topicAliasMaximum] = UInt32(limits.topicAliasMaximum)
            let expiry = sessionExpiry(connect)
            if expiry != connect.sessionExpiryInterval { properties[integer: .sessionExpiryInterval] = expiry }
            if let keepAlive = serverKeepAlive(connect) { properties[integer: .serverKeepAlive] = UInt32(keepAlive) }
            if let information = configuration.responseInformation,
                connect.properties[integer: .requestResponseInformation] == 1
            {
                properties[string: .responseInformation] = information  // [MQTT-3.1.2-28]
            }
        }
        let connack = Connack(sessionPresent: sessionPresent, reasonCode: .success, properties: properties)
        guard fits(.connack(connack), c) else {
            _ = takeWill(session(of: c))  // the connection was never accepted
            let explanation = "not even CONNACK fits into the client's maximum packet size"
            return end(c, .broker(.packetTooLarge, explanation: explanation))  // [MQTT-3.1.2-24]
        }
        if !connections[c].isHost {
            let client = connections[c].client
            events.append(.connected(client, sessionPresent: sessionPresent, keepAlive: connect.keepAlive))
        }
        emit(c) { .clientConnected($0) }
        let ticket = connections[c].isHost ? 0 : awaited(sessions[session(of: c)].lastTicket, .connack)
        if ticket > committed {
            // Nothing else enters the send buffer before CONNACK, and it waits for all that the session ever changed.
            connections[c].state = .awaitingCommit
            wait(c, WaitingAnswer(ticket: ticket, answer: .packet(.connack(connack))))
        } else {
            write(.connack(connack), to: c)
            becomeConnected(c)
        }
    }

    /// CONNACK is in the send buffer: what the session has waiting may follow.
    mutating func becomeConnected(_ c: Int) {
        connections[c].state = .connected
        statistics.clientsConnected += 1
        statistics.clientsMaximum = max(statistics.clientsMaximum, statistics.clientsConnected)
        armConnectionTimer(c)
        touch(c)
        connections[c].readyAt = sessions[session(of: c)].state.outbound.end
        pump(c)
        if !connections[c].isHost { tellClientCame(sessions[session(of: c)].state.clientID) }
    }

    mutating func disconnectReceived(_ disconnect: Disconnect, _ c: Int) throws(DecodingError) {
        let s = session(of: c)
        guard disconnect.reasonCode.mayComeFromClient else {
            throw .malformed("a DISCONNECT reason code of servers")  // [MQTT-3.14.2-1]
        }
        if let expiry = disconnect.properties[integer: .sessionExpiryInterval] {
            if !connections[c].asksForExpiry && expiry != 0 {
                throw .protocolError("a session expiry interval for a session that was to have none")
            }
            setExpiry(s, min(expiry, UInt32(limits.sessionExpiryMax)))
        }
        if disconnect.reasonCode == .success { _ = takeWill(s) }  // [MQTT-3.14.4-3]
        let before = ticket
        end(c, .client(disconnect.reasonCode))
        // Who sees the close knows that the will is gone and that the expiry counts.
        waitToClose(c, for: max(ticket > before ? ticket : 0, sessions[s].lastTicket))
    }

    /// Refuses a CONNECT [MQTT-3.2.2-7].
    mutating func refuse(_ c: Int, _ reason: ReasonCode, version: ProtocolVersion) {
        connections[c].version = version
        let connack = Connack(sessionPresent: false, reasonCode: reason)  // [MQTT-3.2.2-6]
        write(.connack(connack), to: c)
        end(c, .broker(reason, explanation: "refused: \(reason)"))
    }

    /// The same for a connection that may have gone.
    package mutating func disconnect(
        _ id: ConnectionID,
        _ reason: ReasonCode,
        explanation: String,
        at now: Int64
    ) {
        self.now = now
        guard let c = index(id), connections[c].state != .closing else { return }
        disconnect(c, reason, explanation: explanation)
    }

    /// Ends a connection with the reason that 5.0 has a packet for.
    package mutating func disconnect(_ c: Int, _ reason: ReasonCode, explanation: String) {
        if connections[c].state == .connected && connections[c].version == .v5 {
            var properties = Properties()
            if connections[c].wantsProblemInformation && explanation != reason.description {
                properties[string: .reasonString] = explanation
            }
            var packet = Packet.disconnect(Disconnect(reasonCode: reason, properties: properties))
            if PacketEncoder(version: .v5).encode(packet).readableBytes > connections[c].packetBytesMax {
                packet = .disconnect(Disconnect(reasonCode: reason))  // [MQTT-3.14.2-3]
            }
            write(packet, to: c)
        }
        end(c, .broker(reason, explanation: explanation))
    }

    /// Parts connection and session; the transport closes once the output is written.
    mutating func end(_ c: Int, _ reason: DisconnectReason) {
        let s = Int(connections[c].session)
        let hadVersion = connections[c].state != .awaitingConnect || s >= 0
        let wasConnected = connections[c].state == .connected
        let wasAccepted = wasConnected || connections[c].state == .awaitingCommit
        // One with a session has paid what it owed.
        if connections[c].state == .awaitingConnect && s < 0 { pendingCount -= 1 }
        connections[c].state = .closing
        connections[c].session = -1
        connections[c].waiting.removeAll()
        connections[c].uncommittedBytes = 0
        if !held.isEmpty { dropHeld(c) }
        if isGated { dropQuestion(c) }
        touch(c)
        let clientID = s >= 0 ? sessions[s].state.clientID : ""
        if !connections[c].isHost {
            events.append(.disconnected(connections[c].client, hadConnect: hadVersion, reason))
        }
        emitEnded(c, reason, wasAccepted: wasAccepted)
        if wasConnected { statistics.clientsConnected -= 1 }
        if s >= 0 { connectionEnded(of: s) }
        if wasConnected && !connections[c].isHost { tellClientWent(clientID) }
    }

    private mutating func connectionEnded(of s: Int) {
        sessions[s].connection = -1
        withQueue(s) { $0.connectionEnded() }
        unload(s)
        // Wills and expiry are for the next start to see to.
        guard !(isShuttingDown && configuration.isDurable) else { return }
        countDown(s)
    }

    /// From now on will delay and expiry count.
    mutating func countDown(_ s: Int) {
        let expiry = sessions[s].state.expiryInterval
        if let will = sessions[s].will {
            let delay = min(will.delay, expiry == .max ? .max : Int64(expiry) * 1_000)
            if delay == 0 {
                publishWill(of: s)  // [MQTT-3.1.2-8]
            } else {
                sessions[s].willDue = now + delay
            }
        }
        if expiry > 0 && expiry != .max || sessions[s].willDue != nil {
            sessions[s].isStoredDisconnected = true
            changeStored(s) { [now] in .sessionDisconnected(incarnation: $0, at: now) }
        }
        if expiry == 0 {
            endSession(s)
        } else if expiry != .max {
            sessions[s].endDue = now + Int64(expiry) * 1_000
        }
        armSessionTimer(s)
    }
}

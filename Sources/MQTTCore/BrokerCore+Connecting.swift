import MQTTPackets
import MQTTSessions
import NIOCore

extension BrokerCore {
    mutating func connectReceived(_ connect: Connect, _ c: Int) {
        var connect = connect
        connections[c].version = connect.version
        var properties = Properties()
        if connect.properties[string: .authenticationMethod] != nil {
            return refuse(c, .badAuthenticationMethod, version: connect.version)  // [MQTT-4.12.0-1]
        }
        if connect.clientID.isEmpty {
            guard connect.version == .v5 || connect.cleanStart else {
                return refuse(c, .clientIdentifierNotValid, version: connect.version)  // [MQTT-3.1.3-8]
            }
            connect.clientID = assignedClientID()
            properties[string: .assignedClientIdentifier] = connect.clientID  // [MQTT-3.2.2-16]
        }
        guard connect.clientID.utf8.count <= limits.clientIDBytesMax else {
            return refuse(c, .clientIdentifierNotValid, version: connect.version)
        }
        if let topic = connect.will?.topic, Self.isReserved(topic) {
            return refuse(c, .notAuthorized, version: connect.version)
        }
        let before = ticket
        takeOver(connect.clientID)
        let (s, isPresent) = beginSession(connect)
        // CONNACK waits for all that this CONNECT has changed, and for the end of the session before a new one.
        if !isPresent || ticket > before { sessions[s].lastTicket = ticket }
        begin(c, on: s, connect)
        answerConnect(c, connect, sessionPresent: isPresent, properties)
    }

    private mutating func assignedClientID() -> String {
        // Deterministic under the seed, and hard to guess for who does not know it.
        var bytes: [UInt8] = []
        withUnsafeBytes(of: nextIncarnation) { bytes += $0 }
        let high = TopicHash.hash(bytes.span, seed: configuration.seed)
        let low = TopicHash.hash(bytes.span, seed: configuration.seed ^ 0x5851_F42D_4C95_7F2D)
        return "apus-" + String(high, radix: 36) + String(low, radix: 36)
    }

    /// Ends the connection that has this client identifier, whatever loop it is on [MQTT-3.1.4-3].
    private mutating func takeOver(_ clientID: String) {
        guard let s = sessionOfClient[Array(clientID.utf8)] else { return }
        let connection = sessions[Int(s)].connection
        guard connection >= 0 else { return }
        disconnect(Int(connection), .sessionTakenOver, explanation: "session taken over")
    }

    private mutating func beginSession(_ connect: Connect) -> (Int, isPresent: Bool) {
        let expiry = connect.sessionExpiryInterval
        if let s = sessionOfClient[Array(connect.clientID.utf8)].map(Int.init) {
            if !connect.cleanStart {
                sessions[s].willDue = nil  // [MQTT-3.1.3-9]
                sessions[s].endDue = nil
                setExpiry(s, expiry)
                return (s, true)
            }
            endSession(s)  // [MQTT-3.1.2-4]
        }
        let state = BrokerSession(clientID: connect.clientID, incarnation: nextIncarnation, expiryInterval: expiry)
        nextIncarnation += 1
        let slot = freeSessions.popLast() ?? Int32(sessions.count)
        if Int(slot) == sessions.count {
            sessions.append(SessionSlot(state))
        } else {
            sessions[Int(slot)] = SessionSlot(state)
        }
        sessionOfClient[Array(connect.clientID.utf8)] = slot
        change(Int(slot)) {
            .sessionBegan(incarnation: $0, clientID: connect.clientID, expiryInterval: expiry)
        }
        return (Int(slot), false)
    }

    /// A session that is to end with its connection is no longer stored: nothing of it has to last.
    private mutating func setExpiry(_ s: Int, _ expiry: UInt32) {
        guard sessions[s].state.expiryInterval != expiry else { return }
        change(s) {
            expiry == 0
                ? .sessionEnded(incarnation: $0) : .sessionExpiryChanged(incarnation: $0, expiryInterval: expiry)
        }
        sessions[s].state.expiryInterval = expiry
    }

    private mutating func begin(_ c: Int, on s: Int, _ connect: Connect) {
        connections[c].session = Int32(s)
        sessions[s].connection = Int32(c)
        sessions[s].state.connectionBegan()
        sessions[s].will = connect.will.map(PendingWill.init)  // [MQTT-3.1.2-7]
        let properties = connect.properties
        connections[c].sendQuota = min(limits.inFlightMax, Int(properties[integer: .receiveMaximum] ?? .max))
        connections[c].packetBytesMax = Int(properties[integer: .maximumPacketSize] ?? .max)
        connections[c].aliasesIn = InboundAliases(maximum: connect.version == .v5 ? limits.topicAliasMaximum : 0)
        let aliases = min(UInt32(limits.topicAliasMaximum), properties[integer: .topicAliasMaximum] ?? 0)
        connections[c].aliasesOut = OutboundAliases(maximum: Int(aliases))
        connections[c].wantsProblemInformation = properties[integer: .requestProblemInformation] != 0
        let keepAlive = serverKeepAlive(connect) ?? connect.keepAlive
        connections[c].keepAliveTimeout = Int64(keepAlive) * 1_500  // [MQTT-3.1.2-22]
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
            if let keepAlive = serverKeepAlive(connect) { properties[integer: .serverKeepAlive] = UInt32(keepAlive) }
            if let information = configuration.responseInformation,
                connect.properties[integer: .requestResponseInformation] == 1
            {
                properties[string: .responseInformation] = information  // [MQTT-3.1.2-28]
            }
        }
        let connack = Connack(sessionPresent: sessionPresent, reasonCode: .success, properties: properties)
        guard fits(.connack(connack), c) else {
            sessions[session(of: c)].will = nil  // the connection was never accepted
            return end(c, reason: "not even CONNACK fits into the client's maximum packet size")  // [MQTT-3.1.2-24]
        }
        events.append(
            .connected(
                clientID: connect.clientID,
                address: connections[c].address,
                version: connect.version,
                sessionPresent: sessionPresent,
                keepAlive: connect.keepAlive
            )
        )
        let ticket = sessions[session(of: c)].lastTicket
        if ticket > committed {
            // Nothing else enters the send buffer before CONNACK, and it waits for all that the session ever changed.
            connections[c].state = .awaitingCommit
            wait(c, WaitingAnswer(ticket: ticket, packet: .connack(connack)))
        } else {
            connections[c].output.append(.connack(connack), connect.version)
            becomeConnected(c)
        }
    }

    /// CONNACK is in the send buffer: what the session has waiting may follow.
    mutating func becomeConnected(_ c: Int) {
        connections[c].state = .connected
        armConnectionTimer(c)
        touch(c)
        pump(c)
    }

    mutating func disconnectReceived(_ disconnect: Disconnect, _ c: Int) throws(DecodingError) {
        let s = session(of: c)
        guard disconnect.reasonCode.mayComeFromClient else {
            throw .malformed("a DISCONNECT reason code of servers")  // [MQTT-3.14.2-1]
        }
        if let expiry = disconnect.properties[integer: .sessionExpiryInterval] {
            if sessions[s].state.expiryInterval == 0 && expiry != 0 {
                throw .protocolError("a session expiry interval for a session that was to have none")
            }
            setExpiry(s, expiry)
        }
        if disconnect.reasonCode == .success { sessions[s].will = nil }  // [MQTT-3.14.4-3]
        end(c, reason: "client disconnected")
    }

    /// Refuses a CONNECT [MQTT-3.2.2-7].
    mutating func refuse(_ c: Int, _ reason: ReasonCode, version: ProtocolVersion) {
        connections[c].version = version
        let connack = Connack(sessionPresent: false, reasonCode: reason)  // [MQTT-3.2.2-6]
        connections[c].output.append(.connack(connack), version)
        end(c, reason: "refused: \(reason)")
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
            connections[c].output.append(packet, .v5)
        }
        end(c, reason: explanation)
    }

    /// Parts connection and session; the transport closes once the output is written.
    mutating func end(_ c: Int, reason: String) {
        let s = Int(connections[c].session)
        let hadVersion = connections[c].state != .awaitingConnect || s >= 0
        connections[c].state = .closing
        connections[c].session = -1
        connections[c].waiting.removeAll()
        touch(c)
        let clientID = s >= 0 ? sessions[s].state.clientID : ""
        events.append(
            .disconnected(
                clientID: clientID,
                address: connections[c].address,
                version: hadVersion ? connections[c].version : nil,
                reason: reason
            )
        )
        if s >= 0 { connectionEnded(of: s) }
    }

    private mutating func connectionEnded(of s: Int) {
        sessions[s].connection = -1
        sessions[s].state.connectionEnded()
        let expiry = sessions[s].state.expiryInterval
        if let will = sessions[s].will {
            let delay = min(will.delay, expiry == .max ? .max : Int64(expiry) * 1_000)
            if delay == 0 {
                publishWill(of: s)  // [MQTT-3.1.2-8]
            } else {
                sessions[s].willDue = now + delay
            }
        }
        if expiry == 0 {
            endSession(s)
        } else if expiry != .max {
            sessions[s].endDue = now + Int64(expiry) * 1_000
        }
        armSessionTimer(s)
    }

    /// All that a session has goes [MQTT-4.1.0-2].
    mutating func endSession(_ s: Int) {
        let slot = sessions[s]
        if slot.will != nil { publishWill(of: s) }
        // In the order of their numbers: the order of a dictionary differs from process to process.
        for number in slot.subscriptions.values.sorted() { tree.remove(number) }
        redistribute(from: s, onlyUnsent: false)
        change(s) { .sessionEnded(incarnation: $0) }
        sessionOfClient[Array(slot.state.clientID.utf8)] = nil
        if !sessions[s].state.outbound.isEmpty { discarded.append(sessions[s].state.outbound) }
        sessions[s] = .free
        freeSessions.append(Int32(s))
    }
}

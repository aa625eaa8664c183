import MQTTPackets
import MQTTRouting
import MQTTSessions
import MQTTStore

/// What the program does that the broker is part of. No client stands behind it: it owes no CONNECT, and only limits
/// refuse it something.
extension BrokerCore {
    /// What became of something that host code asked for.
    package struct HostOutcome: Sendable {
        /// Success, or why not.
        package let reason: ReasonCode
        /// It holds once this is committed.
        package let ticket: UInt64
    }

    // MARK: Publishing

    /// When a message expires that is published now.
    package mutating func expiry(of publish: Publish, at now: Int64) -> Int64 {
        self.now = now
        return expiry(publish.properties[integer: .messageExpiryInterval])
    }

    /// Gives a message to everybody whose subscriptions match.
    package mutating func publish(_ message: Message, at now: Int64) -> HostOutcome {
        begin(at: now)
        if let reason = refusal(of: message) { return HostOutcome(reason: reason, ticket: 0) }
        let bytes = message.bytes
        let outcome = route(
            bytes.span,
            message.view,
            expiresAt: message.expiresAt,
            publisher: Publication.host,
            existing: message
        )
        return HostOutcome(reason: outcome.isTakenByNone ? .quotaExceeded : .success, ticket: ticket)
    }

    /// Gives a message to one session, as a subscription of its would. Nil where there is no such session.
    package mutating func publish(_ message: Message, to clientID: String, at now: Int64) -> HostOutcome? {
        begin(at: now)
        guard let s = liveSession(clientID) else { return nil }
        if let reason = refusal(of: message) { return HostOutcome(reason: reason, ticket: 0) }
        let bytes = message.bytes
        var publication = Publication(message)
        let receiver = Receiver(session: Int32(s), qos: message.qos, retainAsPublished: false)
        statistics.copiesRouted &+= 1
        let isTaken = deliver(bytes.span, message.view, &publication, to: receiver, [])
        return HostOutcome(reason: isTaken ? .success : .quotaExceeded, ticket: ticket)
    }

    private func refusal(of message: Message) -> ReasonCode? {
        let bytes = message.bytes
        guard isWithinLimits(bytes.span.extracting(message.view.topic)) else { return .topicNameInvalid }
        guard message.view.payload.count <= limits.packetBytesMax else { return .packetTooLarge }
        // A client's would wait. Host code is told, and can do so itself.
        let asksForRoom = message.qos != .atMostOnce || message.isRetained && !message.view.payload.isEmpty
        return isStoreFull && asksForRoom ? .serverBusy : nil
    }

    mutating func begin(at now: Int64) {
        self.now = now
        budget = limits.deliveriesPerTurn
    }

    func liveSession(_ clientID: String) -> Int? {
        guard let s = sessionOfClient[Array(clientID.utf8)].map(Int.init) else { return nil }
        return sessions[s].connection >= 0 || !isOver(s) ? s : nil
    }

    // MARK: Subscribing

    /// A subscription of host code's own: a connection of this loop without a transport, that takes its output entries and
    /// acknowledges with `acknowledged`.
    package mutating func beginHostSubscription(
        _ filter: String,
        _ options: SubscriptionOptions,
        loop: Int,
        at now: Int64
    ) -> Result<ConnectionID, HostRefusal> {
        begin(at: now)
        guard let id = open(loop: loop, address: "host", at: now), let c = index(id) else {
            return .failure(HostRefusal(reason: .quotaExceeded))
        }
        connections[c].isHost = true
        connectReceived(Connect(version: .v5, clientID: "", cleanStart: true, keepAlive: 0), c)
        // It was refused for a limit.
        let refused = connections[c].state == .connected ? nil : ReasonCode.quotaExceeded
        let reason = refused ?? subscribe(Subscription(filter: filter, options: options), session(of: c))
        guard !reason.isError else {
            closed(id, .closed, at: now)
            return .failure(HostRefusal(reason: reason))
        }
        pump(c)
        return .success(id)
    }

    /// Host code has taken these messages of QoS 1.
    package mutating func acknowledged(_ packetIDs: [UInt16], by id: ConnectionID, at now: Int64) {
        begin(at: now)
        for packetID in packetIDs {
            guard let c = index(id), connections[c].state == .connected else { return }
            pubackReceived(Acknowledgement(packetID: packetID), c)
        }
    }

    /// Subscribes for a client, or changes what it has. Nil where it has no session.
    package mutating func subscribe(
        _ clientID: String,
        _ subscription: Subscription,
        at now: Int64
    ) -> HostOutcome? {
        begin(at: now)
        guard let s = liveSession(clientID) else { return nil }
        if isStoreFull && sessions[s].state.isPersistent { return HostOutcome(reason: .serverBusy, ticket: 0) }
        let reason = subscribe(subscription, s)
        let c = Int(sessions[s].connection)
        if c >= 0 {
            pauseForReplays(s, c)
            pump(c)
            emitSubscribed(c, [Subscribe.Filter(subscription.filter, subscription.options)], [reason])
        }
        return HostOutcome(reason: reason.isError ? reason : .success, ticket: ticket)
    }

    private mutating func subscribe(_ subscription: Subscription, _ s: Int) -> ReasonCode {
        if subscription.options.noLocal && subscription.filter.hasPrefix("$share/") {
            return .protocolError  // [MQTT-3.8.3-4]
        }
        return subscribe(Subscribe.Filter(subscription.filter, subscription.options), 0, s)
    }

    /// Takes a subscription from a client. Nil where it has no session; where it has no such subscription the outcome says
    /// so.
    package mutating func unsubscribe(_ clientID: String, _ filter: String, at now: Int64) -> HostOutcome? {
        begin(at: now)
        guard let s = liveSession(clientID) else { return nil }
        let reason = unsubscribe([filter], s)[0]
        let c = Int(sessions[s].connection)
        if c >= 0 { emitUnsubscribed(c, [filter], [reason]) }
        return HostOutcome(reason: reason, ticket: ticket)
    }

    // MARK: Clients

    /// Ends the connection of a client. False where it has none.
    package mutating func disconnect(
        clientID: String,
        _ reason: ReasonCode,
        explanation: String,
        at now: Int64
    ) -> Bool {
        begin(at: now)
        guard let s = sessionOfClient[Array(clientID.utf8)].map(Int.init), sessions[s].connection >= 0 else {
            return false
        }
        disconnect(Int(sessions[s].connection), reason, explanation: explanation)
        return true
    }

    /// Ends the connection and the session of a client. Nil where it has none.
    package mutating func endSession(clientID: String, explanation: String, at now: Int64) -> HostOutcome? {
        guard let s = liveSession(clientID) else { return nil }
        let incarnation = sessions[s].state.incarnation
        _ = disconnect(clientID: clientID, .administrativeAction, explanation: explanation, at: now)
        if !sessions[s].isFree, sessions[s].state.incarnation == incarnation { endSession(s) }
        return HostOutcome(reason: .success, ticket: ticket)
    }

    private static var clientsOfPage: Int { 500 }

    /// Sessions and their connections, a page of slots at a time; nil behind the last page.
    package mutating func clients(page: Int, at now: Int64) -> [ClientStatus]? {
        let slots = page * Self.clientsOfPage..<(page + 1) * Self.clientsOfPage
        guard slots.lowerBound < sessions.count else { return nil }
        var clients: [ClientStatus] = []
        for s in slots.clamped(to: sessions.indices) where !sessions[s].isOver {
            let c = Int(sessions[s].connection)
            if c >= 0 && connections[c].isHost { continue }
            clients.append(
                ClientStatus(
                    id: sessions[s].state.clientID,
                    connection: c < 0 ? nil : connectionStatus(c, at: now),
                    subscriptions: sessions[s].subscriptions.count,
                    queue: queue(s)
                )
            )
        }
        return clients
    }

    private func connectionStatus(_ c: Int, at now: Int64) -> ClientStatus.Connection {
        let connection = connections[c]
        return ClientStatus.Connection(
            client: connection.client,
            duration: .milliseconds(max(0, now - connection.connectedAt)),
            keepAlive: .milliseconds(connection.keepAliveTimeout * 2 / 3),
            publishReceived: connection.publishReceived,
            publishSent: connection.publishSent,
            bytesReceived: connection.bytesReceived,
            bytesSent: connection.bytesSent
        )
    }

    /// The subscriptions of a client, in the order of their filters. Nil where it has no session.
    package mutating func subscriptions(of clientID: String) -> [Subscription]? {
        guard let s = liveSession(clientID) else { return nil }
        return sessions[s].subscriptions.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map { key, number in
            Subscription(
                filter: String(decoding: key, as: UTF8.self),
                options: tree.subscriptions[Int(number)].options
            )
        }
    }

    // MARK: Retained messages

    private static var retainedOfPage: Int { 500 }

    /// Retained messages whose topics a filter passes, in the order of their topics, from behind a topic on. `next` is nil
    /// behind the last.
    package mutating func retainedMessages(
        matching filter: [[UInt8]],
        after topic: [UInt8],
        at now: Int64
    ) -> (messages: [Message], next: [UInt8]?) {
        var (key, looks, messages) = (topic, Self.retainedOfPage, [Message]())
        while looks > 0 {
            switch retained.next(after: key, matching: filter, budget: &looks) {
            case .found(let found):
                key = Array(found.message.topic.utf8)
                if found.message.expiresAt > now { messages.append(found.message) }
            case .more(let more): key = more
            case .exhausted: return (messages, nil)
            }
        }
        return (messages, key)
    }

    /// Forgets retained messages, of which others may have taken the place meanwhile.
    package mutating func clearRetained(_ messages: [Message], at now: Int64) -> (count: Int, ticket: UInt64) {
        begin(at: now)
        var count = 0
        for message in messages {
            let bytes = message.bytes
            let topic = bytes.span.extracting(message.view.topic)
            guard retained.get(topic)?.message === message else { continue }
            retained.remove(topic)
            change(.retainedCleared(topic: message.topic))
            count += 1
        }
        return (count, ticket)
    }

    /// Whether a ticket is committed; what is not stored always is.
    package mutating func isCommitted(_ ticket: UInt64) -> Bool { ticket <= committed }
}

/// Why host code was refused something.
package struct HostRefusal: Error {
    package let reason: ReasonCode
}

/// A session, and its connection where it has one, as of one moment.
public struct ClientStatus: Sendable, Identifiable {
    /// What a connected client does.
    public struct Connection: Sendable {
        /// Who it is.
        public let client: ClientInfo
        /// How long ago CONNECT was accepted.
        public let duration: Duration
        /// Zero where there is none.
        public let keepAlive: Duration
        /// PUBLISH packets that came from the client.
        public let publishReceived: UInt64
        /// PUBLISH packets that were sent to it.
        public let publishSent: UInt64
        /// Bytes of whole packets that came from it.
        public let bytesReceived: UInt64
        /// Bytes that were given to its transport.
        public let bytesSent: UInt64
    }

    /// The client identifier.
    public let id: String
    /// Nil while the client is away.
    public let connection: Connection?
    /// How many.
    public let subscriptions: Int
    /// What waits for it, and what it has lost.
    public let queue: SessionQueue
}

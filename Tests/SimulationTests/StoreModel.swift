import MQTTPackets
import MQTTStore
import MQTTStoreTesting

/// What a store holds after each change, by the letter of `StoreChange`. It refuses changes that make no sense.
struct StoreModel {
    struct Session {
        let clientID: String
        var expiryInterval: UInt32
        var isDisconnected = false
        var filters: Set<String> = []
        /// Number → ticket of `queued` and QoS.
        var queued: [UInt64: (ticket: UInt64, qos: QoS)] = [:]
        var end: UInt64 = 0
        /// Messages of QoS 2 below an end may be sent once the ticket is committed.
        var marks: [(end: UInt64, ticket: UInt64)] = []
        var hasWill = false
        /// Number → ticket of `received`.
        var received: [UInt64: UInt64] = [:]
        /// Packet identifier → ticket of its last `packetReceived`; and of its last `packetReleased`.
        var packetIDs: [UInt16: UInt64] = [:]
        var releases: [UInt16: UInt64] = [:]
    }

    private(set) var sessions: [UInt64: Session] = [:]
    private(set) var retained: [String: String] = [:]
    private var incarnationOfClient: [String: UInt64] = [:]
    private var lastTickets: [String: UInt64] = [:]
    private var connectTickets: [String: UInt64] = [:]
    private var lastIncarnation: UInt64 = 0
    private(set) var ticket: UInt64 = 0
    var committed: UInt64 = 0
    /// The ticket that the commit under way will reach.
    var committing: UInt64?

    init() {}

    /// The store of a broker that starts on what was kept. All of it is committed.
    init(of kept: StoreContents) {
        for (incarnation, stored) in kept.sessions {
            var session = Session(clientID: stored.clientID, expiryInterval: stored.expiryInterval)
            session.filters = Set(stored.subscriptions.values.map(\.filter))
            session.hasWill = stored.will != nil
            session.isDisconnected = stored.disconnectedAt != nil
            session.end = max(stored.nextNumber, stored.sendMark)
            session.marks = [(stored.sendMark, 0)]
            for message in stored.messages.values {
                session.queued[message.number] = (0, message.qos)
                if message.message == nil { session.received[message.number] = 0 }
            }
            for id in stored.receivedPacketIDs { session.packetIDs[id] = 0 }
            sessions[incarnation] = session
            let isOver = session.isDisconnected && session.expiryInterval == 0
            if !isOver { incarnationOfClient[stored.clientID] = incarnation }
            lastIncarnation = max(lastIncarnation, incarnation)
        }
        retained = kept.retainedPayloads
    }

    func session(of clientID: String) -> Session? { incarnationOfClient[clientID].flatMap { sessions[$0] } }

    /// The last change of any session that the client ever had; and the last that a CONNECT may have made.
    func lastTicket(of clientID: String) -> UInt64 { lastTickets[clientID] ?? 0 }
    func lastTicketOfConnect(_ clientID: String) -> UInt64 { connectTickets[clientID] ?? 0 }

    mutating func apply(_ changes: [StoreChange?], through last: UInt64) throws {
        for change in changes {
            ticket += 1
            if let change { try apply(change) }
        }
        try expect(ticket == last, "\(changes.count) changes end at ticket \(last), not at \(ticket)")
    }

    private mutating func apply(_ change: StoreChange) throws {
        switch change {
        case .sessionBegan(let incarnation, let clientID, let expiryInterval):
            try expect(incarnation > lastIncarnation, "incarnation \(incarnation) is not new")
            try expect(incarnationOfClient[clientID] == nil, "two stored sessions of \(clientID)")
            lastIncarnation = incarnation
            incarnationOfClient[clientID] = incarnation
            lastTickets[clientID] = ticket
            connectTickets[clientID] = ticket
            sessions[incarnation] = Session(clientID: clientID, expiryInterval: expiryInterval)
        case .sessionEnded(let incarnation):
            let clientID = sessions[incarnation]?.clientID ?? ""
            try update(incarnation) { _ in }
            connectTickets[clientID] = ticket
            sessions[incarnation] = nil
            if incarnationOfClient[clientID] == incarnation { incarnationOfClient[clientID] = nil }
        case .retained(let kept):
            let message = kept.message
            try expect(!message.payloadString.isEmpty, "retained without payload: \(message.topic)")
            retained[message.topic] = message.payloadString
        case .retainedCleared(let topic):
            let old = retained.removeValue(forKey: topic)
            try expect(old != nil, "cleared, but not retained: \(topic)")
        default: try applyToSession(change)
        }
    }

    private mutating func applyToSession(_ change: StoreChange) throws {
        let ticket = ticket
        switch change {
        case .sessionExpiryChanged(let incarnation, let expiryInterval):
            try update(incarnation) { $0.expiryInterval = expiryInterval }
            connectionChanged(incarnation)
        case .sessionConnected(let incarnation):
            try update(incarnation) { $0.isDisconnected = false }
            connectionChanged(incarnation)
        case .sessionDisconnected(let incarnation, _):
            try update(incarnation) { $0.isDisconnected = true }
            connectionChanged(incarnation)
        case .will(let will, let incarnation):
            try update(incarnation) {
                try expect(will != nil || $0.hasWill, "no will, where there was none")
                $0.hasWill = will != nil
            }
            if let clientID = sessions[incarnation]?.clientID { connectTickets[clientID] = ticket }
        case .sendMark(let incarnation, let end):
            try update(incarnation) {
                try expect(end > $0.marks.last?.end ?? 0, "the mark \(end) is below an earlier one")
                $0.marks.append((end, ticket))
            }
        case .retired, .replay, .replayEnded, .replayPulled: break
        case .subscribed(let subscription, let incarnation):
            try update(incarnation) { $0.filters.insert(subscription.filter) }
        case .unsubscribed(let incarnation, let filter):
            try update(incarnation) {
                try expect($0.filters.remove(filter) != nil, "unsubscribed, but not subscribed: \(filter)")
            }
        case .queued(let queued, let incarnation):
            let (number, qos) = (queued.number, queued.qos)
            try update(incarnation) {
                try expect($0.expiryInterval > 0, "queued for a session that does not last")
                try expect(number >= $0.end, "number \(number) given twice")
                try expect(qos > .atMostOnce, "queued at QoS 0")
                $0.end = number + 1
                $0.queued[number] = (ticket, qos)
            }
        case .received(let incarnation, let number):
            try update(incarnation) {
                try expect($0.queued[number]?.qos == .exactlyOnce, "PUBREC of \(number), which is not queued at QoS 2")
                $0.received[number] = $0.received[number] ?? ticket
            }
        case .finished(let incarnation, let number):
            try update(incarnation) {
                try expect($0.queued.removeValue(forKey: number) != nil, "finished, but not queued: \(number)")
                $0.received[number] = nil
            }
        case .packetReceived(let incarnation, let packetID):
            try update(incarnation) {
                try expect($0.packetIDs[packetID] == nil, "packet \(packetID) received twice")
                $0.packetIDs[packetID] = ticket
            }
        case .packetReleased(let incarnation, let packetID):
            try update(incarnation) {
                try expect($0.packetIDs.removeValue(forKey: packetID) != nil, "released, not received: \(packetID)")
                $0.releases[packetID] = ticket
            }
        default: throw SimulationFailure("not a change of a session: \(change)")
        }
    }

    private mutating func connectionChanged(_ incarnation: UInt64) {
        guard let session = sessions[incarnation] else { return }
        connectTickets[session.clientID] = ticket
        // One that is over, but for what others are to get, leaves its name to a new one.
        if session.isDisconnected && session.expiryInterval == 0 { incarnationOfClient[session.clientID] = nil }
    }

    private mutating func update(_ incarnation: UInt64, _ body: (inout Session) throws -> Void) throws {
        guard var session = sessions.removeValue(forKey: incarnation) else {
            throw SimulationFailure("a change of session \(incarnation), which is not stored")
        }
        try body(&session)
        lastTickets[session.clientID] = ticket
        sessions[incarnation] = session
    }
}

extension StoreContents {
    /// Topic → payload.
    var retainedPayloads: [String: String] {
        Dictionary(uniqueKeysWithValues: retained.values.map { ($0.message.topic, $0.message.payloadString) })
    }

    func page(_ page: StoredPage) -> [StoredMessage] {
        var bytes = 0
        return messages(of: page.incarnation, from: page.number).prefix(page.count).prefix { message in
            defer { bytes += message.message?.encodedBytes ?? 0 }
            return bytes < page.bytes
        }
    }
}

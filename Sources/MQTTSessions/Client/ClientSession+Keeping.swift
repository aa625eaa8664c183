import DequeModule
import MQTTPackets
import MQTTStore

/// What of a client's session outlives the program, and what waits for it: the broker's table in a mirror.
///
/// | packet | leaves after the commit of |
/// |---|---|
/// | PUBLISH at QoS 2 | the queueing of that message, and the mark that it may have been sent: else the next run of the program gives its identifier to another message, and the broker takes that for a repetition |
/// | PUBREL | the PUBREC received: else the next run sends the message again to a broker that has released it |
/// | PUBREC | that the application has taken the message: else it is given it again |
/// | PUBCOMP | the release of that identifier: else a reused one is taken for a repetition, and a message is lost |
/// | what follows a CONNACK without a session | that the identifiers of the old session are forgotten: until then nothing that follows is looked at |
/// | PUBLISH at QoS 0 and 1, PUBACK | nothing |
///
/// PUBREC, PUBREL and PUBCOMP wait for all changes so far, so that a repeated answer never overtakes the change of the
/// first. An identifier is given to another message once the end of the one before is committed.
struct SessionKeeping: Sendable {
    /// A client's store holds one session.
    static let incarnation: UInt64 = 1
    /// Messages that count as sent, of which one is to be sent.
    static let sendMarkStep: UInt64 = 200

    struct Answer: Sendable {
        let ticket: UInt64
        let kind: PacketKind
        let packetID: UInt16
        let reasonCode: ReasonCode
    }

    private(set) var changes: [StoreChange] = []
    /// Of the last change.
    private(set) var ticket: UInt64 = 0
    private(set) var committed: UInt64 = 0
    private var waiting = Deque<Answer>()
    private var heldUntil: UInt64 = 0

    var isHeld: Bool { heldUntil > committed }

    mutating func add(_ change: StoreChange) {
        changes.append(change)
        ticket += 1
    }

    mutating func take() -> [StoreChange] {
        defer { changes = [] }
        return changes
    }

    mutating func hold() { heldUntil = ticket }

    mutating func connectionEnded() { waiting = [] }

    /// False where it may leave now.
    mutating func holdsBack(_ kind: PacketKind, _ packetID: UInt16, _ reasonCode: ReasonCode) -> Bool {
        guard ticket > committed || !waiting.isEmpty else { return false }
        waiting.append(Answer(ticket: ticket, kind: kind, packetID: packetID, reasonCode: reasonCode))
        return true
    }

    mutating func advance(to ticket: UInt64) { committed = max(committed, ticket) }

    /// The next answer that has waited long enough.
    mutating func popAnswer() -> Answer? {
        guard let first = waiting.first, first.ticket <= committed else { return nil }
        return waiting.removeFirst()
    }
}

extension ClientSession {
    /// Why a session cannot be taken up.
    package struct Inconsistent: Error {}

    /// Takes up what a store has kept of an earlier run, nil where that is nothing, and has all that follows kept.
    /// Before the first connection and the first message.
    package mutating func restore(_ stored: StoredSession?, _ messages: [StoredMessage]) throws(Inconsistent) {
        keeping = SessionKeeping()
        outbound.beginStored()
        guard let stored else {
            let incarnation = SessionKeeping.incarnation
            keeping?.add(.sessionBegan(incarnation: incarnation, clientID: clientID, expiryInterval: .max))
            return
        }
        clientID = stored.clientID
        for id in stored.retiredPacketIDs { outbound.retire(id) }
        for id in stored.receivedPacketIDs { _ = inbound.received(id) }
        outbound.restore(
            count: messages.count,
            bytes: 0,
            nextNumber: stored.nextNumber,
            sendMark: stored.sendMark
        )
        for message in messages {
            let isNext = outbound.load(
                message.number,
                message.message,
                qos: message.qos,
                isRetained: message.isRetained,
                identifiers: [],
                group: 0
            )
            guard isNext else { throw Inconsistent() }
        }
    }

    /// The ticket of the last change; 0 where nothing is kept.
    package var lastTicket: UInt64 { keeping?.ticket ?? 0 }

    /// All changes since the last call, for one commit, and the ticket of the last of them.
    package mutating func takeChanges() -> (changes: [StoreChange], ticket: UInt64) {
        uncommittedBytes = 0
        return (keeping?.take() ?? [], lastTicket)
    }

    /// Everything up to the ticket will last: what waited for it leaves.
    package mutating func committed(through ticket: UInt64) {
        keeping?.advance(to: ticket)
        isHeld = keeping?.isHeld ?? false
        while let answer = keeping?.popAnswer() { sendShort(answer.kind, answer.packetID, answer.reasonCode) }
        pump()
    }

    /// An answer that leaves once all changes so far will last.
    mutating func answer(_ kind: PacketKind, _ packetID: UInt16, _ reasonCode: ReasonCode = .success) {
        guard keeping?.holdsBack(kind, packetID, reasonCode) != true else { return }
        sendShort(kind, packetID, reasonCode)
    }

    /// The ticket that the message waits for, before it is queued.
    mutating func keep(_ message: Message, _ publish: Publish) -> UInt64 {
        guard keeping != nil else { return 0 }
        let number = outbound.end
        // It can be sent as soon as it is committed: then it need not wait once more for the mark.
        let isNext = isConnected && outbound.queued < 64
        if publish.qos == .exactlyOnce && isNext && outbound.sendMark <= number {
            raiseSendMark(to: number + 1)
        }
        let stored = StoredMessage(
            number: number,
            message: message,
            qos: publish.qos,
            isRetained: publish.isRetained,
            // A sender has no use for these: they say when it was queued.
            identifiers: [UInt32(clamping: now / 1_000)]
        )
        keeping?.add(.queued(stored, incarnation: SessionKeeping.incarnation))
        uncommittedBytes += message.bytesHeld
        return publish.qos == .exactlyOnce ? lastTicket : 0
    }

    /// Messages of QoS 2 from here on count as sent, once that is committed.
    mutating func raiseSendMark(from number: UInt64) {
        raiseSendMark(to: min(outbound.end, number + SessionKeeping.sendMarkStep))
    }

    private mutating func raiseSendMark(to end: UInt64) {
        keeping?.add(.sendMark(incarnation: SessionKeeping.incarnation, end: end))
        outbound.raiseSendMark(to: end, ticket: lastTicket)
    }

    /// The session is a new one: no identifier of the old one is known any more.
    mutating func keepForgotten(_ unreleased: PacketIDSet) {
        guard keeping != nil, unreleased.count > 0 else { return }
        for id in unreleased.all {
            keeping?.add(.packetReleased(incarnation: SessionKeeping.incarnation, packetID: id))
        }
        keeping?.hold()
        isHeld = keeping?.isHeld ?? false
    }
}

extension StoredMessage {
    /// When a client has queued it: milliseconds of its own time.
    package var queuedAt: Int64? { identifiers.first.map { Int64($0) * 1_000 } }
}
